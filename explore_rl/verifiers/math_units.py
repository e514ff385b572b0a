r"""Units, magnitudes and words behind a number: what is part of the value, what may be left out, and what clashes.

    >>> metre_a_second, metre = read_unit("m/s"), read_unit("m")
    >>> clash(metre_a_second, metre), clash(read_unit("km/h"), read_unit("kph"))
    (True, False)
    >>> read_unit("million dollars").factor, ratio(read_unit("cm"), read_unit("m"))
    (Fraction(1000000, 1), Fraction(1, 100))

Three sorts of words follow a number. Magnitudes ("million") multiply it. Units have dimensions and a size, so `5 m` and
`500 cm` are the same and `5 m` and `5 m/s` are not. All other words say of what the number is; some of them carry part
of the value (`BINDING`), others exclude each other (`OPPOSITES`), and the rest clash only with words that have nothing
in common with them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from explore_rl.verifiers.math_unit_names import (
    ALONE,
    ANGLE,
    BESIDE,
    BINDING,
    COUNTED,
    CURRENCIES,
    EMPTY,
    LENGTH,
    MAGNITUDES,
    MASS,
    NAMES,
    OPPOSITES,
    ORDERED,
    PARTS,
    PI,
    PREFIXES,
    SYMBOLS,
)

_SHORT_WORDS = set(
    "men man boy car cup pen egg box bag cat dog cow pig hen ant bee can jar bus van lot set row way pie toy hat "
    "tie fan ace cut lap kid end ton".split()
)
_SHORT_WORDS |= {word + "s" for word in _SHORT_WORDS} | set(
    "per of in to is sq cu am pm bc ad bce ce bn mn hrs yrs lbs kgs yds pts red new old odd net pcs doz pks mos wks "
    "ppl qts ids ago px pt ea bps".split()
)
_FUNCTIONS = set("sin cos tan cot sec csc log ln exp mod max min gcd lcm lim sqrt".split())
_WORD = r"[A-Za-zµΩÅ°%‰☉']+"
_TOKEN = re.compile(rf"{_WORD}|\^\s*\{{?\s*-?\d\s*\}}?|[/()*·]|[{''.join(CURRENCIES)}]|\.")
_OF_TWO_WORDS = [
    (re.compile(pattern, re.IGNORECASE), name)
    for pattern, name in [
        (r"\bnautical\s+miles?\b", "nmi"), (r"\blight[\s-]+years?\b", "ly"), (r"\bmetric\s+tons?\b", "tonne"),
        (r"\b(?:or|and)\s+(?:more|greater|higher|above|over|larger|up)\b|\bat\s+least\b", "atleast"),
        (r"\b(?:or|and)\s+(?:less|fewer|lower|below|under|smaller)\b|\bat\s+most\b", "atmost"),
        (r"\bper\s+mille?\b", "‰"), (r"\bsolar\s+mass(?:es)?\b", "M☉"), (r"\bsolar\s+luminosit(?:y|ies)\b", "L☉"),
        (r"\bsolar\s+radi(?:us|i)\b", "R☉"), (r"\bfl(?:uid|\.)?\s+(?:ounces?|oz)\b\.?", "floz"),
        (r"\b(?:minutes?\s+of\s+arc|arc[\s-]minutes?)\b", "arcmin"),
        (r"\b(?:seconds?\s+of\s+arc|arc[\s-]seconds?)\b", "arcsec"),
    ]
]  # fmt: skip
_COMPASS = {"N": "north", "S": "south", "E": "east", "W": "west",
            "NE": "northeast", "NW": "northwest", "SE": "southeast", "SW": "southwest"}  # fmt: skip
_POWERS = {"squared": 2, "cubed": 3}
_BEFORE = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}


@dataclass(frozen=True)
class Unit:
    """A unit of measurement, or none."""

    dimensions: tuple[tuple[str, int], ...] = ()  # name -> power, sorted
    size: Fraction = Fraction(1)  # in base units
    factor: Fraction = Fraction(1)  # of the magnitudes ("thousand")
    words: frozenset[str] = frozenset()  # all others

    @property
    def binding(self) -> frozenset[int]:
        """The places in BINDING of the words that are part of the value."""
        return frozenset(place for place, group in enumerate(BINDING) if group & self.words)


NONE = Unit()
_PRIMES = [("prime", PI / 10800, Fraction("0.3048")), ("double prime", PI / 648000, Fraction("0.0254"))]


@lru_cache(maxsize=4096)
def lookup(word: str) -> tuple[dict[str, int], Fraction] | None:
    """Dimensions and size of one unit, as a symbol ("kJ", case counts) or written out ("Kilojoules"); None if it is no
    unit.

    >>> lookup("MW")[1] / lookup("mW")[1], lookup("inches") == lookup("in"), lookup("apples")
    (Fraction(1000000000, 1), True, None)
    """
    if word in SYMBOLS:
        dimensions, size, _ = SYMBOLS[word]
        return dimensions, Fraction(size)
    for prefix, power in PREFIXES.items():
        rest = word.removeprefix(prefix)
        if len(prefix) == 1 and rest != word and rest in SYMBOLS and SYMBOLS[rest][2]:
            return SYMBOLS[rest][0], Fraction(SYMBOLS[rest][1]) * Fraction(10) ** power
    lower = word.lower()
    for name in (lower, lower.removesuffix("s"), lower.removesuffix("es")):
        if name in NAMES:
            target = NAMES[name]
            return lookup(target) if target != word else None
        for prefix, power in PREFIXES.items():
            rest = name.removeprefix(prefix)
            if len(prefix) > 2 and rest != name and rest in NAMES and (found := lookup(NAMES[rest])):
                return found[0], found[1] * Fraction(10) ** power
    return None


@lru_cache(maxsize=4096)
def read_unit(text: str) -> Unit:
    """Of the text behind (or the currency before) a number, without LaTeX commands.

    Quotients ("m/s", "miles per hour", "J/(kg K)"), powers ("cm^2", "square feet", "s^-1") and products are read. What
    is no unit is a word.
    """
    tokens = _TOKEN.findall(_spelt_one_way(text))
    if len(tokens) == 1 and tokens[0].lower() in ALONE:
        return Unit(factor=Fraction(ALONE[tokens[0].lower()]))
    reading = _Reading()
    for place, token in enumerate(tokens):
        low = token.lower().strip("'")
        power = _POWERS.get(low) or (int(re.sub(r"[^\d-]", "", token)) if token[0] == "^" else 0)
        if power:
            reading.raise_last(power)
        elif not reading.takes_sign(token, low):
            before = tokens[place - 1] if place else ""
            behind = tokens[place + 1].lower() if tokens[place + 1 :] else ""
            if not reading.takes_number_word(low, behind) and not reading.takes_place(token, before, behind=behind):
                reading.take_word(token, low)
    return reading.unit()


def _spelt_one_way(text: str) -> str:
    """Abbreviations without their full stops, degrees as one token, names of two words as one."""
    text = (
        text.replace("U.S.", "").replace("a.m.", "am").replace("p.m.", "pm").replace("A.M.", "am").replace("P.M.", "pm")
    )
    text = re.sub(r"\b([BbAa])\.?([CcDd])\.(?:([Ee])\.)?", r"\1\2\3", text)
    text = re.sub(
        r"(?:\^\s*\{?\s*\\circ\s*\}?|°|\bdegrees?)\s*(?:([CF])\b|(Celsius|Fahrenheit)|(?=\W|$))",
        _degree,
        text,
        flags=re.IGNORECASE,
    )
    for pattern, name in _OF_TWO_WORDS:
        text = pattern.sub(name, text)
    return re.sub(r"\bin\b\.?(?=\s*(?:$|\^|/))", "inch", text)  # not the preposition


@dataclass
class _Reading:
    """A unit that is read token by token.

    sign: of the exponent of the next unit, -1 behind "/" and "per"; group: the sign that a bracket began with. before:
    the power that "square" or "cubic" announced. last: dimensions, size and exponent of the unit read last.
    """

    dimensions: dict[str, int] = field(default_factory=dict)
    size: Fraction = Fraction(1)
    factor: Fraction = Fraction(1)
    words: set[str] = field(default_factory=set)
    sign: int = 1
    group: int = 1
    depth: int = 0
    before: int = 1
    last: tuple[dict[str, int], Fraction, int] | None = None
    seen: bool = False  # a unit

    def raise_last(self, power: int) -> None:
        """cm^2, metres squared; one power is there already."""
        if self.last:
            dimensions, size, exponent = self.last
            self._multiply(dimensions, size, exponent=exponent * (power - 1))

    def takes_sign(self, token: str, low: str) -> bool:
        """Brackets, quotients, products, and powers that are said before the unit."""
        if token == "(":
            self.depth += 1
            self.group = self.sign
        elif token == ")":
            self.depth = max(self.depth - 1, 0)
            self.group = self.sign = 1
        elif token == "/" or low == "per":
            self.sign = -self.group if self.depth else -1
        elif token in "*·.":
            self.sign = self.group if self.depth else 1
        elif low in _BEFORE:
            self.before = _BEFORE[low]
        else:
            return False
        return True

    def takes_number_word(self, low: str, behind: str) -> bool:
        """Millions, thirds, and "second" where it is an ordinal."""
        is_part = low.endswith(("s", "halves")) or behind in ("", "of", "a") or lookup(behind) is not None
        if low in MAGNITUDES and not self.dimensions:
            self.factor *= MAGNITUDES[low]
        elif low in PARTS and not self.dimensions and not self.words and is_part:
            self.factor /= PARTS[low]
        elif low == "second" and (behind in ORDERED or behind.removesuffix("s") in ORDERED):
            self.words.add("ordinal-second")
        else:
            return False
        return True

    def takes_place(self, token: str, before: str, *, behind: str) -> bool:
        """30 km E; 5 minutes to."""
        if token.lower() == "to" and not behind:
            self.words.add("before")
        elif not behind and before and token in _COMPASS and _is_place(self.dimensions, before, token=token):
            self.words.add(_COMPASS[token])
        else:
            return False
        return True

    def take_word(self, token: str, low: str) -> None:
        """A unit, "a" for "per", or a word."""
        found = None if low in EMPTY and token != "A" else _currency_or_unit(token, low)
        if low in ("a", "an", "each") and (self.dimensions or self.words):  # 18 dollars a day
            self.sign = -1
            self.words.update([low] if low == "each" else [])
        elif found is None:
            word = _stem(low)
            if low not in EMPTY and word not in EMPTY:  # 3 students per teacher is not 3 teachers per student
                self.words.add(f"/{word}" if self.sign < 0 else word)
            self.last = None
        else:
            exponent = self.sign * self.before
            self.seen = True
            self._multiply(*found, exponent=exponent)
            self.last = (*found, exponent)
            self.before = 1
            self.sign = self.group if self.depth else self.sign

    def _multiply(self, dimensions: dict[str, int], size: Fraction, *, exponent: int) -> None:
        self.size *= size**exponent
        for name, own in dimensions.items():
            self.dimensions[name] = self.dimensions.get(name, 0) + own * exponent

    def unit(self) -> Unit:
        # hours per day: a ratio, which is no bare number
        dimensions = {"ratio": 1} if self.seen and not any(self.dimensions.values()) else self.dimensions
        kept = tuple(sorted((name, power) for name, power in dimensions.items() if power))
        return Unit(kept, self.size, self.factor, frozenset(self.words))


def _is_place(dimensions: dict[str, int], before: str, *, token: str) -> bool:
    """30 km E, 40° N: a compass point; 5 m N may be newtons."""
    return dimensions in ({LENGTH: 1}, {ANGLE: 1}) and before not in "*·./()" and not (token == "N" and before == "m")


def _degree(match: re.Match[str]) -> str:
    scale = (match[1] or match[2] or "")[:1].upper()
    return f" °{scale} " if scale else " deg "


def _currency_or_unit(token: str, low: str) -> tuple[dict[str, int], Fraction] | None:
    if token in CURRENCIES:
        return lookup(CURRENCIES[token])
    if low in ("pound", "pounds"):  # of mass or of money: `clash` lets it be either
        return {"pound": 1}, Fraction(1)
    return lookup(token)


def _stem(word: str) -> str:
    if word.endswith(("ss", "us")) or word == "does":
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 2 else word


def _dimensions(unit: Unit, other: Unit) -> tuple[dict[str, int], Fraction]:
    """Of `unit`, with what could mean several things read as `other` has it."""
    dimensions = dict(unit.dimensions)
    size = unit.size
    theirs = dict(other.dimensions)
    if "pound" in dimensions and "pound" not in theirs:
        power = dimensions.pop("pound")
        name, factor = ("sterling", Fraction(1)) if "sterling" in theirs else (MASS, Fraction("0.45359237"))
        dimensions[name] = dimensions.get(name, 0) + power
        size *= factor**power
    if "any length" in dimensions and "any length" not in theirs and LENGTH in theirs:
        dimensions[LENGTH] = dimensions.pop("any length")
        size *= other.size
    for sign, of_angle, of_length in _PRIMES:  # 7' may be minutes of arc or feet
        if sign in dimensions and (ANGLE in theirs or LENGTH in theirs):
            return ({ANGLE: 1}, of_angle) if ANGLE in theirs else ({LENGTH: 1}, of_length)
    if (
        dimensions == {ANGLE: 1} and size == PI / 180 and set(theirs) & {"celsius", "fahrenheit"}
    ):  # "20 degrees" of which scale is left out
        return theirs, other.size
    return dimensions, size


def same_dimensions(units: list[Unit]) -> list[Fraction] | None:
    """The sizes of units that measure the same; None if they do not."""
    read = [_dimensions(unit, units[0] if place else units[1]) for place, unit in enumerate(units)]
    return [size for _, size in read] if all(dimensions == read[0][0] for dimensions, _ in read) else None


def ratio(unit: Unit, other: Unit) -> Fraction | None:
    """How many of `other` one `unit` is, magnitudes included; None if they measure different things. What is left out
    is no difference."""
    if not unit.dimensions or not other.dimensions:
        return unit.factor / other.factor
    one, size = _dimensions(unit, other)
    two, other_size = _dimensions(other, unit)
    return size / other_size * unit.factor / other.factor if one == two else None


def clash(gold: Unit, given: Unit) -> bool:
    """Whether the words and units of an answer contradict those of the reference, whatever the numbers are."""
    if ratio(gold, given) is None or gold.binding - given.binding:
        return True
    if gold.binding and given.binding - gold.binding:
        return True
    return _opposed(gold, given) or _measured_and_counted(gold, given) or _words_clash(gold, given)


def _opposed(gold: Unit, given: Unit) -> bool:
    for group in OPPOSITES:
        ours, theirs = ({place for place, words in enumerate(group) if words & unit.words} for unit in (gold, given))
        if ours and theirs and not ours & theirs:
            return True
    return False


def _measured_and_counted(gold: Unit, given: Unit) -> bool:
    """Kilograms, and what no unit measures."""
    if bool(gold.dimensions) == bool(given.dimensions):
        return False
    measured, other = (gold, given) if gold.dimensions else (given, gold)
    what = counted_words(other)
    return bool(what) and not what & measured.words and measured.dimensions != (("any length", 1),)


def _words_clash(gold: Unit, given: Unit) -> bool:
    """Each side says something that the other does not."""
    alike = {word for place in gold.binding & given.binding for word in BINDING[place]}
    ours = gold.words - BESIDE - alike
    theirs = given.words - BESIDE - alike
    return bool(ours - theirs and theirs - ours)


def counted_words(unit: Unit) -> frozenset[str]:
    """Its words that say what was counted."""
    return unit.words - (BESIDE - COUNTED) - {word for place in unit.binding for word in BINDING[place]}


def changes(unit: Unit) -> bool:
    """Whether the words alone make something else of one without them: 5 negative, 5 or more."""
    return bool(unit.words & {"atleast", "atmost"}) or (not unit.dimensions and unit.words == {"negative"})


def is_worded(text: str) -> bool:
    """Whether plain text behind a number and a blank is a unit or words, and not a product of variables.

    >>> is_worded("lbs"), is_worded("m/s"), is_worded("red balls"), is_worded("x"), is_worded("abc"), is_worded("sin x")
    (True, True, True, False, False, False)
    """
    words = re.findall(_WORD, text)
    if len(words) > 1 and words[-1] in _COMPASS and lookup(words[0]):  # 30 km E
        words = words[:-1]
    if words == ["a"]:  # 15 a: a variable
        return False
    if not words or all(_is_word(word) for word in words):
        return bool(words)
    # "big blue boxes", "hours ago": short words beside one that is surely a word
    return any(_is_word(word) and len(word) > 1 for word in words) and all(
        _is_word(word) or (re.fullmatch("[a-z]{3}", word) and word not in _FUNCTIONS) for word in words
    )


def _is_word(word: str) -> bool:
    low = word.lower()
    if (
        lookup(word)
        or low in _SHORT_WORDS
        or low in MAGNITUDES
        or low in EMPTY
        or low in _BEFORE
        or any(low in group for group in BINDING)
    ):
        return True
    if low in _FUNCTIONS:
        return False
    return len(word) > 3
