r"""Reads single numbers, in every way of writing them: separators, fractions, mixed numbers, powers of ten, repeating
decimals, other bases.

    >>> read_number("1,234.5").value, read_number(r"3\frac{1}{2}").value, read_number("3 1/2").value
    (Fraction(2469, 2), Fraction(7, 2), Fraction(7, 2))
    >>> read_number(r"0.1\overline{6}").value
    Fraction(1, 6)
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from explore_rl.verifiers.math_dress import compact
from explore_rl.verifiers.math_values import Based, Number

MAX_DIGITS = 400  # of a number that is read here; longer ones are left to math-verify
MAX_EXPONENT = 4000

_GAP = re.compile(r"\d\s+\d")
_THIN = re.compile(r"(?<=\d)\s(?=\d{3}(?!\d))")  # 1 000 000, 0.123 456
_NUMBER = re.compile(r"([+-]?)(\d{1,3}(?:,\d{3})+|\d*)(?:\.(\d*))?")
_SCIENTIFIC = re.compile(
    r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d{1,6})|(?:\\times|\\cdot|x)10\^(?:\{([+-]?\d{1,6})\}|([+-]?\d{1,3})))"
)
_POWER_OF_TEN = re.compile(r"([+-]?)10\^(?:\{([+-]?\d{1,6})\}|(\d{1,3}))")
_FRACTION = re.compile(r"([+-]?)(\d*)\\frac\{([+-]?\d+)\}\{([+-]?\d+)\}|([+-]?\d+\.?)/(\d+\.?)")
_MIXED = re.compile(r"([+-]?)\s*(\d+)(?:\s+|\s+and\s+)(\d+)\s*/\s*(\d+)")
_REPEATING = re.compile(r"([+-]?)(\d*)\.(\d*)(?:\\overline\{?(\d+)\}?|\((\d+)\))")
_ENDLESS = re.compile(r"([+-]?)(\d*)\.(\d*?)(\d)\4{2,}(?:\.\.\.|\\[lc]?dots)")
_BASED = re.compile(
    r"\(?([0-9A-Fa-f]{1,40})\)?_(?:\{?(\d{1,2})\}?|\{?(two|three|four|five|six|seven|eight|nine|ten|twelve|sixteen)\}?)"
)
_OF_PROGRAMS = re.compile(r"0(?=x|o[0-7]+$|b[01]+$)([xob])([0-9a-f]{1,40})", re.IGNORECASE)
_BASES = {
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "twelve": 12,
    "sixteen": 16,
}


@lru_cache(maxsize=4096)
def read_number(text: str) -> Number | Based | None:
    """None if the text is no single number."""
    if len(text) > 2 * MAX_DIGITS or not (text[-1:].isdigit() or text[-1:] in "%.)}s" or text[:2] in ("0x", "0X")):
        return None
    if match := _MIXED.fullmatch(text.strip()):
        whole, top, bottom = (int(part) for part in match.group(2, 3, 4))
        return Number(text, _signed(match[1], whole + Fraction(top, bottom))) if top < bottom else None
    if re.search(r",\s", text):  # two numbers
        return None
    if _GAP.search(text) and _GAP.search(text := _THIN.sub("", text)):
        return None
    text = compact(text)
    if len(text) > MAX_DIGITS:
        return None
    percent = text.endswith("%")
    bare = _unbracketed(text.removesuffix("%"))
    value, decimal = _value(bare)
    if value is not None:
        return Number(text, value, decimal, percent)
    return None if percent else _based(bare)


def _value(text: str) -> tuple[Fraction | None, bool]:
    """The number, and whether it is written with a decimal point or in scientific notation."""
    if match := _SCIENTIFIC.fullmatch(text):
        exponent = int(match[2] or match[3] or match[4])
        if abs(exponent) > MAX_EXPONENT:
            return None, False
        return Fraction(match[1]) * Fraction(10) ** exponent, True
    if match := _POWER_OF_TEN.fullmatch(text):
        exponent = int(match[2] or match[3])
        return (_signed(match[1], Fraction(10) ** exponent) if abs(exponent) <= MAX_EXPONENT else None), False
    if match := _FRACTION.fullmatch(text):
        return _fraction(match), False
    if (match := _NUMBER.fullmatch(text)) and (match[2] or match[3]):
        digits = f"{match[1]}{match[2].replace(',', '') or '0'}.{match[3] or '0'}"
        return Fraction(digits), bool(match[3] and match[3].strip("0"))
    if match := _REPEATING.fullmatch(text):
        return _repeating(match[1], match[2], fixed=match[3], period=match[4] or match[5]), False
    if match := _ENDLESS.fullmatch(text):
        return _repeating(match[1], match[2], fixed=match[3], period=match[4]), False
    return None, False


def _fraction(match: re.Match[str]) -> Fraction | None:
    if match[5]:
        top = int(match[5].rstrip("."))
        bottom = int(match[6].rstrip("."))
        return Fraction(top, bottom) if bottom else None
    whole = int(match[2] or 0)
    top = int(match[3])
    bottom = int(match[4])
    if not bottom or (match[2] and not 0 < top < bottom):  # 4\frac{10}{3} is a product
        return None
    return _signed(match[1], whole + Fraction(top, bottom))


def _repeating(sign: str, whole: str, *, fixed: str, period: str) -> Fraction:
    shift = Fraction(1, 10 ** len(fixed))
    tail = Fraction(int(period), 10 ** len(period) - 1) * shift
    return _signed(sign, int(whole or 0) + int(fixed or 0) * shift + tail)


def _based(text: str) -> Based | None:
    """1A_{16}, (1011)_2. Letters are digits only where the base has them."""
    if match := _OF_PROGRAMS.fullmatch(text):  # 0xFF
        return Based(text, match[2].upper().lstrip("0") or "0", {"x": 16, "o": 8, "b": 2}[match[1].lower()])
    match = _BASED.fullmatch(text)
    if match is None:
        return None
    digits = match[1].upper()
    base = int(match[2] or _BASES[match[3]])
    lettered = not digits.isdigit()
    if not 2 <= base <= 36 or (lettered and (base < 11 or len(digits) < 2 or any(int(d, 16) >= base for d in digits))):
        return None
    return Based(text, digits.lstrip("0") or "0", base)


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign == "-" else Fraction(value)


def _unbracketed(text: str) -> str:
    while len(text) > 2 and (text[0], text[-1]) in (("(", ")"), ("{", "}")) and not set(text[1:-1]) & set("(){}"):
        text = text[1:-1]
    return text
