r"""Reads a mathematical answer into a value (`math_values`): what kind of thing it is, down to parts that are single
numbers or expressions.

The structure (lists, tuples, intervals, sets, unions, matrices, labels such as "x =", units) is read here, because it
decides what has to be compared in order, and because a computer algebra system guesses it wrong: it takes (2, 1) for an
empty interval. Expressions are left as LaTeX for math-verify. Everything here is linear in the text and evaluates
nothing.

    >>> parse(r"x = 3").label, parse(r"x = 3").value.value
    ('x', Fraction(3, 1))
    >>> [part.value for part in parse(r"\left( 3, \frac{1}{2} \right)").parts]
    [Fraction(3, 1), Fraction(1, 2)]
    >>> parse("[0, 1)").brackets, parse("5,400").value, parse("x=1, y=2").pairs[1][0]
    ('[)', Fraction(5400, 1), 'y')
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TypeGuard

from explore_rl.verifiers.math_brackets import (
    bracket_at,
    closes_at_end,
    inward,
    sides_of,
    split,
    split_at,
    unwrap,
)
from explore_rl.verifiers.math_dress import MONEY, TEXT_COMMANDS, compact, separated, undress
from explore_rl.verifiers.math_labels import (
    INFINITY,
    LETTER,
    MINUS_INFINITY,
    WORDY,
    each_name,
    flat,
    is_letter,
    is_worded_label,
    label_of,
    operation,
    together,
    with_label,
    without,
)
from explore_rl.verifiers.math_matrices import determinant_of
from explore_rl.verifiers.math_numbers import read_number
from explore_rl.verifiers.math_phrases import read_joined
from explore_rl.verifiers.math_single import read_single
from explore_rl.verifiers.math_values import (
    Chain,
    Expression,
    Labelled,
    Listing,
    Matrix,
    Number,
    Piece,
    Quantity,
    RealSet,
    Relation,
    Sequence,
    Value,
)

MAX_PARTS = 200
MAX_DEPTH = 4


_FLIPPED = {"<": ">", ">": "<", r"\leq": r"\geq", r"\geq": r"\leq", "=": "=", r"\neq": r"\neq"}
_MATRIX = re.compile(r"\\begin\{([pbBV]?matrix|smallmatrix|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1\}", re.DOTALL)
_DETERMINANT = re.compile(r"\\begin\{vmatrix\}(.*)\\end\{vmatrix\}", re.DOTALL)
_BRACKETED_ARRAY = re.compile(
    r"[(\[]\s*(\\begin\{(?:array|smallmatrix|matrix)\}.*\\end\{(?:array|smallmatrix|matrix)\})\s*[)\]]", re.DOTALL
)
_BUILDER = re.compile(rf"\s*({LETTER})\s*(?:\\in\s*\\mathbb\{{R\}})?\s*(?:\||:)\s*(.+)", re.DOTALL)
_FAMILY = re.compile(rf"(.+?)\s*(?:\||:)\s*({LETTER})\s*\\in\s*\\mathbb\s*\{{?\s*([ZNQ])\s*\}}?", re.DOTALL)
_FAMILY_BESIDE = re.compile(
    rf"(.+?)\s*(?:,\s*|\()\s*(?:(?:{TEXT_COMMANDS}\s*\{{)?\s*(?:where|for|with)?\s*(?:any|all|some)?\s*\}}?)?\s*({LETTER})\s*\\in\s*"
    r"(?:\\mathbb\s*)?\{?\s*([ZNQ])\s*\}?\s*\)?",
    re.DOTALL,
)
_CONDITIONS = re.compile(
    r"(?:\\(?:text|mathrm|mbox)\s*\{\s*,?\s*(and|or)\s*\}|(?<=[\s\d})\]])(and|or)(?=[\s\\(a-zA-Z]))"
)
_GEOMETRIC = re.compile(r"(?:\\frac|\\overline|\\angle|\\triangle|[A-Z]{1,6}(?:_\{?\w{1,6}\}?)?|[{}|:/\s])+")
_INEQUALITY = re.compile(r"\\leq|\\geq|\\neq|<|>")
_ALL_REALS = re.compile(
    r"(?:x\\in)?\\mathbb\{R\}|(?:the|set|of)*all(?:the)?real(?:number|value)?s?(?:ofx|x)?|(?:the)?(?:set|of"
    r"|the)*real(?:number|line)s?|allreals",
    re.I,
)
_EMPTY_SET = re.compile(r"\\emptyset|\\\{\\\}|(?:the)?emptyset|(?:there(?:is|are))?no(?:real)?solutions?", re.I)
# a number with separators of thousands before (or with a currency before) its unit
_THOUSANDS = re.compile(rf"^[+-]?\s*[{MONEY}]?\s*\d{{1,3}}(?:,\d{{3}})+(?![\d,])(?=[^,]*$)")
# a system, line by line: {x = 2, y = 9
_SYSTEM = re.compile(
    r"(?:\\\{)?\s*\\begin\{(cases|aligned|array|gathered)\}(?:\{[lcr|\s]*\})?(?P<lines>.*)\\end\{\1\}", re.DOTALL
)


def parse(text: str) -> Value:
    """Raises Unbalanced."""
    return read(inward(undress(text)))


def read(text: str, deep: int = 0) -> Value:
    """The value of an undressed text."""
    text = unwrap(text.strip())
    # A whole number with separators of thousands, before commas are taken to separate answers.
    if deep == 0 and (number := read_number(text)) is not None:
        return number
    if "," in text and deep == 0:
        text = _THOUSANDS.sub(lambda match: match.group().replace(",", ""), text)
    if deep > MAX_DEPTH:
        return Expression(text)
    if (system := _SYSTEM.fullmatch(text)) and all(
        "=" in line for line in system["lines"].split(r"\\") if line.strip()
    ):
        text = system["lines"].replace(r"\\", ",").replace("&", " ")
    if (joined := read_joined(text)) is not None:
        return read(joined, deep + 1) if isinstance(joined, str) else joined
    if (special := _named_set(text)) is not None:
        return special
    # "x > 1 and x < 3" are conditions on one thing; otherwise "and" and "or" stand between answers, as commas do
    if ("and" in text or "or" in text) and (conditions := _conditions(text, deep)) is not None:
        return conditions
    if (family := _FAMILY_BESIDE.fullmatch(text)) is not None:  # 2k, k in Z
        body = read(family[1], deep + 1)
        return Labelled(text, rf"\mathbb{{{family[3]}}}", family[2], body.value if _is_set_of(body) else body)
    text = separated(text) if r"\begin" not in text else text
    parts = [each for part in split(text, ",;") for each in each_name(part)]
    if len(parts) > 1:
        if len(parts) > MAX_PARTS:
            return Expression(text)
        return together(text, [read(part, deep + 1) for part in parts])
    if r"\cup" in text or r"\setminus" in text or "\\cap" in text:
        if (operation := _set_operation(text, deep)) is not None:
            return operation
    if (relation := _relation(text, deep)) is not None:
        return relation
    if r"\pm" in text and not text.startswith(r"\{"):
        return _both_signs(text, deep)
    if (group := _group(text, deep)) is not None:
        return group
    return read_single(text)


def _is_set_of(value: Value) -> TypeGuard[Labelled]:
    """x = 2k: the unknown's name is no part of its values."""
    return isinstance(value, Labelled) and not value.variable and not value.worded


