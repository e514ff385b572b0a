"""Numbers as the page writes them."""

from __future__ import annotations

from typing import Any


def number(x: float) -> str:
    return f"{x:,.0f}" if abs(x - round(x)) < 0.05 else f"{x:,.1f}"


def interval(entry: dict | None, sign: bool = False, *, percent: bool = True) -> str:
    if not entry or entry["value"] is None:
        return "–"
    kind = ("+" if sign else "") + (".1%" if percent else ".3f")
    value, low, high = (
        "" if entry.get(key) is None else signed(format(entry[key], kind)) for key in ("value", "low", "high")
    )
    return value if not low else f"{value} ({low} to {high})"


def signed(text: str) -> str:
    """With a minus, not a hyphen; what is written as zero has no sign.

    >>> signed("-1.5%"), signed("+0.0%")
    ('−1.5%', '0.0%')
    """
    if "0" in text and not any(digit in text for digit in "123456789"):
        return text.lstrip("+-")
    return text.replace("-", "−", 1) if text.startswith("-") else text


def cell(entry: dict | None, sign: bool = False) -> dict[str, str] | None:
    """An estimate with its interval below it, for tables with many columns."""
    return below(interval(entry, sign)) if entry else None


def below(text: str) -> dict[str, str]:
    """An estimate with what stands in brackets behind it below it."""
    value, _, rest = text.partition(" (")
    return {"text": value, "sub": rest.removesuffix(")")}


def counted(entry: dict) -> str:
    """A number of problems with its interval."""
    return f"{number(entry['value'])} ({number(entry['low'])} to {number(entry['high'])})"


def share(x: float) -> str:
    """A share that is not quite 0 or 1 does not read as if it were."""
    return (
        ("more than 99.9%" if x > 0.999 else "fewer than 0.1%" if x < 0.001 else f"{x:.1%}")
        if 0 < x < 1
        else ("all" if x else "none")
    )


def percent(x: float | None) -> str:
    return "–" if x is None else f"{x:.1%}"


def plainly(value: Any) -> str:
    """A setting as people write it."""
    if isinstance(value, dict):
        return "; ".join(
            f"{key} {plainly(v)}" if not isinstance(v, dict) else plainly(v)
            for key, v in value.items()
            if v not in (None, {}, [])
        )
    return ", ".join(map(plainly, value)) if isinstance(value, list) else str(value)


def shortened(name: str, *, most: int = 34) -> str:
    """A name from its end, which tells checkpoints apart."""
    return name if len(name) <= most else "…" + name[-(most - 1) :]
