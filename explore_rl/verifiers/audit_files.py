"""The two steps of `explore-rl verify --audit`: the sheet that a person fills in, and what it says when it comes
back."""

from __future__ import annotations

import base64
import json
import os
import statistics
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from analysis.errors import InputError
from explore_rl.problems.rows import read_rows
from explore_rl.types import Problem
from explore_rl.verifiers import audit

INSTRUCTION = "set judged_correct to true or false in every row: is the completion's final answer right?"
DRAWN = (
    "stratified by verdict and by correct draws of the problem, reweighted; "
    "the counts are of the plain sample that says as much"
)


def write_sheet(file: str, problems: dict[str, Problem], *, count: int, seed: int, out: Path) -> None:
    """Draws verdicts of a graded file for a person to judge. Raises InputError for rows without verdict or completion.

    file: the graded completions.
    problems: id -> problem, of all its rows.
    count: how many verdicts.
    seed: what the draw depends on.
    out: the sheet, JSON lines.
    """
    if count < 1:
        raise InputError(f"--audit {count}: expected at least 1")
    # only what is needed to draw is kept of the rows that are not drawn
    verdicts = [(_problem_id(row), _verdict(row)) for row in read_rows(file)]
    try:
        drawn = {place: (name, size) for place, name, size in audit.draw(verdicts, count, seed=seed)}
    except ValueError as error:
        raise InputError(f"--audit {count}: {error}") from None
    if not drawn:
        raise InputError(f"{file}: holds no verdict that is correct, wrong or no_answer")
    order = {place: rank for rank, place in enumerate(drawn)}
    draws = Counter(problem for problem, _ in verdicts)
    sheet = []
    for place, row in enumerate(read_rows(file)):
        if place in drawn:
            name, size = drawn[place]
            sheet.append(
                (order[place], _sheet_row(row, problems, name=name, size=size, draws=statistics.median(draws.values())))
            )
    lines = [json.dumps(row, ensure_ascii=False) for _, row in sorted(sheet, key=lambda entry: entry[0])]
    _write(out, "\n".join(lines) + "\n")
    counts = Counter(name for name, _ in drawn.values())
    shares = "; ".join(f"{name}: {counts[name]} of {size}" for name, size in sorted(set(drawn.values())))
    print(f"{out}: {len(lines)} verdicts to judge ({shares})")
    print(f"  {INSTRUCTION}; then explore-rl verify --judged {out} --out rates.json")


def _sheet_row(row: Any, problems: dict[str, Problem], *, name: str, size: int, draws: float) -> dict[str, Any]:
    problem = problems.get(_problem_id(row))
    if problem is None:
        raise row.error("problem_id", f"{row.values['problem_id']!r} is none of the problems")
    return {
        "problem_id": problem.id,
        "prompt": problem.prompt,
        "reference": problem.answer,
        "completion": row.need("completion", str, what="the text of the completion"),
        "judged_correct": None,
        "row": row.number,
        "verifier": problem.verifier,
        # not to be seen while judging: it says what the verifier said
        "sealed": _seal({"stratum": name, "stratum_size": size, "draws_per_problem": draws, "verdict": _verdict(row)}),
    }


def _seal(content: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(content).encode()).decode()


def _opened(values: dict[str, Any]) -> dict[str, Any]:
    """A row of a sheet with what was sealed; as it is if nothing was."""
    try:
        return {**values, **json.loads(base64.b64decode(str(values.get("sealed")), validate=True))}
    except ValueError:
        return values


def _problem_id(row: Any) -> str:
    if row.values.get("problem_id") is None:
        raise row.error("problem_id", "missing; expected the id of one of the problems")
    return str(row.values["problem_id"])


def _verdict(row: Any) -> str:
    verdict = row.values.get("verdict")
    correct = row.values.get("correct")
    if isinstance(verdict, str):
        return verdict
    if isinstance(correct, bool):
        return "correct" if correct else "wrong"
    if "correct" in row.values or "verdict" in row.values:  # a timeout or an error of other tools
        return "error"
    raise row.error("verdict", "missing, and so is 'correct'; grade the file first (explore-rl verify FILE --out ...)")


def report(sheet: str, verifier: str | None, *, out: Path, level: float = 0.95) -> None:
    """What a judged sheet says, printed and written. Raises InputError where a row is not judged.

    sheet: the file of `write_sheet`, filled in.
    verifier: what the rates are of, in words; None: the problems' own verifiers.
    out: the rates, JSON.
    level: confidence of the intervals.
    """
    rows = [_opened(row.values) for row in read_rows(sheet)]
    strata = audit.strata_of(rows, sheet)
    found = audit.rates(strata, level)
    accepted = found.accepted_if_wrong
    rejected = found.rejected_if_right
    names = sorted({str(row.get("verifier")) for row in rows})
    draws = rows[0].get("draws_per_problem") or 1
    for s in strata:
        print(f"  {s.name}: {s.judged} of {s.size} judged, {s.wrong} of them wrong")
    print(f"P(accepted | wrong) {accepted.rate:.3%}, between {accepted.low:.3%} and {accepted.high:.3%} at {level:.0%}")
    print(f"P(rejected | right) {rejected.rate:.3%}, between {rejected.low:.3%} and {rejected.high:.3%} at {level:.0%}")
    target = 1 / draws
    print(_protection(strata, accepted, draws=draws, target=target, level=level))
    false_accepts, judged_wrong = audit.effective(accepted, level)
    false_rejects, judged_correct = audit.effective(rejected, level)
    written = {
        "judged_correct": judged_correct,
        "false_accepts": false_accepts,
        "judged_wrong": judged_wrong,
        "false_rejects": false_rejects,
        "verifier": verifier or ", ".join(names),
        "drawn": DRAWN,
        "level": level,
        "p_accepted_if_wrong": vars(accepted),
        "p_rejected_if_right": vars(rejected),
        "strata": [vars(s) for s in strata],
    }
    _write(out, json.dumps(written, indent=1) + "\n")


def _protection(strata: list[audit.Stratum], accepted: audit.Rate, *, draws: float, target: float, level: float) -> str:
    """Whether a single correct draw can be trusted: fewer than one false accept is to be expected in the draws of a
    problem."""
    expected = f"up to {accepted.high * draws:.2g} false accepts in {draws:g} draws of a problem"
    if accepted.high <= target:
        return f"{expected}: fewer than one, so it protects a support verdict"
    more = audit.more_needed(strata, target, level=level)
    if more is None:
        return f"{expected}: too many to protect a support verdict, and no number of judgements like these would do"
    enough = f"about {more} more judgements would do if they came out like these"
    return f"{expected}: too many to protect a support verdict; {enough}"


def _write(out: Path, text: str) -> None:
    """Complete or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=out.parent, suffix=".part", delete=False, encoding="utf-8") as file:
        file.write(text)
    os.replace(file.name, out)
