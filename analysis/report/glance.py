"""The picture at the top of an audit: what was lost, what was gained, and how sure that is."""

from __future__ import annotations

from typing import Any

from analysis.report.words import number

WORDS = {"shrunk": ("lost", "solved by the base only"), "expanded": ("gained", "solved by the tuned model only")}


def glance(block: dict[str, Any], level: float) -> dict[str, Any]:
    """Loss to the left, gain to the right, in problems over all draws, each beside what chance alone would show.

    level: one-sided error of each in the verdict, which decides what is called beyond chance.
    """
    null = block["null"]
    detail = block["verdict_detail"]
    certified = block.get("certified") or {}
    # One scale for both directions, so that lengths can be compared.
    top = max(null[f"{kind}_{key}"] for kind in ("observed", "expected") for key in WORDS)
    sides = []
    for key, p in (("shrunk", detail["p_loss"]), ("expanded", detail["p_gain"])):
        observed = null[f"observed_{key}"]
        clear = null[f"observed_clear_{key}"]
        word, meaning = WORDS[key]
        facts = [f"chance alone: {null['expected_' + key]:.3g}"]
        facts.append(f"clear: {clear} (chance: {null['expected_clear_' + key]:.2g})")
        if certified:
            facts.append(f"certified: {certified[key]}")
        sides.append(
            {
                "key": key,
                "title": f"{number(observed)} {word}",
                "meaning": meaning,
                "observed": observed,
                "clear": clear,
                "expected": null[f"expected_{key}"],
                "sure": f"{'beyond chance' if p <= level else 'within chance'}, p = {p:.2g}",
                "beyond": p <= level,
                "facts": facts,
            }
        )
    return {
        "sides": sides,
        "top": max(top, 1.0),
        "legend": "Full colour: clear problems, pale: problems at the edge, dashed line: what one model drawn twice "
        "would show. A problem is clear where chance leaves all its correct draws on one side once in 100 at most.",
    }
