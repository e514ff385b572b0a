r"""Reads one thing without structure: a number, words, a quantity with its unit, a time of day, or an expression.

>>> read_single(r"5\text{ m/s}").unit.dimensions
(('length', 1), ('time', -1))
>>> read_single("2 million").value, read_single("6:30 pm").minutes, read_single(r"\text{Evelyn}").words
(Fraction(2000000, 1), 1110, 'evelyn')
"""

from __future__ import annotations

import re
from dataclasses import replace

from explore_rl.verifiers.math_dress import MONEY, TEXT_COMMANDS
from explore_rl.verifiers.math_numbers import read_number
from explore_rl.verifiers.math_phrases import read_phrase
from explore_rl.verifiers.math_unit_names import BINDING, OPPOSITES
from explore_rl.verifiers.math_units import is_worded, lookup, read_unit
from explore_rl.verifiers.math_values import Based, Clock, Expression, Number, Quantity, Value, Words

_GROUP = rf"{TEXT_COMMANDS}\s*\{{[^{{}}]*\}}"
_POWER = r"(?:\s*\^\s*(?:\{\s*-?\d\s*\}|-?\d))?"
_CIRCLE = r"\^\s*\{?\s*\\circ\s*\}?"
# A unit in text or roman type at the end, with powers, quotients and signs between the groups.
_TYPESET = re.compile(
    rf"(?P<unit>(?:\s|/|\\cdot|\\times(?=\s*\\)|\.|\\mu(?![a-z])|\\Omega(?![a-z])|[µΩ{MONEY}]|{_CIRCLE}"
    rf"|{_GROUP}{_POWER}"
    rf"|\((?:\s|\\cdot|/|{_GROUP}{_POWER})+\))+)$"
)
# Plain words behind a number.
_EXPONENT = r"\^\s*(?:\{\s*-?\d\s*\}|-?\d)"
_PLAIN = re.compile(
    r"(?P<body>.*(?:[\d)}%!]|\\pi|\d\.))(?P<blank>[\s-]*)"
    rf"(?P<unit>(?:/\s*(?=[A-Za-z]{{2}}))?(?:\\mu\s*|\\Omega|[A-Za-zµΩÅ])(?:[A-Za-zµΩÅ'\s/.()-]|\\Omega|\\cdot|{_EXPONENT})*)"
)
_MONEY_FIRST = re.compile(
    rf"(?P<sign>[+-]?)\s*(?P<money>[{MONEY}]|USD|US(?=[{MONEY}])|EUR|Rs\.?)\s*(?P<rest>[{MONEY}]?.+)", re.DOTALL
)
_SHORT_MAGNITUDE = re.compile(r"(?P<amount>[\d.,]+)\s*(?P<letter>[kKMB])")
_CLOCK = re.compile(r"(\d{1,2})(?::(\d\d))?\s*([ap])\.?\s?m\.?", re.IGNORECASE)
_WORDY = re.compile(rf"{TEXT_COMMANDS}\s*\{{([^{{}}]*)\}}")
_WORDS = re.compile(r"[A-Za-z][A-Za-z0-9 .,'\-:]*")
_FIRST_WORDS = re.compile(rf"(?P<words>(?:[A-Za-z]+\s+){{1,4}})(?P<rest>[{MONEY}]?[+-]?[\d.\\(].*)", re.DOTALL)
_TRIGONOMETRY = re.compile(r"\\(?:arc)?(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_NUMBERS = re.compile(r"[+-]?\d[\d.,]*(?:\s+[\d.,]+)+")
# what is said of a number, and is none: over 7, a multiple of 7, a 7-digit number
_NO_VALUE = re.compile(
    r"(?:(?:just |well |far )?(?:over|under|above|below|beyond|within)|up\s+to|(?:any|every)thing\s+but"
    r"|(?:divisible|divided)\s+by|(?:an?\s+|any\s+|the\s+)?(?:multiples?|divisors?|factors?|powers?|reciprocal|inverse"
    r"|(?:square|cube)\s+root)\s+of)\s+[^A-Za-z]*\d|(?:an?\s+)?\d+-(?:digit|sided|fold|gon|element|dimensional|letter)\b",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_BEARING = re.compile(rf"([NSEW])\s*(\d+(?:\.\d+)?)\s*(?:{_CIRCLE}|degrees?)?\s*([NSEW])")
_OPERATION = re.compile(r"(?P<number>[+-]?\d\S*)\s+(?P<what>squared|cubed|factorial)", re.IGNORECASE)
_ZERO = re.compile(r"(?P<what>.*\d.*?)\s+(?P<side>below|under|above)\s+(?:zero|0)", re.IGNORECASE | re.DOTALL)
_NEGATIVE = re.compile(r"(?:negative|minus)\s+(?P<what>[\d.\\].*)", re.IGNORECASE | re.DOTALL)
_FILLERS = set("about approximately roughly around exactly only a an the of by total is at costs be".split())
_SIGNED = {word for group in BINDING for word in group} | {
    word for groups in OPPOSITES for group in groups for word in group
}


def read_single(text: str) -> Value:
    if (number := read_number(text)) is not None:
        return number
    bare = _WORDY.sub(r" \1 ", text).strip() if "\\" in text else text
    if (number := read_number(bare)) is not None:
        return number
    if _NUMBERS.fullmatch(bare) or _DATE.fullmatch(bare):  # 1 2; 2020-01-02
        return Words(text, bare)
    if _NO_VALUE.match(bare):
        return Words(text, bare.lower())
    if bearing := _BEARING.fullmatch(bare):  # N 30° E
        return Words(text, " ".join(bearing.groups()))
    if (clock := _clock(bare)) is not None:
        return clock
    if (changed := _changed(bare)) is not None:
        return changed
    if (phrase := read_phrase(text, read_single)) is not None:
        return phrase
    if (quantity := _quantity(text)) is not None:
        return quantity
    if (quantity := _words_first(bare)) is not None:
        return quantity
    return words if (words := _words(text, bare)) is not None else Expression(text)


def _clock(bare: str) -> Clock | None:
    if named := re.fullmatch(r"(?:12\s+)?(noon|midnight)", bare.strip(), re.IGNORECASE):
        return Clock(bare, 720 if named[1].lower() == "noon" else 0)
    match = _CLOCK.fullmatch(bare.strip())
    if match is None or not 1 <= int(match[1]) <= 12 or int(match[2] or 0) > 59:
        return None
    hour = int(match[1]) % 12 + (12 if match[3].lower() == "p" else 0)
    return Clock(bare, 60 * hour + int(match[2] or 0))


def _changed(bare: str) -> Value | None:
    """A number that the words beside it change: 5 squared, 5 below zero, negative 5."""
    if (match := _OPERATION.fullmatch(bare)) and read_number(match["number"]) is not None:
        sign = {"squared": "^2", "cubed": "^3", "factorial": "!"}[match["what"].lower()]
        return Expression(f"({match['number'].strip()}){sign}")
    if match := _ZERO.fullmatch(bare):
        value = read_single(match["what"])
        return _negated(bare, value) if match["side"].lower() != "above" else value
    if (match := _NEGATIVE.fullmatch(bare)) and isinstance(value := read_single(match["what"]), (Number, Quantity)):
        return _negated(bare, value)
    return None


def _negated(text: str, value: Value) -> Value | None:
    if isinstance(value, Number) and value.value > 0:
        return replace(value, text=text, value=-value.value)
    if isinstance(value, Quantity) and isinstance(amount := value.amount, Number) and amount.value > 0:
        return replace(value, text=text, amount=replace(amount, text=f"-{amount.text}", value=-amount.value))
    return None


def _words(text: str, bare: str) -> Words | None:
    inner = bare.strip("() ")
    worded = (
        re.search(r"[A-Za-z]{3}", inner)
        or bare.startswith("(")
        or _WORDY.match(text)
        or inner.lower() in ("no", "am", "pm")
    )
    if worded and _WORDS.fullmatch(inner):
        return Words(text, inner.lower())
    return None


# --- quantities ------------------------------------------------------------------------------------------------------


def _quantity(text: str) -> Value | None:
    if (match := _MONEY_FIRST.fullmatch(text)) and (short := _SHORT_MAGNITUDE.fullmatch(match["rest"].strip())):
        word = {"k": "thousand", "K": "thousand", "M": "million", "B": "billion"}[short["letter"]]
        return _made(text, match["sign"] + short["amount"], unit=f"{word} {match['money']}", plain=False)
    if match:  # money before its number, which may have a unit of its own: "$3 per kg"
        rest = match["rest"].strip()
        inner = _quantity(match["sign"] + rest) if not re.match(f"[{MONEY}]", rest) else _quantity(rest)
        unit = match["money"].rstrip(".").replace("Rs", "rupee")
        if isinstance(inner, Quantity):
            return _made(
                text, inner.amount.text, unit=f"{unit} {_unit_text(inner.text, inner.amount.text)}", plain=False
            )
        return _made(
            text,
            inner.text if isinstance(inner, Number) else match["sign"] + rest,
            unit=unit,
            plain=False,
            amount=inner,
        )
    # A typeset unit behind a body, then a plain one; a degree sign belongs to the unit, not to an angle's function.
    degrees = r"\circ" in text and not _TRIGONOMETRY.search(text)
    if (match := _TYPESET.search(text)) and match.start() and text[match.start() - 1] not in "_^{\\":
        unit = match["unit"]
        if unit.strip(" ./") and (degrees or r"\circ" not in unit or _GROUP_RE.search(unit)):
            body = text[: match.start()].strip()
            if r"\circ" not in body or _TRIGONOMETRY.search(body):
                return _made(text, body, unit=unit, plain=False)
    if (match := _PLAIN.fullmatch(text)) and _is_plain_unit(match["body"], match["blank"], unit=match["unit"]):
        body, circle = re.subn(rf"\s*{_CIRCLE}\s*$", "", match["body"])
        unit = ("° " if circle else "") + match["unit"]
        return _made(text, body, unit=unit, plain=not circle)
    if degrees:
        return Quantity(text, Expression(re.sub(rf"\s*{_CIRCLE}", "", text)), read_unit("degrees"))
    return None


_GROUP_RE = re.compile(_GROUP)


def _is_plain_unit(body: str, blank: str, *, unit: str) -> bool:
    """Whether plain words behind a body are a unit: the body must be a number, and without a blank only known units of
    some length are."""
    if re.search(r"[A-DF-Za-df-z]|(?<!\d)[eE]", re.sub(rf"{_CIRCLE}|\\[A-Za-z]+", "", body)):
        return False
    unit = re.sub(r"\\mu\s*", "µ", unit).replace(r"\Omega", "Ω")
    if r"\circ" in body:
        return True
    if blank:
        return is_worded(re.sub(r"\^\s*\{?-?\d\}?", "", unit))
    words = re.findall(r"[A-Za-zµΩÅ]+", unit)
    return all(len(word) > 1 and is_worded(word) for word in words[:1]) and (
        len(words[0]) > 3 or lookup(words[0]) is not None
    )


def _unit_text(whole: str, amount: str) -> str:
    """What of the whole stands behind the amount."""
    return whole.partition(amount)[2] if amount in whole else whole


def _made(text: str, body: str, *, unit: str, plain: bool, amount: Value | None = None) -> Value | None:
    """The amount with its unit; a magnitude is multiplied in, and an amount without anything left behind it stands
    alone."""
    if not body:
        return None
    amount = amount or _clock_or_number(body)
    found = read_unit(
        _WORDY.sub(r" \1 ", unit)
        .replace(r"\mu ", "µ")
        .replace(r"\mu", "µ")
        .replace(r"\Omega", "Ω")
        .replace(r"\cdot", "*")
    )
    if isinstance(amount, Number):
        amount = replace(
            amount,
            text=amount.text if found.factor == 1 else text,
            value=amount.value * found.factor,
            decimal=amount.decimal and (amount.value * found.factor).denominator != 1,
        )
        found = replace(found, factor=found.factor / found.factor)
    if not found.dimensions and not found.words and found.factor == 1:
        return amount
    return Quantity(text, amount, found, plain)


def _clock_or_number(body: str) -> Value:
    number = read_number(body)
    return Expression(_WORDY.sub(r"\1", body)) if number is None or isinstance(number, Based) else number


def _words_first(bare: str) -> Value | None:
    """ "a loss of 5", "about 5 cm": fillers are left out, words that are part of the value go behind it."""
    match = _FIRST_WORDS.fullmatch(bare.strip())
    if match is None:
        return None
    words = match["words"].lower().split()
    if not all(word in _FILLERS or word in _SIGNED for word in words):
        return None
    rest = read_single(match["rest"])
    said = " ".join(word for word in words if word in _SIGNED)
    if not said:
        return rest
    if not isinstance(rest, (Number, Quantity)):  # Monday the 5th
        return None
    inner, unit = (rest.amount, rest.unit) if isinstance(rest, Quantity) else (rest, read_unit(""))
    return Quantity(bare, inner, replace(unit, words=unit.words | read_unit(said).words))


def plain_words(text: str) -> str:
    """Letters alone, and numbers with their sign and decimals, for comparing words."""
    text = re.sub(r"\\[bp]?mod(?![a-z])", " mod ", text)
    text = re.sub(r"\\[a-z]+", " ", text.lower()).replace("{", "").replace("}", "")
    if not re.search(r"\d", text):
        return re.sub(r"[^a-z]", "", text)
    found = re.findall(r"[a-z]+|(?:(?<![\w)])[+-])?\d+(?:[.,:/]\d+)*", text)
    return "".join(f"|{word}|" if word[-1].isdigit() else word for word in found)
