"""The names of units, magnitudes and words behind a number: what `math_units` reads."""

from __future__ import annotations

from fractions import Fraction

from explore_rl.verifiers.math_dress import DOLLAR

MAGNITUDES = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "mn": 10**6,
    "bn": 10**9, "dozen": 12, "lakh": 10**5, "crore": 10**7, "quadrillion": 10**15, "quintillion": 10**18,
    "googol": 10**100,
}  # fmt: skip
# Magnitudes only where nothing else is said: "2 score", "5 gross", but "a gross income of 5".
ALONE = {"score": 20, "gross": 144}
# "5 thousandths", "2 thirds of a mile"; in the singular only as the last word ("5 third graders").
PARTS = {
    "half": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
    "eleventh": 11, "twelfth": 12, "sixteenth": 16, "twentieth": 20, "hundredth": 100, "thousandth": 1000,
    "millionth": 10**6, "billionth": 10**9, "trillionth": 10**12,
}  # fmt: skip
PARTS |= {f"{name}s": size for name, size in PARTS.items()} | {"halves": 2}
PREFIXES = {
    "f": -15, "p": -12, "n": -9, "µ": -6, "u": -6, "m": -3, "c": -2, "d": -1, "h": 2, "k": 3, "M": 6, "G": 9, "T": 12,
    "femto": -15, "pico": -12, "nano": -9, "micro": -6, "milli": -3, "centi": -2, "deci": -1, "hecto": 2, "kilo": 3,
    "mega": 6, "giga": 9,
    "tera": 12,
}  # fmt: skip
LENGTH = "length"
MASS = "mass"
_T = "time"
_I = "current"
_K = "kelvin"
_N = "mole"
ANGLE = "angle"
_B = "byte"
_C = "money"
PI = Fraction(314159265358979323846, 10**20)  # an angle in degrees equals one in radians up to the tolerance only


def _of(**dimensions: int) -> dict[str, int]:
    return {
        {"L": LENGTH, "M": MASS, "T": _T, "I": _I, "K": _K, "N": _N}[key]: power for key, power in dimensions.items()
    }


_FORCE = _of(M=1, L=1, T=-2)
_ENERGY = _of(M=1, L=2, T=-2)
_POWER = _of(M=1, L=2, T=-3)
_PRESSURE = _of(M=1, L=-1, T=-2)
# symbols: name -> (dimensions, size in base units, takes prefixes). Case counts. The base units are m, kg, s, A, K,
# mol.
SYMBOLS: dict[str, tuple[dict[str, int], Fraction | str, bool]] = {
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
    "rad": ({ANGLE: 1}, "1", True), "deg": ({ANGLE: 1}, PI / 180, False), "rpm": ({"turn": 1, _T: -1}, "1/60", False),
    "rev": ({"turn": 1}, "1", False), "sr": ({"steradian": 1}, "1", False), "B": ({_B: 1}, "8", True),
    "bit": ({_B: 1}, "1", True),
    "dB": ({"decibel": 1}, "1", False), "Bq": ({"becquerel": 1}, "1", True), "lm": ({"lumen": 1}, "1", False),
    "lx": ({"lux": 1}, "1", False),
    "cd": ({"candela": 1}, "1", False), "°C": ({"celsius": 1}, "1", False), "°F": ({"fahrenheit": 1}, "1", False),
    "cent": ({_C: 1}, "1/100", False), "dollar": ({_C: 1}, "1", False), "euro": ({"euro": 1}, "1", False),
    "sterling": ({"sterling": 1}, "1", False), "yen": ({"yen": 1}, "1", False), "rupee": ({"rupee": 1}, "1", False),
    "unit": ({"any length": 1}, "1", False), "%": ({"percent": 1}, "1", False), "tbsp": ({"tablespoon": 1}, "1", False),
    "tsp": ({"teaspoon": 1}, "1", False), "cup": ({"cup": 1}, "1", False), "pence": ({"sterling": 1}, "1/100", False),
    "yuan": ({"yuan": 1}, "1", False), "peso": ({"peso": 1}, "1", False), "franc": ({"franc": 1}, "1", False),
    "ruble": ({"ruble": 1}, "1", False), "shilling": ({"shilling": 1}, "1", False),
    "‰": ({"permille": 1}, "1", False), "arcmin": ({ANGLE: 1}, PI / 10800, False), "pint": ({"pint": 1}, "1", False),
    "arcsec": ({ANGLE: 1}, PI / 648000, False), "prime": ({"prime": 1}, "1", False), "ton": ({"ton": 1}, "1", False),
    "doubleprime": ({"double prime": 1}, "1", False), "floz": ({"fluid ounce": 1}, "1", False), "qt": (_of(L=3),
    "0.000946352946", False),
    "knot": (_of(L=1, T=-1), "463/900", False), "furlong": (_of(L=1), "201.168", False),
    "fathom": (_of(L=1), "1.8288", False), "stone": (_of(M=1), "6.35029318", False),
    "barrel": ({"barrel": 1}, "1", False), "carat": (_of(M=1), "1/5000", False),
    "G": (_of(M=1, T=-2, I=-1), "1/10000", False), "fortnight": (_of(T=1), "1209600", False),
    "mpg": (_of(L=-2), "1609344000000000/3785411784", False), "Ci": ({"becquerel": 1}, "3.7e10", False),
    "BTU": (_ENERGY, "1055.06", False),
    "ppm": ({"ppm": 1}, "1", False), "ppb": ({"ppb": 1}, "1", False), "diopter": (_of(L=-1), "1", False),
    "steradian": ({"steradian": 1}, "1", False), "molecule": ({"particle": 1}, "1", False),
    "M☉": ({"solar mass": 1}, "1", False), "L☉": ({"solar luminosity": 1}, "1", False),
    "R☉": ({"solar radius": 1}, "1", False), "league": ({"league": 1}, "1", False), "Gy": ({"gray": 1}, "1", True),
    "Sv": ({"sievert": 1}, "1", True), "kat": ({"katal": 1}, "1", True), "baud": ({"baud": 1}, "1", True),
}  # fmt: skip
# Written out, in any case, with or without a plural s.
NAMES = {
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
    "eur": "euro",
    "yen": "yen", "rupee": "rupee", "unit": "unit", "tablespoon": "tbsp", "teaspoon": "tsp", "cup": "cup", "ft": "ft",
    "yd": "yd",
    "kg": "kg", "cm": "cm", "mm": "mm", "km": "km", "mg": "mg", "ml": "mL", "kw": "kW", "kwh": "kWh", "mol": "mol",
    "pound": "pound",
    "dyn": "dyn", "atm": "atm", "psi": "psi", "acr": "acre", "micron": "µm", "pence": "pence", "yuan": "yuan",
    "renminbi": "yuan", "rmb": "yuan", "peso": "peso", "franc": "franc", "ruble": "ruble",
    "rouble": "ruble", "shilling": "shilling", "permille": "‰", "arcminute": "arcmin", "arcmin": "arcmin",
    "arcsecond": "arcsec", "arcsec": "arcsec", "pint": "pint", "quart": "qt", "ton": "ton", "knot": "knot",
    "furlong": "furlong", "fathom": "fathom", "stone": "stone", "barrel": "barrel", "carat": "carat", "gauss": "G",
    "fortnight": "fortnight", "mpg": "mpg", "btu": "BTU", "ppm": "ppm", "ppb": "ppb", "diopter": "diopter",
    "dioptre": "diopter", "molecule": "molecule", "curie": "Ci", "league": "league", "lumen": "lm", "lux": "lx",
    "becquerel": "Bq", "sievert": "Sv", "steradian": "sr", "inr": "rupee", "gbp": "sterling",
    "jpy": "yen", "cny": "yuan", "quid": "sterling", "turn": "rev",
}  # fmt: skip
CURRENCIES = {DOLLAR: "dollar", "£": "sterling", "€": "euro", "¥": "yen", "₹": "rupee"}

