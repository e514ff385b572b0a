"""What a laboratory problem list is called: "lab:FAMILY?level=N&split=NAME&size=N&orders=N"."""

from __future__ import annotations

from urllib.parse import parse_qsl

from analysis.errors import InputError

PREFIX = "lab:"
REAL = "real:"  # the families of explore_rl.real, whose answers can be listed as well
OPTIONS = ("level", "split", "size", "orders")
FINAL = "final"  # the split that is audited once


def parse(name: str) -> tuple[str, dict[str, str]]:
    """The family and the options of a name. Raises InputError, which begins with `name`, for what cannot be read.

    >>> parse("lab:worked?level=5&size=all")
    ('worked', {'level': '5', 'size': 'all'})
    """
    start, _, query = name.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise InputError(f"{name}: what follows '?' must read key=value&key=value") from None
    for key, _ in pairs:
        if key not in OPTIONS:
            raise InputError(f"{name}: unknown key {key}; known: {', '.join(OPTIONS)}")
    return start.removeprefix(PREFIX), dict(pairs)


def is_laboratory(name: str | None) -> bool:
    """Whether the problems of a name have answers that can be listed, so that audits are exact."""
    return (name or "").startswith((PREFIX, REAL))


def is_final(name: str | None) -> bool:
    """Whether a name asks for problems of the split `final`, which no training and no choice may see."""
    if (name or "").startswith(REAL):
        return ("split", FINAL) in parse_qsl(str(name).partition("?")[2])
    return name is not None and is_laboratory(name) and parse(name)[1].get("split") == FINAL
