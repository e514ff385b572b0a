"""The page's section of further measures: strata, witnesses, other tasks, posterior, equivalence, missed by groups."""

from __future__ import annotations

from typing import Any

from analysis.report.words import counted, interval, number, signed


def measures(block: dict) -> list[dict[str, Any] | None]:
    """Tables of those measures that the input gives; None for the others."""
    return [strata_table(block), witness_table(block)]


def strata_table(block: dict) -> dict[str, Any] | None:
    """Entries and exits by the base's success rate."""
    if not (found := block.get("strata")):
        return None
    rows = [
        [r["stratum"], number(r["problems"]), *(counted(r[key]) for key in ("exits", "entries", "chance", "net"))]
        for r in found["rows"]
    ]
    columns = ["base success rate", "problems", "exits", "entries", "either, by chance", "entries − exits"]
    note = (
        f"The rate is read on one half of the base's draws, exits and entries on {found['k']:,} others and as many of "
        "the tuned model; by chance: one set of the base's draws against another."
    )
    return {"caption": "Where on the scale of difficulty", "columns": columns, "rows": rows, "note": note, "width": 12}


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