# Words that are part of the value: a reference that says one is met only by an answer that says it too.
BINDING = [
    {"am"}, {"pm"}, {"bc", "bce"}, {"ad", "ce"}, {"north", "northern"}, {"south", "southern"}, {"east", "eastern"},
    {"west", "western"},
    {"atleast"}, {"atmost"}, {"northeast"}, {"northwest"}, {"southeast"}, {"southwest"},
    {"increase", "increased", "rise", "growth", "gain", "gained", "profit", "up", "surplus", "higher"},
    {"decrease", "decreased", "fall", "drop", "loss", "lost", "lose", "down", "deficit", "decline", "reduction",
    "discount", "lower", "off"},
]  # fmt: skip
# Words of one group that differ exclude each other; they may be left out.
_DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_ORDINALS = "first ordinal-second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
OPPOSITES = [
    [{"more", "greater", "extra"}, {"less", "fewer", "off"}], [{"head"}, {"tail"}], [{"odd"}, {"even"}],
    [{"left"}, {"right"}],
    [{"above"}, {"below"}], [{"clockwise"}, {"counterclockwise", "anticlockwise"}],
    [{"win", "won"}, {"draw", "tie"}, {"defeat"}],
    [{"boy"}, {"girl"}], [{"man", "men"}, {"woman", "women"}], [{"male"}, {"female"}], [{"positive"}, {"negative"}],
    [{"before", "ago", "earlier"}, {"after", "later", "past"}], [{"forward"}, {"backward"}], [{"inside"}, {"outside"}],
    [{"older"}, {"younger"}],
    [{"faster"}, {"slower"}], [{"taller", "longer"}, {"shorter"}], [{"credit"}, {"debit"}], [{"net"}, {"gross"}],
    [{"red"}, {"blue"}, {"green"}, {"yellow"}, {"black"}, {"white"}, {"orange"}, {"purple"}, {"brown"}, {"pink"}],
    [{"simple"}, {"compound"}], [{"minimum"}, {"maximum"}], [{"big", "large"}, {"small"}], [{"hot"}, {"cold"}],
    [{"upward"}, {"downward"}], [{"toward", "towards"}, {"away"}], [{"extra", "over", "surplus"}, {"short", "under"}],
    [{"each", "apiece"}, {"total", "altogether"}], [{"wide"}, {"long"}, {"high", "tall"}, {"deep"}],
    [{"time"}, {"way", "possibility", "combination", "arrangement"}, {"point"}, {"digit"}, {"people", "person"}],
    [{day} for day in _DAYS], [{ordinal} for ordinal in _ORDINALS], [{"ahead", "early"}, {"behind", "late"}],
    [{"for"}, {"against"}],
]  # fmt: skip
# Words that say nothing about what was counted, or next to nothing.
EMPTY = set(
    "a an the of in to as at on by is are there it its all about around approximately roughly exactly only every apart "
    "item possible different distinct piece number part case object thing solution value place ".split()
)
# Said beside what was counted: they clash with their opposites only.
BESIDE = set(
    "for more extra left greater positive net total altogether each apiece long wide high tall deep old away time way "
    "person people possibility combination arrangement point digit".split()
)
# Of these, what was counted: it is not measured in units.
COUNTED = set("time way person people possibility combination arrangement point digit".split())
# "second" before one of these is an ordinal, and no time
ORDERED = set("class place prize grade grader floor half row year term order team group division hand".split())