# --- sets ------------------------------------------------------------------------------------------------------------


def _named_set(text: str) -> Value | None:
    if len(text) > 60:
        return None
    bare = compact(WORDY.sub(r"\1", text))
    if _EMPTY_SET.fullmatch(bare):
        return Listing(text, (), braces=True)
    if _ALL_REALS.fullmatch(bare):
        return RealSet(text, (Piece(MINUS_INFINITY, INFINITY, "()"),))
    return None


def _conditions(text: str, deep: int) -> Value | None:
    """Inequalities joined by and, or; None if the text is anything else."""
    if not _INEQUALITY.search(text):
        return None
    words = [match[1] or match[2] for match in _CONDITIONS.finditer(text)]
    parts = _CONDITIONS.sub("\x00", text).split("\x00")
    if len(set(words)) != 1 or any(not _INEQUALITY.search(part) for part in parts):
        return None
    return operation(text, words[0], parts=[read(part.strip(" ,"), deep + 1) for part in parts])


def _set_operation(text: str, deep: int) -> Value | None:
    """A union, intersection or difference; None if the operator stands inside brackets."""
    for operator, word in ((r"\\setminus(?![a-z])", "without"), (r"\\cup(?![a-z])", "or"), (r"\\cap(?![a-z])", "and")):
        parts = split_at(text, operator)
        if len(parts) > 1:
            return operation(text, word, parts=[read(part, deep + 1) for part in parts])
    return None


