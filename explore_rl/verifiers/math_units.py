r"""Units, magnitudes and words behind a number: what of them is part of the value, what may be left out, and what
clashes.

    >>> metre_a_second, metre = read_unit("m/s"), read_unit("m")
    >>> clash(metre_a_second, metre), clash(read_unit("km/h"), read_unit("kph"))
    (True, False)
    >>> read_unit("million dollars").factor, ratio(read_unit("cm"), read_unit("m"))
    (Fraction(1000000, 1), Fraction(1, 100))

Three sorts of words follow a number. Magnitudes ("million") multiply it. Units have dimensions and a size, so `5 m` and
`500 cm` are the
same and `5 m` and `5 m/s` are not. All other words say of what the number is; some of them carry part of the value
(`BINDING`), others
exclude each other (`OPPOSITES`), and the rest clash only with words that have nothing in common with them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from explore_rl.verifiers.math_dress import DOLLAR

MAGNITUDES = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "mn": 10**6,
    "bn": 10**9, "dozen": 12,
    "lakh": 10**5, "crore": 10**7,
}  # fmt: skip
PREFIXES = {
    "f": -15, "p": -12, "n": -9, "µ": -6, "u": -6, "m": -3, "c": -2, "d": -1, "h": 2, "k": 3, "M": 6, "G": 9, "T": 12,
    "femto": -15, "pico": -12, "nano": -9, "micro": -6, "milli": -3, "centi": -2, "deci": -1, "hecto": 2, "kilo": 3,
    "mega": 6, "giga": 9,
    "tera": 12,
}  # fmt: skip
_L, _M, _T, _I, _K, _N, _A, _B, _C = "length", "mass", "time", "current", "kelvin", "mole", "angle", "byte", "money"
_PI = Fraction(314159265358979323846, 10**20)  # an angle in degrees equals one in radians up to the tolerance only


def _of(**dimensions: int) -> dict[str, int]:
    return {{"L": _L, "M": _M, "T": _T, "I": _I, "K": _K, "N": _N}[key]: power for key, power in dimensions.items()}


_FORCE, _ENERGY, _POWER, _PRESSURE = _of(M=1, L=1, T=-2), _of(M=1, L=2, T=-2), _of(M=1, L=2, T=-3), _of(M=1, L=-1, T=-2)
# symbols: name -> (dimensions, size in base units, takes prefixes). Case counts. The base units are m, kg, s, A, K,
# mol.
_SYMBOLS: dict[str, tuple[dict[str, int], Fraction | str, bool]] = {
    "m": (_of(L=1), "1", True), "g": (_of(M=1), "1/1000", True), "s": (_of(T=1), "1", True), "A": (_of(I=1), "1", True),
    "K": (_of(K=1), "1", True), "mol": (_of(N=1), "1", True), "N": (_FORCE, "1", True), "J": (_ENERGY, "1", True),
    "W": (_POWER, "1", True), "Pa": (_PRESSURE, "1", True), "Hz": (_of(T=-1), "1", True),
    "C": (_of(I=1, T=1), "1", True),
    "V": (_of(M=1, L=2, T=-3, I=-1), "1", True), "Ω": (_of(M=1, L=2, T=-3, I=-2), "1", True),
    "F": (_of(M=-1, L=-2, T=4, I=2), "1", True), "H": (_of(M=1, L=2, T=-2, I=-2), "1", True),
    "T": (_of(M=1, T=-2, I=-1), "1", True), "Wb": (_of(M=1, L=2, T=-2, I=-1), "1", True),
    "S": (_of(M=-1, L=-2, T=3, I=2), "1", True),
    "eV": (_ENERGY, "1.602176634e-19", True), "cal": (_ENERGY, "4.184", True), "Wh": (_ENERGY, "3600", True),
    "erg": (_ENERGY, "1e-7", False),
    "dyn": (_FORCE, "1e-5", False), "lbf": (_FORCE, "4.4482216152605", False), "hp": (_POWER, "745.7", False),
    "atm": (_PRESSURE, "101325", False), "bar": (_PRESSURE, "100000", True), "torr": (_PRESSURE, "133.322368", False),
    "mmHg": (_PRESSURE, "133.322387", False), "psi": (_PRESSURE, "6894.757", False),
    "L": (_of(L=3), "1/1000", True), "l": (_of(L=3), "1/1000", True), "ml": (_of(L=3), "1/1000000", False),
    "t": (_of(M=1), "1000", False), "amu": (_of(M=1), "1.66053907e-27", False),
    "u": (_of(M=1), "1.66053907e-27", False),
    "in": (_of(L=1), "0.0254", False), "ft": (_of(L=1), "0.3048", False), "yd": (_of(L=1), "0.9144", False),
    "mi": (_of(L=1), "1609.344", False), "nmi": (_of(L=1), "1852", False), "Å": (_of(L=1), "1e-10", False),
    "ly": (_of(L=1), "9.4607304725808e15", False), "pc": (_of(L=1), "3.0856775814913673e16", True),
    "AU": (_of(L=1), "149597870700", False),
    "lb": (_of(M=1), "0.45359237", False), "oz": (_of(M=1), "0.028349523125", False),
    "gal": (_of(L=3), "0.003785411784", False), "acre": (_of(L=2), "4046.8564224", False),
    "ha": (_of(L=2), "10000", False),
    "ms": (_of(T=1), "1/1000", False), "min": (_of(T=1), "60", False), "h": (_of(T=1), "3600", False),
    "hr": (_of(T=1), "3600", False),
    "day": (_of(T=1), "86400", False), "d": (_of(T=1), "86400", False), "week": (_of(T=1), "604800", False),
    "month": ({"month": 1}, "1", False), "yr": ({"month": 1}, "12", False), "decade": ({"month": 1}, "120", False),
    "century": ({"month": 1}, "1200", False),
    "mph": (_of(L=1, T=-1), "0.44704", False), "kmh": (_of(L=1, T=-1), "5/18", False),
    "kph": (_of(L=1, T=-1), "5/18", False),
    "rad": ({_A: 1}, "1", True), "deg": ({_A: 1}, _PI / 180, False), "rpm": ({"turn": 1, _T: -1}, "1/60", False),
    "rev": ({"turn": 1}, "1", False), "sr": ({"steradian": 1}, "1", False), "B": ({_B: 1}, "8", True),
    "bit": ({_B: 1}, "1", True),
    "dB": ({"decibel": 1}, "1", False), "Bq": ({"becquerel": 1}, "1", True), "lm": ({"lumen": 1}, "1", False),
    "lx": ({"lux": 1}, "1", False),
    "cd": ({"candela": 1}, "1", False), "°C": ({"celsius": 1}, "1", False), "°F": ({"fahrenheit": 1}, "1", False),
    "cent": ({_C: 1}, "1/100", False), "dollar": ({_C: 1}, "1", False), "euro": ({"euro": 1}, "1", False),
    "sterling": ({"sterling": 1}, "1", False), "yen": ({"yen": 1}, "1", False), "rupee": ({"rupee": 1}, "1", False),
    "unit": ({"any length": 1}, "1", False), "%": ({"percent": 1}, "1", False), "tbsp": ({"tablespoon": 1}, "1", False),
    "tsp": ({"teaspoon": 1}, "1", False), "cup": ({"cup": 1}, "1", False),
}  # fmt: skip
# Written out, in any case, with or without a plural s.
_NAMES = {
    "meter": "m", "metre": "m", "gram": "g", "gramme": "g", "second": "s", "sec": "s", "ampere": "A", "amp": "A",
    "kelvin": "K", "mole": "mol",
    "newton": "N", "joule": "J", "watt": "W", "pascal": "Pa", "hertz": "Hz", "coulomb": "C", "volt": "V", "ohm": "Ω",
    "farad": "F",
    "henry": "H", "tesla": "T", "weber": "Wb", "siemens": "S", "electronvolt": "eV", "calorie": "cal", "erg": "erg",
    "dyne": "dyn",
    "horsepower": "hp", "atmosphere": "atm", "bar": "bar", "torr": "torr", "liter": "L", "litre": "L", "tonne": "t",
    "inch": "in", "inche": "in",
    "foot": "ft", "feet": "ft", "yard": "yd", "mile": "mi", "angstrom": "Å", "parsec": "pc", "lightyear": "ly",
    "lb": "lb", "oz": "oz",
    "ounce": "oz", "gallon": "gal", "gal": "gal", "acre": "acre", "hectare": "ha", "minute": "min", "min": "min",
    "hour": "h", "hr": "h",
    "day": "day", "week": "week", "wk": "week", "month": "month", "year": "yr", "yr": "yr", "decade": "decade",
    "century": "century",
    "centurie": "century", "mph": "mph", "kph": "kph", "kmh": "kmh", "kmph": "kmh", "radian": "rad", "rad": "rad",
    "degree": "deg", "deg": "deg",
    "rpm": "rpm", "revolution": "rev", "rev": "rev", "byte": "B", "bit": "bit", "decibel": "dB", "celsius": "°C",
    "centigrade": "°C",
    "fahrenheit": "°F", "cent": "cent", "dollar": "dollar", "buck": "dollar", "usd": "dollar", "euro": "euro",
    "eur": "euro", "pence": "penny",
    "yen": "yen", "rupee": "rupee", "unit": "unit", "tablespoon": "tbsp", "teaspoon": "tsp", "cup": "cup", "ft": "ft",
    "yd": "yd",
    "kg": "kg", "cm": "cm", "mm": "mm", "km": "km", "mg": "mg", "ml": "mL", "kw": "kW", "kwh": "kWh", "mol": "mol",
    "pound": "pound",
    "dyn": "dyn", "atm": "atm", "psi": "psi", "acr": "acre", "micron": "µm",
}  # fmt: skip
_MONEY = {DOLLAR: "dollar", "£": "sterling", "€": "euro", "¥": "yen", "₹": "rupee"}

# Words that are part of the value: a reference that says one is met only by an answer that says it too.
BINDING = [
    {"am"}, {"pm"}, {"bc", "bce"}, {"ad", "ce"}, {"north", "northern"}, {"south", "southern"}, {"east", "eastern"},
    {"west", "western"},
    {"northeast"}, {"northwest"}, {"southeast"}, {"southwest"},
    {"increase", "increased", "rise", "growth", "gain", "gained", "profit", "up", "surplus", "higher"},
    {"decrease", "decreased", "fall", "drop", "loss", "lost", "lose", "down", "deficit", "decline", "reduction",
    "discount", "lower"},
]  # fmt: skip
# Words of one group that differ exclude each other; they may be left out.
OPPOSITES = [
    [{"more", "greater", "extra"}, {"less", "fewer"}], [{"head"}, {"tail"}], [{"odd"}, {"even"}], [{"left"}, {"right"}],
    [{"above"}, {"below"}], [{"clockwise"}, {"counterclockwise", "anticlockwise"}],
    [{"win", "won"}, {"draw", "tie"}, {"defeat"}],
    [{"boy"}, {"girl"}], [{"man", "men"}, {"woman", "women"}], [{"male"}, {"female"}], [{"positive"}, {"negative"}],
    [{"before", "ago", "earlier"}, {"after", "later"}], [{"forward"}, {"backward"}], [{"inside"}, {"outside"}],
    [{"older"}, {"younger"}],
    [{"faster"}, {"slower"}], [{"taller", "longer"}, {"shorter"}], [{"credit"}, {"debit"}], [{"net"}, {"gross"}],
    [{"red"}, {"blue"}, {"green"}, {"yellow"}, {"black"}, {"white"}, {"orange"}, {"purple"}, {"brown"}, {"pink"}],
    [{"simple"}, {"compound"}], [{"minimum"}, {"maximum"}], [{"big", "large"}, {"small"}], [{"hot"}, {"cold"}],
    [{"upward"}, {"downward"}],
]  # fmt: skip
# Words that say nothing about what was counted, or next to nothing.
_EMPTY = set(
    "a an the of in to for is are there it its total altogether about around approximately roughly exactly only "
    "each every all long wide high "
    "tall deep old away apart time way person people item possibility possible combination arrangement different "
    "distinct piece number point "
    "part case object thing solution value digit place ".split()
)
_MORE = {"more", "extra", "left", "greater", "positive", "net"}  # said beside what was counted
_SHORT_WORDS = set(
    "men man boy car cup pen egg box bag cat dog cow pig hen ant bee can jar bus van lot set row way pie toy hat "
    "tie fan ".split()
)
_SHORT_WORDS |= {word + "s" for word in _SHORT_WORDS} | set(
    "per of in to is sq cu am pm bc ad bce ce bn mn hrs yrs lbs kgs yds".split()
)
_WORD = r"[A-Za-zµΩÅ°%']+"
_TOKEN = re.compile(rf"{_WORD}|\^\s*\{{?\s*-?\d\s*\}}?|[/()*·]|[{''.join(_MONEY)}]|\.")
_POWERS = {"squared": 2, "cubed": 3}
_BEFORE = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}


@dataclass(frozen=True)
class Unit:
    """dimensions: name -> power, sorted. size: in base units. factor: of the magnitudes. words: all others. degrees: of
    temperature or angle."""

    dimensions: tuple[tuple[str, int], ...] = ()
    size: Fraction = Fraction(1)
    factor: Fraction = Fraction(1)
    words: frozenset[str] = frozenset()

    @property
    def binding(self) -> frozenset[int]:
        """The places in BINDING of the words that are part of the value."""
        return frozenset(place for place, group in enumerate(BINDING) if group & self.words)


NONE = Unit()


@lru_cache(maxsize=4096)
def lookup(word: str) -> tuple[dict[str, int], Fraction] | None:
    """Dimensions and size of one unit, as a symbol ("kJ", case counts) or written out ("Kilojoules"); None if it is no
    unit.

    >>> lookup("MW")[1] / lookup("mW")[1], lookup("inches") == lookup("in"), lookup("apples")
    (Fraction(1000000000, 1), True, None)
    """
    if word in _SYMBOLS:
        dimensions, size, _ = _SYMBOLS[word]
        return dimensions, Fraction(size)
    for prefix, power in PREFIXES.items():
        rest = word.removeprefix(prefix)
        if len(prefix) == 1 and rest != word and rest in _SYMBOLS and _SYMBOLS[rest][2]:
            return _SYMBOLS[rest][0], Fraction(_SYMBOLS[rest][1]) * Fraction(10) ** power
    lower = word.lower()
    for name in (lower, lower.removesuffix("s"), lower.removesuffix("es")):
        if name in _NAMES:
            target = _NAMES[name]
            return lookup(target) if target != name or target in _SYMBOLS else None
        for prefix, power in PREFIXES.items():
            rest = name.removeprefix(prefix)
            if len(prefix) > 2 and rest != name and rest in _NAMES and (found := lookup(_NAMES[rest])):
                return found[0], found[1] * Fraction(10) ** power
    return None


@lru_cache(maxsize=4096)
def read_unit(text: str) -> Unit:
    """Of the text behind (or the currency before) a number, without LaTeX commands.

    Quotients ("m/s", "miles per hour", "J/(kg K)"), powers ("cm^2", "square feet", "s^-1") and products are read. What
    is no unit is a word.
    """
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
    text = re.sub(r"\bin\b\.?(?=\s*(?:$|\^|/))", "inch", text)  # not the preposition
    dimensions: dict[str, int] = {}
    size, factor, words = Fraction(1), Fraction(1), set()
    sign, group, depth, before, seen = 1, 1, 0, 1, False
    last: tuple[dict[str, int], Fraction, int] | None = None
    for token in _TOKEN.findall(text):
        low = token.lower().strip("'")
        power = _POWERS.get(low) or (int(re.sub(r"[^\d-]", "", token)) if token[0] == "^" else 0)
        if power:
            if last:  # one power is there already
                size *= last[1] ** (last[2] * (power - 1))
                for name, exponent in last[0].items():
                    dimensions[name] = dimensions.get(name, 0) + exponent * last[2] * (power - 1)
            continue
        if token == "(":
            depth, group = depth + 1, sign
        elif token == ")":
            depth, group, sign = max(depth - 1, 0), 1, 1
        elif token == "/" or low == "per":
            sign = -group if depth else -1
        elif token in "*·.":
            sign = group if depth else 1
        elif low in _BEFORE:
            before = _BEFORE[low]
        elif low in MAGNITUDES and not dimensions:
            factor *= MAGNITUDES[low]
        else:
            found = None if low in _EMPTY and token != "A" else _currency_or_unit(token, low)
            if low in ("a", "an", "each") and (dimensions or words):  # 18 dollars a day
                sign = -1
            elif found is None:
                words.update([_stem(low)] if low not in _EMPTY and _stem(low) not in _EMPTY else [])
                last = None
            else:
                exponent, seen = sign * before, True
                size *= found[1] ** exponent
                for name, own in found[0].items():
                    dimensions[name] = dimensions.get(name, 0) + own * exponent
                last, before = (found[0], found[1], exponent), 1
                sign = group if depth else sign
    if seen and not any(dimensions.values()):  # hours per day: a ratio, which is no bare number
        dimensions = {"ratio": 1}
    kept = tuple(sorted((name, power) for name, power in dimensions.items() if power))
    return Unit(kept, size, factor, frozenset(words))


def _degree(match: re.Match[str]) -> str:
    scale = (match[1] or match[2] or "")[:1].upper()
    return f" °{scale} " if scale else " deg "


def _currency_or_unit(token: str, low: str) -> tuple[dict[str, int], Fraction] | None:
    if token in _MONEY:
        return lookup(_MONEY[token])
    if low in ("pound", "pounds"):  # of mass or of money: `clash` lets it be either
        return {"pound": 1}, Fraction(1)
    return lookup(token)


def _stem(word: str) -> str:
    if word in ("less", "loss", "does", "gross", "class", "pass"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 2 else word


def _dimensions(unit: Unit, other: Unit) -> tuple[dict[str, int], Fraction]:
    """Of `unit`, with what could mean several things read as `other` has it."""
    dimensions, size, theirs = dict(unit.dimensions), unit.size, dict(other.dimensions)
    if "pound" in dimensions and "pound" not in theirs:
        power = dimensions.pop("pound")
        name, factor = ("sterling", Fraction(1)) if "sterling" in theirs else (_M, Fraction("0.45359237"))
        dimensions[name] = dimensions.get(name, 0) + power
        size *= factor**power
    if "any length" in dimensions and "any length" not in theirs and _L in theirs:
        dimensions[_L] = dimensions.pop("any length")
        size *= other.size
    if (
        dimensions == {_A: 1} and size == _PI / 180 and set(theirs) & {"celsius", "fahrenheit"}
    ):  # "20 degrees" of which scale is left out
        return theirs, other.size
    return dimensions, size


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
    for group in OPPOSITES:
        ours, theirs = ({place for place, words in enumerate(group) if words & unit.words} for unit in (gold, given))
        if ours and theirs and not ours & theirs:
            return True
    # words of both sides: they must have one in common, or mean the same by BINDING
    ours, theirs = gold.words - _MORE, given.words - _MORE
    return bool(ours and theirs and not ours & theirs and not gold.binding & given.binding)


def is_worded(text: str) -> bool:
    """Whether plain text behind a number and a blank is a unit or words, and not a product of variables.

    >>> is_worded("lbs"), is_worded("m/s"), is_worded("red balls"), is_worded("x"), is_worded("abc"), is_worded("sin x")
    (True, True, True, False, False, False)
    """
    words = re.findall(_WORD, text)
    if not words or all(_is_word(word) for word in words):
        return bool(words)
    # "big blue boxes": short words before one that is surely a word
    return (
        len(words[-1]) > 3
        and _is_word(words[-1])
        and all(_is_word(word) or re.fullmatch("[a-z]{3}", word) for word in words)
    )


def _is_word(word: str) -> bool:
    low = word.lower()
    if (
        lookup(word)
        or low in _SHORT_WORDS
        or low in MAGNITUDES
        or low in _EMPTY
        or low in _BEFORE
        or any(low in group for group in BINDING)
    ):
        return True
    if low in (
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "log",
        "ln",
        "exp",
        "mod",
        "max",
        "min",
        "gcd",
        "lcm",
        "lim",
        "sqrt",
    ):
        return False
    return len(word) > 3 or (
        len(word) == 3
        and low in {"pts", "red", "new", "old", "odd", "net", "ton", "tons", "ace", "cut", "lap", "end", "aces"}
    )
