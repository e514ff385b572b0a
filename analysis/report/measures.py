"""The page's section of further measures: strata, witnesses, other tasks, posterior, equivalence, missed by groups."""

from __future__ import annotations

from typing import Any

from analysis.report.patterns import patterns_table
from analysis.report.words import counted, interval, number, signed


def measures(block: dict) -> list[dict[str, Any] | None]:
    """Tables of those measures that the input gives; None for the others."""
    return [
        strata_table(block),
        cross_task_table(block),
        witness_table(block),
        posterior_table(block),
        equivalence_table(block),
        tail_miss_table(block),
        patterns_table(block),
    ]


def strata_table(block: dict) -> dict[str, Any] | None:
    """Entries and exits by the base's success rate."""
    if not (found := block.get("strata")):
        return None
    rows = [
        [
            r["stratum"],
            number(r["problems"]),
            *(counted(r[key]) for key in ("exits", "entries", "chance")),
            _net(r["net"]),
        ]
        for r in found["rows"]
    ]
    columns = ["base success rate", "problems", "exits", "entries", "either, by chance", "entries − exits"]
    note = (
        f"The rate is read on one half of the base's draws, exits and entries on {found['k']:,} others and as many of "
        "the tuned model; by chance: one set of the base's draws against another."
    )
    return {"caption": "Where on the scale of difficulty", "columns": columns, "rows": rows, "note": note, "width": 12}


def _net(entry: dict) -> str:
    value, low, high = (signed(f"{entry[key]:+.1f}") for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def witness_table(block: dict) -> dict[str, Any] | None:
    """Correct traces of the base under the tuned model."""
    if not (found := block.get("witnesses")):
        return None
    rows = [
        ["mean delta, nats", interval(found["mean_delta"], sign=True, percent=False)],
        ["median delta, nats", signed(f"{found['median_delta']['value']:+.3f}")],
        [f"kept: at least {found['alpha']:g} times as likely", interval(found["kept"])],
        ["collapsed: more than 10 nats less likely", interval(found["collapsed"])],
    ]
    note = (
        f"{found['traces']:,} correct traces of the base on {found['problems']:,} problems, scored under both models: "
        "delta = log pi(tuned) − log pi(base). No sampling is needed for it."
    )
    return {"caption": "Witnesses of the base's support", "columns": ["", ""], "rows": rows, "note": note, "width": 6}


def cross_task_table(block: dict) -> dict[str, Any] | None:
    """Support task by task."""
    if not (found := block.get("cross_task")):
        return None
    rows = [
        [
            r["task"],
            "tuned on" if r["trained_on"] else "other",
            number(r["base"]),
            number(r["tuned"]),
            interval(r["ratio"], percent=False),
        ]
        for r in found["rows"]
    ]
    note = f"Problems solved in {found['k']:,} draws a side, and the tuned model's number over the base's."
    note += "" if found["enough"] else " Support that is lost on other tasks shows from about 32 draws on."
    columns = ["task", "", "base", "tuned", "tuned / base"]
    return {"caption": "Task by task", "columns": columns, "rows": rows, "text_columns": [1], "note": note, "width": 6}


def posterior_table(block: dict) -> dict[str, Any] | None:
    """Expected numbers of expanded and shrunk problems under three priors."""
    if not (found := block.get("posterior")):
        return None
    rows = [[r["prior"], counted(r["expanded"]), counted(r["shrunk"])] for r in found["rows"]]
    note = (
        f"Problems with a success rate of at most {found['eps']:.3g} on one side and above {found['far']:.3g} on the "
        "other, given the counts. Where the priors disagree, the draws do not settle it."
    )
    columns = ["prior", "expanded, expected", "shrunk, expected"]
    return {"caption": "Posterior of the support", "columns": columns, "rows": rows, "note": note, "width": 6}


def equivalence_table(block: dict) -> dict[str, Any] | None:
    """TOST of pass@k."""
    if not (found := block.get("equivalence")):
        return None
    rows = [
        [
            f"{r['k']:,}",
            interval(r["difference"], sign=True),
            f"{r['p']:.2g}",
            "yes" if r["equivalent"] else "not shown",
        ]
        for r in found
    ]
    note = (
        f"Two one-sided tests: both a loss and a gain of {found[0]['margin']:.0%} or more are refuted at "
        f"{found[0]['level']:.0%} each."
    )
    columns = ["k", f"difference ({1 - 2 * found[0]['level']:.0%})", "p", "equivalent"]
    return {
        "caption": "Is pass@k the same?",
        "columns": columns,
        "rows": rows,
        "text_columns": [3],
        "note": note,
        "width": 6,
    }


def tail_miss_table(block: dict) -> dict[str, Any] | None:
    """How often a group holds no correct draw of what the base can solve."""
    if not (found := block.get("tail_miss")):
        return None
    rows = [[f"{r['group']:,}", interval(r["missed"]), interval(r["missed_rare"])] for r in found]
    note = "Chance that so many draws of the base hold no correct one, over problems that it solves at all."
    columns = ["group", "missed", "missed, base rate below .1"]
    return {"caption": "What a training group misses", "columns": columns, "rows": rows, "note": note, "width": 6}