# --- several answers -------------------------------------------------------------------------------------------------


def _both_signs(text: str, deep: int) -> Value:
    signs = [text.replace(r"\pm", sign).replace(r"\mp", "-" if sign == "+" else "+") for sign in "+-"]
    return Listing(text, flat([read(re.sub(r"(^|[(\[,])\s*\+", r"\1", sign), deep + 1) for sign in signs]))


# --- relations -------------------------------------------------------------------------------------------------------


def _relation(text: str, deep: int) -> Value | None:
    r"""x = 5, f(n) = n, a < x \leq b, x \in S; other equations and inequalities as they are."""
    sides, operators = sides_of(text)
    while operators and not sides[0] and operators[0] in ("=", r"\approx"):  # "= 5"
        sides = sides[1:]
        operators = operators[1:]
        if not operators:
            return read(sides[0], deep + 1)
    if not operators or any(not side for side in sides):
        return None
    # all one way: from small to large
    if set(operators) <= {">", r"\geq"}:
        sides = sides[::-1]
        operators = [_FLIPPED[operator] for operator in operators[::-1]]
    labels = [label_of(side) for side in sides]
    if set(operators) <= {"=", r"\approx"}:
        return _equation(text, sides, labels=labels, deep=deep)
    if operators == [r"\in"] and labels[0]:
        return with_label(text, labels[0], value=read(sides[1], deep + 1))
    letters = [None if label and not is_worded_label(label) and label["value"] else label for label in labels]
    if (bounded := _bounded(text, sides, operators=operators, labels=letters, deep=deep)) is not None:
        return bounded
    if r"\in" in operators or r"\approx" in operators:
        return None
    return Relation(text, tuple(operators), tuple(Expression(side) for side in sides))


def _equation(text: str, sides: list[str], *, labels: list[re.Match[str] | None], deep: int) -> Value:
    if not labels[0] and len(sides) == 2 and labels[1]:
        sides = sides[::-1]
        labels = labels[::-1]
    if labels[0] and not _is_word_and_chain(sides):
        rest = [read(side, deep + 1) for side in sides[1:]]
        return with_label(text, labels[0], value=rest[0] if len(rest) == 1 else Chain(text, tuple(rest)))
    # \frac{NO}{BO} = 3, |AB| = 5, AB : CD = 1 : 2: names of segments, areas and volumes, and their value
    if len(sides) == 2 and _GEOMETRIC.fullmatch(sides[0]) and not re.search("[A-Za-z]", _plain_letters(sides[1])):
        return Labelled(text, compact(sides[0]), "", read(sides[1], deep + 1))
    # 5 + 5 = 10 holds no letter: it is one value, written twice
    if not any(_has_letters(side) for side in sides[:-1]) and (
        not _has_letters(sides[-1]) or _is_amount(read_single(sides[-1]))
    ):
        return Chain(text, tuple(read(side, deep + 1) for side in sides))
    return Relation(text, ("=",), (Expression(sides[0]), Expression(sides[-1])))


def _has_letters(side: str) -> bool:
    return re.search(r"(?<![\\A-Za-z])(?!e\b|i\b)[A-Za-z]", _plain_letters(side)) is not None


