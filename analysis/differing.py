"""Settings in which compared methods differ: whoever reads a comparison has to know what else changed."""

from __future__ import annotations

from typing import Any

UNPAIRED = ("model", "seed")  # these always differ


def differing(settings: dict[str, list[dict[str, Any]]], method: tuple[str, ...] = ()) -> dict[str, Any]:
    """{"names": [...], "rows": [{"setting", "of_method", "values"}]}, a row a setting that is not the same everywhere.

    settings: name of a method -> of each of its runs, setting -> value. A setting that a run lacks counts as unknown,
    which differs from nothing.
    method: beginnings of settings that are the method itself, so that they are meant to differ.

    >>> differing({"a": [{"t": 0.6, "seed": 1}], "b": [{"t": 1.0, "seed": 2}]})["rows"]
    [{'setting': 't', 'of_method': False, 'values': ['0.6', '1.0']}]
    """
    keys = dict.fromkeys(key for runs in settings.values() for run in runs for key in run if key not in UNPAIRED)
    rows = []
    for key in keys:
        values = [list(dict.fromkeys(_said(run[key]) for run in runs if key in run)) for runs in settings.values()]
        if len({value for some in values for value in some}) > 1:
            of_method = any(key == start or key.startswith(f"{start}.") for start in method)
            rows.append({"setting": key, "of_method": of_method, "values": [" / ".join(v) or None for v in values]})
    return {"names": list(settings), "rows": rows}


def _said(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_said, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(one)}" for key, one in value.items())
    return "none" if value is None else str(value)
