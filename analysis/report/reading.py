"""The problems of the page: in the order in which to read them, with completions of both models."""

from __future__ import annotations

from typing import Any

import numpy as np

import analysis.report.charts as charts
from analysis.examples import examples
from analysis.records import DEFAULT_BENCHMARK, ModelSamples

READ_CHANGED = 150
READ_OTHERS = 20  # problems of a category whose completions go into the page
READ_EACH = 2  # correct and wrong completions to read, a problem and side


CHARACTERS = 4000


def change(row: dict) -> float:
    rates = [charts.logit(np.array(row[s]["correct"]), np.array(row[s]["n"])) for s in ("base", "tuned")]
    return float(abs(rates[1] - rates[0]))


def reading_order(rows: list[dict]) -> list[int]:
    """Suspicious flips first, then shrunk and expanded, then by how much the success rate changed."""
    return sorted(
        range(len(rows)),
        key=lambda i: (
            not rows[i].get("suspicious_flip"),
            rows[i]["category"] not in ("shrunk", "expanded"),
            -change(rows[i]),
        ),
    )


def problems(rows: list[dict], *, several: bool, document: dict) -> list[dict[str, Any]]:
    flips = {(f["benchmark"], f["problem_id"]): f for f in document["benchmarks"]["all"].get("suspicious_flips") or []}
    out = []
    for i in reading_order(rows):
        row = rows[i]
        more = row.get("further_draws") or {}
        note = "".join(
            f" {more[side]:,.0f} further draws of the {side} would settle it."
            for side in ("base", "tuned")
            if more.get(side)
        )
        # A flip that is one of format alone is the verifier's doing; both answers beside each other show it.
        if (flip := flips.get((row["benchmark"], row["problem_id"]))) and flip.get("usual_wrong_answer") is not None:
            note += f" Usual wrong answer of the side that never solves it: {flip['usual_wrong_answer']};"
            note += f" usual right one of the other: {flip.get('usual_right_answer')}"
            note += " (the same but for format)." if flip.get("same_but_for_format") else "."
        out.append(
            {
                "key": i,
                "id": row["problem_id"],
                "benchmark": row["benchmark"] if several and row["benchmark"] != DEFAULT_BENCHMARK else None,
                "group": row["benchmark"],
                "base": [row["base"]["correct"], row["base"]["n"]],
                "tuned": [row["tuned"]["correct"], row["tuned"]["n"]],
                "category": row["category"],
                "certified": f"certified {row['certified']}"
                if row.get("certified") not in (None, "undetermined")
                else row.get("certified"),
                "flip": bool(row.get("suspicious_flip")),
                "note": note.strip(),
            }
        )
    return out


def completions(rows: list[dict], *, base: ModelSamples, tuned: ModelSamples) -> dict[str, dict[str, list]]:
    """Texts to read, by position of the problem."""
    left = {"shrunk": READ_CHANGED, "expanded": READ_CHANGED, "preserved": READ_OTHERS, "out": READ_OTHERS}
    wanted = []
    for i in reading_order(rows):
        if left[rows[i]["category"]] or rows[i].get("suspicious_flip"):
            left[rows[i]["category"]] -= bool(left[rows[i]["category"]])
            wanted.append(i)
    sides = {
        "base": examples(base, wanted, each=READ_EACH, characters=CHARACTERS),
        "tuned": examples(tuned, wanted, each=READ_EACH, characters=CHARACTERS),
    }
    shown: dict[str, dict[str, list]] = {}
    for i in wanted:
        correct_first = {side: sorted(found[i], key=lambda row: not row["correct"]) for side, found in sides.items()}
        if any(correct_first.values()):
            shown[str(i)] = {side: [reading(row) for row in rows] for side, rows in correct_first.items()}
    return shown


def reading(row: dict) -> dict[str, Any]:
    parts = [
        f"{row[key]} {word}"
        for key, word in (("num_tokens", "tokens"), ("finish_reason", ""))
        if row.get(key) is not None
    ]
    parts += [f"sample {row['sample']}"] if row.get("sample") is not None else []
    return {
        "correct": row["correct"],
        "answer": None if row.get("answer") is None else str(row["answer"]),
        "meta": " · ".join(p.strip() for p in parts),
        "text": row["completion"],
    }
