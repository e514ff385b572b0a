r"""Reads words between numbers: compound quantities, ratios, remainders and shares, calculations in words, and phrases.

    >>> read_joined("2 hours 30 minutes").amount.value, read_joined("7 remainder 2").kind, read_joined("3 to 1").kind
    (Fraction(5, 2), 'remainder', 'ratio')
    >>> read_joined("3 minus 5"), read_joined("2ab+3") is None
    ('3 - 5', True)

Without this they would be products of letters and numbers, which are the same in any order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from explore_rl.verifiers.math_dress import MONEY, TEXT_COMMANDS
from explore_rl.verifiers.math_numbers import read_number
from explore_rl.verifiers.math_units import Unit, is_worded, read_unit, same_dimensions
from explore_rl.verifiers.math_values import Listing, Number, Phrase, Quantity, Terms, Value

_TEXT = re.compile(rf"{TEXT_COMMANDS}\s*\{{([^{{}}]*)\}}")
_PRIMES = [  # behind a number or a degree sign
    (re.compile(r"\s*\^\s*\{?\s*\\circ\s*\}?"), " ° "),
    (re.compile(r"(?<=[\d°])\s*(?:\^\s*\{\s*(?:\\prime\s*\\prime|'')\s*\}|''|\"|\\prime\s*\\prime|″|”)"), " ″ "),
    (re.compile(r"(?<=[\d°])\s*(?:\^\s*\{\s*(?:\\prime|')\s*\}|\^\s*\\prime|'|\\prime|′|’)"), " ′ "),
]
_N = r"[+-]?\d+(?:,\d{3})*(?:\.\d+)?(?:\s+\d+/\d+|/\d+)?"
_NUMBER = re.compile(_N)
_POSSIBLE = re.compile(rf"[\d.][^\d]*[A-Za-z′″'\"°:{MONEY}][^\d]*\d|\d.*(?:\\prime|'|\")\s*\}}?$", re.DOTALL)
_RATIO = re.compile(
    rf"(?:(?:the |a )?(?:ratio|odds)(?: of| is| are|:)? )?({_N}(?: to {_N})+|{_N}(?: ?: ?{_N}){{2,9}})(?: odds| ratio)?"
)
_REMAINDER = re.compile(
    rf"(?:quotient(?: of| is| =|:|,)? )?({_N}) ?[,;]? ?(?:and |with )?(?:a |the )?(?:r|rem|remainder)\.?"
    rf"(?: of| is| =|:)? ?({_N})"
)
_SHARE = re.compile(rf"({_N}) (?:out of|of|in)(?: every)? ({_N})")
_OPERATORS = {
    "times": r"\cdot", "multiplied by": r"\cdot", "plus": "+", "minus": "-", "divided by": "/", "over": "/",
}  # fmt: skip
_WORDS = re.compile(r"[A-Za-z°′″][A-Za-z .'\-/°′″]*")
_FUNCTIONS = set("sin cos tan cot sec csc log ln exp mod max min gcd lcm lim sqrt pi cbrt root".split())
_ARC = {"°": "degrees", "′": "arcminutes", "″": "arcseconds"}
_LENGTHS = {"′": "feet", "″": "inches"}
_CLOCK_LETTERS = {"h": "hours", "m": "minutes", "s": "seconds"}
MAX_LENGTH = 120


def read_joined(text: str) -> Value | str | None:
    """Numbers joined by words, as one value; a calculation in words as the same with signs; None for all else."""
    if len(text) > MAX_LENGTH or not _POSSIBLE.search(text):
        return None
    bare = " ".join(_TEXT.sub(r" \1 ", text).split())
    for pattern, sign in _PRIMES:
        bare = pattern.sub(sign, bare)
    bare = bare.strip()
    if "\\" in bare or "{" in bare:
        return None
    low = " ".join(bare.lower().split())
    if match := _RATIO.fullmatch(low):
        return _terms(text, "ratio", written=re.split(r" to | ?: ?", match[1]))
    if match := _REMAINDER.fullmatch(low):
        return _terms(text, "remainder", written=match.groups())
    if match := _SHARE.fullmatch(low):
        return _terms(text, "share", written=match.groups())
    numbers = list(_NUMBER.finditer(bare))
    ends = [number.start() for number in numbers[1:]] + [len(bare)]
    between = [bare[number.end() : end].strip() for number, end in zip(numbers, ends, strict=True)]
    if not numbers or len(numbers) > 6:
        return None
    if bare[: numbers[0].start()] == "" and between[-1] == "" and len(numbers) > 1:
        return _calculation([number.group() for number in numbers], between[:-1])
    return _pieces(
        text, bare[: numbers[0].start()].strip(), numbers=[number.group() for number in numbers], between=between
    )


def _terms(text: str, kind: str, *, written: tuple[str, ...] | list[str]) -> Terms | None:
    numbers = [read_number(number) for number in written]
    known = tuple(number.value for number in numbers if isinstance(number, Number))
    return Terms(text, kind, known) if len(known) == len(written) else None


def _calculation(numbers: list[str], words: list[str]) -> str | None:
    """3 minus 5, 5 choose 2: with signs."""
    if words == ["choose"]:
        return rf"\binom{{{numbers[0]}}}{{{numbers[1]}}}"
    if any(word.lower() not in _OPERATORS for word in words):
        return None
    signs = [f" {_OPERATORS[word.lower()]} " for word in words]
    return "".join(number + sign for number, sign in zip(numbers, [*signs, ""], strict=True))


# --- numbers each with a unit or a word ------------------------------------------------------------------------------


def _pieces(text: str, first: str, *, numbers: list[str], between: list[str]) -> Value | None:
    """2 hours 30 minutes (a sum); 3 boys 2 girls (a list)."""
    # what stands between two numbers is the unit of the first, a word that joins, and perhaps the currency of the next
    money = [first, *("" for _ in between[1:])]
    units = []
    joints = []
    for place, said in enumerate(between):
        if found := re.search(rf"\s*([{MONEY}])$", said):
            if place + 1 == len(between):
                return None
            money[place + 1] = found[1]
            said = said[: found.start()]
        joint = re.search(r"(?:^|\s*\b|(?<=[°′″]))\s*(and|,\s*and|,|&)$", said)
        units.append(said[: joint.start()].strip() if joint else said)
        joints.append(joint is not None)
    if any(sign and sign not in MONEY for sign in money) or joints[-1]:
        return None
    units = [f"{sign} {unit}".strip() for sign, unit in zip(money, _written_out(units), strict=True)]
    values = [read_number(number) for number in numbers]
    if any(not unit or not _WORDS.fullmatch(unit.strip(MONEY + " ") or "a") for unit in units):
        return None
    if not all(isinstance(value, Number) for value in values):
        return None
    known = [value for value in values if isinstance(value, Number)]
    if len(known) == 1 and between[0] not in ("′", "″"):
        return None
    read = [read_unit(unit) for unit in units]
    if len(known) == 1:
        return Quantity(text, known[0], read[0])
    # units of one kind, from large to small: a sum
    if (sizes := _descending(known, read, joints=joints)) is not None:
        ratios = tuple(sizes[0] / size for size in sizes)
        sign = -1 if known[0].value < 0 else 1
        total = sign * sum(abs(value.value) / ratio for value, ratio in zip(known, ratios, strict=True))
        amount = Number(text, Fraction(total), any(value.decimal for value in known))
        return Quantity(text, amount, read[0], compound=ratios)
    # anything else is a list, unless a word leads over to the next number
    if any(joints) or not all(is_worded(unit) for unit in units):
        return None
    if any(
        re.search(r"\b(?:to|of|in|for|from|by|out|and|or|vs|versus|at|on|per|than|with|is)$", unit) for unit in units
    ):
        return None
    return Listing(text, tuple(Quantity(text, *pair) for pair in zip(known, read, strict=True)))


def _written_out(units: list[str]) -> list[str]:
    """The signs of degrees and minutes, and h, m and s beside each other, as words."""
    if len(units) == 1:
        return [{"′": "prime", "″": "doubleprime"}.get(unit, unit) for unit in units]
    if set(units) <= set(_ARC):
        return [(_ARC if units[0] == "°" else _LENGTHS).get(unit, unit) for unit in units]
    if units[0] in ("h", "m") and set(units[1:]) <= {"m", "min", "s", "sec"}:
        return [_CLOCK_LETTERS.get(unit, unit) for unit in units]
    return units


def _descending(values: list[Number], units: list[Unit], *, joints: list[bool]) -> list[Fraction] | None:
    """The sizes of the units of one sum; None unless they measure the same, from large to small.

    Joined by "and" or a comma, each must be less than one of the unit before it: else they may be two answers.
    """
    if any(not unit.dimensions or unit.words or unit.factor != 1 for unit in units):
        return None
    sizes = same_dimensions(units)
    if sizes is None or any(later >= earlier for earlier, later in zip(sizes, sizes[1:], strict=False)):
        return None
    if any(value.value < 0 or value.percent for value in values[1:]) or values[0].percent:
        return None
    for place, joined in enumerate(joints[:-1]):
        if joined and values[place + 1].value * sizes[place + 1] >= sizes[place]:
            return None
    return sizes


# --- phrases ---------------------------------------------------------------------------------------------------------


def read_phrase(text: str, single: Callable[[str], Value]) -> Phrase | None:
    """Words between two numbers or formulas: "3 for 2", `\\sqrt{2} \\text{ by } 3`; None if there are none.

    single: reads the parts.
    """
    if len(text) > 4 * MAX_LENGTH or not re.search("[A-Za-z]{2}", text):
        return None
    marked = _TEXT.sub(lambda match: f" \x01{match[1]}\x01 " if re.search("[A-Za-z]{2}", match[1]) else match[1], text)
    marked = re.sub(r"(?<=[\d)%])(\s+|(?=[A-Za-z]{3}))([A-Za-z][A-Za-z .,'\-]*?)(?=\s*[+-]?[\d(])", _marked, marked)
    pieces = marked.split("\x01")
    words = [" ".join(piece.lower().split()) for piece in pieces[1::2]]
    parts = [piece.strip() for piece in pieces[::2]]
    if len(parts) < 3 and not (len(parts) == 2 and all(parts)):
        return None
    if not any(words[place] and _joins(parts[place], parts[place + 1]) for place in range(len(words))):
        return None
    return Phrase(text, tuple(words), tuple(single(part) for part in parts if part))


def _marked(match: re.Match[str]) -> str:
    words = re.findall("[A-Za-z]+", match[2])
    if not any(len(word) > 1 for word in words) or any(word.lower() in _FUNCTIONS for word in words):
        return match.group()
    return f"\x01{match[2]}\x01 "


def _joins(before: str, behind: str) -> bool:
    """Whether words stand between two things of their own; "cm" in "5 cm^2" and words between an operator and a
    number do not."""
    return (
        re.search(r"[\w)}\]%!°]$", before) is not None
        and re.match(r"[+-]?\s*(?:[\w(\[|.]|\\(?!cdot|times|Omega|mu(?![a-z])|circ|text|mathrm)[A-Za-z])", behind)
        is not None
    )
