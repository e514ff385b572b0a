r"""Reads a mathematical answer into a Form: what kind of thing it is, down to parts that are single numbers or expressions.

The structure (lists, tuples, intervals, sets, unions, vectors, labels such as "x =") is read here, because it decides what has to be
compared in order, and because a computer algebra system guesses it wrong: it takes (2, 1) for an empty interval. Expressions are
left as LaTeX for math-verify. Everything here is linear in the text and evaluates nothing.

    >>> parse(r"x = 3").kind, parse(r"x = 3").label
    ('number', 'x')
    >>> [part.value for part in parse(r"\left( 3, \frac{1}{2} \right)").parts]
    [Fraction(3, 1), Fraction(1, 2)]
    >>> parse(r"1 \pm 2").kind, parse("[0, 1)").brackets, parse("5,400").value
    ('list', '[)', Fraction(5400, 1))
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

MAX_PARTS = 200
MAX_DIGITS = 400  # of a number that is read here; longer ones are left to math-verify
MAX_EXPONENT = 4000


@dataclass(frozen=True)
class Form:
    r"""kind and what goes with it:

    number    value; decimal: written with a decimal point or in scientific notation; percent: with a percent sign
    text      text: words, in lower case, without punctuation
    expr      text: LaTeX
    relation  operator (=, <, \leq, \neq), parts = (left, right), expressions
    list      parts, in no order (also sets and unions)
    tuple     parts, in order; brackets "()" or "[]", or "(]" and "[)" for intervals
    """

    kind: str
    text: str = ""
    value: Fraction | None = None
    decimal: bool = False
    percent: bool = False
    parts: tuple[Form, ...] = ()
    operator: str = ""
    brackets: str = ""
    label: str = ""  # "x" in "x = 5", "f" in "f(n) = n"
    variable: str = ""  # "n" in "f(n) = n"
    unit: str = ""


class Unbalanced(ValueError):
    """The answer has a bracket too few or too many: most likely it was cut off."""


_UNICODE = {
    "−": "-", "–": "-", "—": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/", "π": r"\pi ", "∞": r"\infty ", "≤": r"\leq ",
    "≥": r"\geq ", "≠": r"\neq ", "±": r"\pm ", "∪": r"\cup ", "∈": r"\in ", "°": r"^{\circ}", "²": "^{2}", "³": "^{3}", "½": r"\frac{1}{2}",
    "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "λ": r"\lambda ", "ω": r"\omega ", "φ": r"\phi ", "\u00a0": " ", "\u202f": " ",
    "\u2009": " ", "’": "'", "ℝ": r"\mathbb{R}", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "⟨": r"\langle ", "⟩": r"\rangle ",
}  # fmt: skip
_UNICODE_RE = re.compile("|".join(map(re.escape, _UNICODE)))
_REWRITES = [
    (re.compile(p), r)
    for p, r in [
        (r"\\!\s*", ""),
        (r"\{,\}", ","),
        (r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])\s*\.?", ""),
        (r"\\(?:displaystyle|textstyle|limits|nolimits|mathstrut|hfill|newline)(?![a-zA-Z])", " "),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\dbinom|\\tbinom", r"\\binom"),
        (r"\\(?:geqslant|geqq|ge)(?![a-zA-Z])", r"\\geq"),
        (r"\\(?:leqslant|leqq|le)(?![a-zA-Z])", r"\\leq"),
        (r"\\ne(?![a-zA-Z])|!=", r"\\neq"),
        (r"<=", r"\\leq "),
        (r">=", r"\\geq "),
        (r"\\lt(?![a-zA-Z])", "<"),
        (r"\\gt(?![a-zA-Z])", ">"),
        (r"\\(?:lbrace|lgroup)(?![a-zA-Z])", r"\\{"),
        (r"\\(?:rbrace|rgroup)(?![a-zA-Z])", r"\\}"),
        (r"\\lbrack(?![a-zA-Z])", "["),
        (r"\\rbrack(?![a-zA-Z])", "]"),
        (r"\\(?:mathbf|boldsymbol|bm|vec|mathit|textbf|textit|mathsf)(?![a-zA-Z])\s*", ""),
        (r"\\operatorname\s*\{\s*(arcsin|arccos|arctan|sin|cos|tan|log|ln|exp|gcd|lcm|max|min)\s*\}", r"\\\1 "),
        (r"\bnp\.(arcsin|arccos|arctan|sin|cos|tan|log|exp|sqrt)\b", r"\\\1"),
        (r"\\exp\s*\{", r"e^{"),
        (r"(?<![\\a-zA-Z])sqrt\s*\(([^()]{1,60})\)", r"\\sqrt{\1}"),
        (r"√\s*\(([^()]{1,60})\)", r"\\sqrt{\1}"),
        (r"√\s*(\d{1,20}|[a-zA-Z])", r"\\sqrt{\1}"),
        (r"(?<![\\a-zA-Z])pi(?![a-zA-Z])", r"\\pi"),
        (r"(?<![\\a-zA-Z])(?:inf|infinity|infty|oo)(?![a-zA-Z])", r"\\infty"),
        (r"\\(?:degree|degrees)(?![a-zA-Z])", r"^{\\circ}"),
        (r"\\(?:quad|qquad|enspace|thinspace|,|;|:|>|\s)(?![a-zA-Z])", " "),
        (r"\\(?:qquad|quad)", " "),
        (r"~", " "),
        (r"\\%", "%"),
        (r"\*\*", "^"),
        (r"\*", r"\\cdot "),
        (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
        (r"(\\frac\s*\{[^{}]{1,200}\})\s*(\d|[a-zA-Z])", r"\1{\2}"),
        (r"\\sqrt\s*(\d|[a-zA-Z])", r"\\sqrt{\1}"),
    ]
]
_TEXTS = r"\\(?:text|textrm|textnormal|mathrm|mbox|hbox|operatorname|rm)\s*\{([^{}]*)\}"
_WORDY = re.compile(_TEXTS)
_SEPARATOR_WORDS = re.compile(
    r"\\(?:text|mathrm|textrm|mbox)\s*\{\s*,?\s*(?:and|or)\s*,?\s*\}|(?<=[\s\d})\]$])(?:and|or)(?=[\s\d({\[$\\-])"
)
_DEGREES = re.compile(r"\s*\^\s*\{?\s*\\circ\s*\}?")
# A unit: text groups with their powers at the end, or plain words after a number.
_TEXT_UNIT = re.compile(rf"(?P<unit>(?:[\s/]|\\cdot)*(?:{_TEXTS}(?:\s*\^\s*\{{?-?\d\}}?)?(?:[\s/.]|\\cdot)*)+)$")
_PLAIN_UNIT = re.compile(
    r"(?<=[\d})%])\s*(?P<unit>(?:(?:per|square|cubic)\s+)?[A-Za-z]{2,20}(?:\s*\^\s*\{?\d\}?)?(?:[\s/]+[A-Za-z]{1,20}(?:\s*\^\s*\{?\d\}?)?){0,4})\.?$"
)
_NOT_UNITS = re.compile(
    r"^(?:sin|cos|tan|cot|sec|csc|log|ln|exp|lim|max|min|gcd|lcm|mod|pi|arcsin|arccos|arctan|sqrt|and|or|[a-z]{2,3}(?![a-z]))"
)
_SHORT_UNITS = set("cm mm km nm pm in ft yd mi kg mg lb oz ml hr min sec day mph kmh rad deg ev kev amu mol hz atm mw kw pa kpa".split())
_NUMBER = re.compile(r"([+-]?)(\d{1,3}(?:,\d{3})+|\d*)(?:\.(\d*))?")
_SCIENTIFIC = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d{1,6})|(?:\\times|\\cdot|x)10\^(?:\{([+-]?\d{1,6})\}|([+-]?\d)))")
_POWER_OF_TEN = re.compile(r"([+-]?)10\^(?:\{([+-]?\d{1,6})\}|(\d))")
_FRACTION = re.compile(r"([+-]?)(\d*)\\frac\{([+-]?\d+)\}\{([+-]?\d+)\}|([+-]?\d+\.?)/(\d+\.?)")
_BASED = re.compile(r"([0-9]+)_(?:\{(\d{1,2})\}|(\d{1,2}))")
_LETTER = (
    r"(?:[A-Za-z]|\\(?:alpha|beta|gamma|delta|epsilon|theta|lambda|mu|nu|xi|rho|sigma|tau|phi|varphi|chi|psi|omega|ell|Delta|Omega|Gamma))"
)
_INDEX = r"(?:_(?:\{[^{}=]{1,20}(?:\{[^{}]{0,20}\})?[^{}=]{0,10}\}|[A-Za-z0-9]|\\[a-z]+))?"
_LABEL = re.compile(
    rf"(?P<name>{_LETTER}{_INDEX}'*)(?:\((?P<variable>{_LETTER}(?:,{_LETTER}){{0,3}})\))?"
    rf"|\((?P<tuple>{_LETTER}{_INDEX}(?:,{_LETTER}{_INDEX}){{1,5}})\)|(?P<angle>(?:\\angle|\\triangle|m\\angle)[A-Z0-9_{{}}]{{1,20}}|[A-Z]{{2}})"
)
_RELATIONS = re.compile(r"\\leq(?![a-z])|\\geq(?![a-z])|\\neq(?![a-z])|\\in(?![a-z])|\\approx(?![a-z])|=|<|>")
_FLIPPED = {"<": ">", ">": "<", r"\leq": r"\geq", r"\geq": r"\leq"}
_MATRIX = re.compile(r"\\begin\{([pbvBV]?matrix|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1\}", re.DOTALL)
_WORDS = re.compile(r"[A-Za-z][A-Za-z .,'\-]*")


def parse(text: str) -> Form:
    """Raises Unbalanced."""
    return _parse(rewrite(text))


def rewrite(text: str) -> str:
    """The answer in fewer ways of writing: no sizes, no spacing commands, no dollar signs, \\frac for every fraction."""
    text = text.replace(r"\$", " ").replace("$", " ").replace("\\\\", "\uffff")  # \\ ends a row, and must not be split
    text = _UNICODE_RE.sub(lambda match: _UNICODE[match.group()], text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    if "\\begin" not in text:
        text = _SEPARATOR_WORDS.sub(",", text).replace("&", " ")
    return text.replace("\uffff", "\\\\").strip().rstrip(".;:,").strip()


def compact(text: str) -> str:
    """Without blanks, for comparison as text."""
    return re.sub(r"\s+", "", text)


def _parse(text: str, deep: int = 0) -> Form:
    text = _unwrap(text.strip())
    if text.replace(" ", "") == r"\mathbb{R}":
        text = r"(-\infty,\infty)"
    # A whole number with separators of thousands, before commas are taken to separate answers.
    if deep == 0 and (number := _number(text)) is not None:
        return number
    parts = split(text, ",")
    if len(parts) > 1:
        if len(parts) > MAX_PARTS or deep > 4:
            return Form("expr", text)
        return Form("list", text=text, parts=tuple(form for part in parts for form in _spread(_parse(part, deep + 1))))
    if (cup := split(text, r"\cup")) and len(cup) > 1:
        return Form("list", text=text, parts=tuple(form for part in cup for form in _spread(_parse(part, deep + 1))))
    if relation := _relation(text, deep):
        return relation
    if (group := _group(text, deep)) is not None:
        return group
    if r"\pm" in text and deep <= 4:
        signs = [text.replace(r"\pm", sign).replace(r"\mp", "-" if sign == "+" else "+") for sign in "+-"]
        return Form("list", text=text, parts=tuple(_parse(re.sub(r"^\s*\+", "", sign), deep + 1) for sign in signs))
    return _single(text)


def _spread(form: Form) -> tuple[Form, ...]:
    """The parts of a list within a list (1 \\pm 2, 5) belong to it."""
    return form.parts if form.kind == "list" else (form,)


def split(text: str, separator: str) -> list[str]:
    """At every separator outside brackets. ( [ { may be closed by any of ) ] }, as in half-open intervals. Raises Unbalanced."""
    parts, depth, start = [], 0, 0
    for match in re.finditer(r"\\[a-zA-Z]+|\\.|[()\[\]{},]", text):
        token = match.group()
        if token in ("(", "[", "{", r"\{", r"\langle"):
            depth += 1
        elif token in (")", "]", "}", r"\}", r"\rangle"):
            depth -= 1
            if depth < 0:
                raise Unbalanced("a closing bracket too many")
        elif token == separator and depth == 0:
            parts.append(text[start : match.start()])
            start = match.end()
    if depth:
        raise Unbalanced("an opening bracket is never closed")
    parts.append(text[start:])
    return [part for part in parts if part.strip()] or [text]


def _unwrap(text: str) -> str:
    while text.startswith("{") and text.endswith("}") and _closes_at_end(text):
        text = text[1:-1].strip()
    return text


def _closes_at_end(text: str) -> bool:
    depth = 0
    for match in re.finditer(r"\\[{}]|[()\[\]{}]", text):
        token = match.group()
        depth += 1 if token in "([{" or token == r"\{" else -1
        if depth == 0:
            return match.end() == len(text)
    return False


def _group(text: str, deep: int) -> Form | None:
    """(a, b), [a, b), {a, b}, <a, b>, a matrix or vector; None for an expression, also one in brackets."""
    if matrix := _MATRIX.fullmatch(text):
        return _matrix([row.split("&") for row in matrix.group(2).split("\\\\") if row.strip()], deep)
    opening, closing = _bracket(text, True), _bracket(text, False)
    if not opening or not closing or deep > 4 or not _closes_at_end(text.replace(r"\langle", "(").replace(r"\rangle", ")")):
        return None
    inner = text[len(opening) : -len(closing)]
    parts = split(inner, ",")
    if opening == r"\{":
        forms = tuple(form for part in parts for form in _spread(_parse(part, deep + 1)))
        return Form("list", text=text, parts=forms)
    if len(parts) == 1:
        return replace(_parse(inner, deep + 1), text=text) if opening == "(" and not re.search(r"[A-Za-z]{2}", inner) else None
    brackets = ("[" if opening == "[" else "(") + ("]" if closing == "]" else ")")
    return Form("tuple", text=text, parts=tuple(_parse(part, deep + 1) for part in parts[:MAX_PARTS]), brackets=brackets)


def _matrix(rows: list[list[str]], deep: int) -> Form:
    forms = [tuple(_parse(cell, deep + 1) for cell in row) for row in rows]
    if all(len(row) == 1 for row in forms):
        return Form("tuple", parts=tuple(row[0] for row in forms), brackets="()")
    if len(forms) == 1:
        return Form("tuple", parts=forms[0], brackets="()")
    return Form("tuple", parts=tuple(Form("tuple", parts=row, brackets="()") for row in forms), brackets="()")


def _bracket(text: str, first: bool) -> str:
    options = ("(", "[", r"\{", r"\langle") if first else (r"\}", r"\rangle", ")", "]")
    return next((o for o in options if (text.startswith(o) if first else text.endswith(o))), "")


def _relation(text: str, deep: int) -> Form | None:
    """x = 5, f(n) = n, a < x \\leq b, x \\in S; other equations and inequalities as they are."""
    if deep > 4:
        return None
    sides, operators, depth, start = [], [], 0, 0
    for match in re.finditer(r"[({\[]|\\[{}]|[)}\]]|" + _RELATIONS.pattern, text):
        token = match.group()
        if token in "({[" or token == r"\{":
            depth += 1
        elif token in ")}]" or token == r"\}":
            depth -= 1
        elif depth == 0:
            sides.append(text[start : match.start()].strip())
            operators.append(token)
            start = match.end()
    if not operators:
        return None
    sides.append(text[start:].strip())
    if any(not side for side in sides):
        return None
    labels = [_LABEL.fullmatch(compact(_WORDY.sub(r"\1", side))) for side in sides]
    if set(operators) <= {"=", r"\approx"}:
        if labels[0] or (len(sides) == 2 and labels[1]):
            label, side = (labels[0], sides[-1]) if labels[0] else (labels[1], sides[0])
            name = label["name"] or label["angle"] or ""
            return replace(_parse(side, deep + 1), label=name, variable=label["variable"] or "")
        return Form("relation", text=text, operator="=", parts=(Form("expr", sides[0]), Form("expr", sides[-1])))
    if operators == [r"\in"] and labels[0]:
        return _parse(sides[1], deep + 1)
    if len(operators) == 1 and operators[0] in _FLIPPED:
        operator, side = operators[0], sides[1]
        if not labels[0] and labels[1]:
            operator, side = _FLIPPED[operator], sides[0]
        if labels[0] or labels[1]:
            bound, infinite = _parse(side, deep + 1), Form("expr", r"\infty")
            if operator in (">", r"\geq"):
                return Form("tuple", text=text, parts=(bound, infinite), brackets=("[" if operator != ">" else "(") + ")")
            return Form("tuple", text=text, parts=(Form("expr", r"-\infty"), bound), brackets="(" + ("]" if operator != "<" else ")"))
    if len(operators) == 2 and labels[1] and all(o in ("<", r"\leq") for o in operators):
        brackets = ("(" if operators[0] == "<" else "[") + (")" if operators[1] == "<" else "]")
        return Form("tuple", text=text, parts=(_parse(sides[0], deep + 1), _parse(sides[2], deep + 1)), brackets=brackets)
    if len(operators) == 1:
        return Form("relation", text=text, operator=operators[0], parts=tuple(Form("expr", side) for side in sides))
    return None


def _single(text: str) -> Form:
    """A number, words, or an expression, with or without a unit."""
    if (number := _number(text)) is not None:
        return number
    bare = _WORDY.sub(r"\1", text).strip()
    words = bare.strip("() ")
    worded = re.search(r"[A-Za-z]{3}", words) or bare.startswith("(") or _WORDY.match(text) or words.lower() in ("no", "am", "pm")
    if worded and _WORDS.fullmatch(words):
        return Form("text", text=" ".join(re.findall(r"[a-z]+", words.lower())))
    body, unit = _DEGREES.sub("", text).strip(), ""
    if body != text:
        unit = "degree"
        body = re.sub(r"\s*\\(?:text|mathrm)\s*\{\s*[CFK]\s*\}$|(?<=\d)\s*[CF]$", "", body)
    if (match := _TEXT_UNIT.search(body)) and match.start() and body[match.start() - 1] not in "_^{\\":
        body, unit = body[: match.start()].strip(), _WORDY.sub(r"\1", match["unit"]).strip()
    elif (match := _PLAIN_UNIT.search(body)) and (
        re.match("[a-z]*", match["unit"].lower())[0] in _SHORT_UNITS or not _NOT_UNITS.match(match["unit"].lower())
    ):
        body, unit = body[: match.start()].strip(), match["unit"].strip()
    if unit and body:
        form = _number(body)
        return replace(form or Form("expr", _WORDY.sub(r"\1", body)), unit=unit)
    return Form("expr", text)


def _number(text: str) -> Form | None:
    text = compact(text)
    if len(text) > MAX_DIGITS:
        return None
    percent = text.endswith("%")
    if percent:
        text = text[:-1]
    text = _unwrap(text)
    if text.startswith("(") and text.endswith(")") and _closes_at_end(text):
        text = text[1:-1]
    if match := _SCIENTIFIC.fullmatch(text):
        exponent = int(match[2] or match[3] or match[4])
        if abs(exponent) > MAX_EXPONENT:
            return None
        return Form("number", text, Fraction(match[1]) * Fraction(10) ** exponent, decimal=True, percent=percent)
    if match := _POWER_OF_TEN.fullmatch(text):
        exponent = int(match[2] or match[3])
        return Form("number", text, (-1 if match[1] == "-" else 1) * Fraction(10) ** exponent) if abs(exponent) <= MAX_EXPONENT else None
    if match := _FRACTION.fullmatch(text):
        if match[5]:
            top, bottom, sign, whole = int(match[5].rstrip(".")), int(match[6].rstrip(".")), 1, 0
        else:
            top, bottom, sign, whole = int(match[3]), int(match[4]), -1 if match[1] == "-" else 1, int(match[2] or 0)
        return Form("number", text, sign * (whole + Fraction(top, bottom)), percent=percent) if bottom else None
    if (match := _NUMBER.fullmatch(text)) and (match[2] or match[3]):
        digits = f"{match[1]}{match[2].replace(',', '') or '0'}.{match[3] or '0'}"
        return Form("number", text, Fraction(digits), decimal=bool(match[3] and match[3].strip("0")), percent=percent)
    if match := _BASED.fullmatch(text):
        return Form("number", text, Fraction(int(match[1])), unit=f"base {match[2] or match[3]}")
    return None