def _is_amount(value: Value) -> bool:
    """12 apples: letters, but no variables."""
    return isinstance(value, Quantity) and isinstance(value.amount, Number)


def _is_word_and_chain(sides: list[str]) -> bool:
    """e = ..., i = ...: names of constants are labels only where nothing else can be meant."""
    return sides[0] in ("e", "i") and len(sides) > 2


def _plain_letters(side: str) -> str:
    return re.sub(r"\\[A-Za-z]+", " ", WORDY.sub(" ", side))


def _bounded(text: str, sides: list[str], *, operators: list[str], labels: list, deep: int) -> Value | None:
    """An inequality for one label as the set that it describes."""
    if len(operators) == 2 and labels[1] and set(operators) <= {"<", r"\leq"}:
        brackets = ("(" if operators[0] == "<" else "[") + (")" if operators[1] == "<" else "]")
        piece = Piece(read(sides[0], deep + 1), read(sides[2], deep + 1), brackets)
        return with_label(text, labels[1], value=RealSet(text, (piece,)))
    if len(operators) != 1 or operators[0] not in ("<", r"\leq", r"\neq") or not (labels[0] or labels[1]):
        return None
    at = 0 if labels[0] and not (labels[1] and not is_letter(sides[0])) else 1
    bound = read(sides[1 - at], deep + 1)
    if operators[0] == r"\neq" and isinstance(bound, Listing):
        return with_label(text, labels[at], value=without(text, bound.parts))
    if operators[0] == r"\neq":
        pieces = (Piece(MINUS_INFINITY, bound, "()"), Piece(bound, INFINITY, "()"))
    elif at == 0:
        pieces = (Piece(MINUS_INFINITY, bound, "()" if operators[0] == "<" else "(]"),)
    else:
        pieces = (Piece(bound, INFINITY, "()" if operators[0] == "<" else "[)"),)
    return with_label(text, labels[at], value=RealSet(text, pieces))


# --- brackets --------------------------------------------------------------------------------------------------------


def _group(text: str, deep: int) -> Value | None:
    """(a, b), [a, b), {a, b}, {x | x > 1}, <a, b>, a matrix; None for an expression, also one in brackets."""
    if determinant := _DETERMINANT.fullmatch(text):
        return determinant_of(text, _matrix(text, determinant[1], deep=deep))
    if matrix := _MATRIX.fullmatch(_BRACKETED_ARRAY.sub(r"\1", text)):
        if r"\begin" not in matrix[2]:
            return _matrix(text, matrix[2], deep=deep)
    opening = bracket_at(text, True)
    closing = bracket_at(text, False)
    closes = opening and closing and closes_at_end(text.replace(r"\langle", "(").replace(r"\rangle", ")"))
    if not closes:
        return None
    inner = text[len(opening) : -len(closing)]
    if opening == r"\{":
        if family := _FAMILY.fullmatch(inner):  # {2k | k in Z}
            return Labelled(text, rf"\mathbb{{{family[3]}}}", family[2], read(family[1], deep + 1))
        if builder := _BUILDER.fullmatch(inner):
            condition = read(builder[2], deep + 1)
            return condition.value if isinstance(condition, Labelled) and condition.label == builder[1] else condition
        parts = flat([read(part, deep + 1) for part in split(inner, ",;")])
        return Listing(text, parts, braces=True)
    parts = split(inner, ",;")
    if len(parts) == 1:
        if opening != "(" or re.search(r"[A-Za-z]{2}", inner):
            return None
        return replace(read(inner, deep + 1), text=text)
    brackets = ("[" if opening == "[" else "(") + ("]" if closing == "]" else ")")
    return Sequence(text, tuple(read(part, deep + 1) for part in parts[:MAX_PARTS]), brackets)


def _matrix(text: str, body: str, *, deep: int) -> Matrix:
    rows = [row.split("&") for row in body.replace(r"\hline", "").split("\\\\") if row.strip()]
    return Matrix(text, tuple(tuple(read(cell, deep + 1) for cell in row) for row in rows))
