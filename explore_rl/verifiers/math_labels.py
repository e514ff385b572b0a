"""Labels of answers: what can be one ("x", "f(n)", "(x, y)", "Area"), and the values that labels stand before."""

from __future__ import annotations

import re
from dataclasses import replace

from explore_rl.verifiers.math_brackets import sides_of, unwrap
from explore_rl.verifiers.math_dress import TEXT_COMMANDS, compact
from explore_rl.verifiers.math_values import (
    Assignments,
    Expression,
    Labelled,
    Listing,
    Number,
    Piece,
    RealSet,
    Relation,
    Sequence,
    SetOperation,
    Value,
)

LETTER = (
    r"(?:[A-Za-z]|\\(?:alpha|beta|gamma|delta|epsilon|varepsilon|theta|lambda|mu|nu|xi|rho|sigma|tau|phi|varphi"
    r"|chi|psi|omega|ell"
    r"|Delta|Omega|Gamma))"
)
_INDEX = r"(?:_(?:\{[^{}=]{1,20}(?:\{[^{}]{0,20}\})?[^{}=]{0,10}\}|[A-Za-z0-9]|\\[a-z]+))?"
_LABEL = re.compile(
    rf"(?P<value>{LETTER}{_INDEX}\(-?\d+(?:[./]\d+)?\)|P\([A-WYZ][^()=]{{0,20}}\))"
    rf"|(?P<name>{LETTER}{_INDEX}'*)(?:\((?P<variable>{LETTER}(?:,{LETTER}){{0,3}})\))?"
    rf"|\((?P<tuple>{LETTER}{_INDEX}(?:,{LETTER}{_INDEX}){{1,5}})\)"
    rf"|(?P<angle>(?:\\angle|\\triangle|m\\angle)[A-Z0-9_{{}}]{{1,20}}|[A-Z]{{2}})"
)
_WORD_LABEL = re.compile(
    rf"(?:{TEXT_COMMANDS}\s*\{{\s*([A-Za-z][A-Za-z ]{{1,40}})\s*\}}|([A-Za-z]{{3,}}(?: [A-Za-z]{{2,}}){{0,4}}))"
)
WORDY = re.compile(rf"{TEXT_COMMANDS}\s*\{{([^{{}}]*)\}}")
_NAME = re.compile(rf"{LETTER}{_INDEX}")
INFINITY, MINUS_INFINITY = Expression(r"\infty"), Expression(r"-\infty")


def each_name(part: str) -> list[str]:
    """x = y = 1 says x = 1 and y = 1."""
    if part.count("=") < 2:
        return [part]
    sides, operators = sides_of(part)
    names = [_NAME.fullmatch(compact(side)) for side in sides]
    if set(operators) != {"="} or not all(names[:-1]) or names[-1] or len(set(sides)) < len(sides):
        return [part]
    return [f"{side} = {sides[-1]}" for side in sides[:-1]]


def operation(text: str, word: str, *, parts: list[Value]) -> Value:
    """With the label of the parts, where they have one and the same."""
    labels = {part.label for part in parts if isinstance(part, Labelled)}
    bare = tuple(part.value if isinstance(part, Labelled) else part for part in parts)
    operation = SetOperation(text, word, bare)
    return Labelled(text, labels.pop(), "", operation) if len(labels) == 1 else operation


def together(text: str, parts: list[Value]) -> Value:
    """Answers that stand beside each other: a list, or values of labels."""
    first = parts[0]
    labelled = [part for part in parts if isinstance(part, Labelled)]
    # (x, y) = (1, 2), (3, 4): the labels hold for all
    if isinstance(first, Assignments) and all(isinstance(part, (Assignments, Sequence)) for part in parts):
        names = tuple(name for name, _ in first.pairs)
        return Listing(text, tuple(_named(names, part) or part for part in parts))
    # n = 2, 3, 4: so does the one of the first
    if (
        isinstance(first, Labelled)
        and labelled == [first]
        and not any(isinstance(part, (Relation, Assignments)) for part in parts)
    ):
        if isinstance(first.value, RealSet):
            if r"\neq" in first.text and all(isinstance(part, (Number, Expression)) for part in parts[1:]):
                points = (first.value.pieces[0].right, *parts[1:])
                return replace(first, text=text, value=without(text, points))  # x \neq 1, 2
            return Listing(text, flat(parts))
        return replace(first, text=text, value=Listing(text, flat([first.value, *parts[1:]])))
    if len(labelled) < len(parts):
        return Listing(text, flat(parts))
    names = [part.label for part in labelled]
    if len(set(names)) == 1:
        if any(isinstance(part.value, (RealSet, SetOperation)) for part in labelled):
            return operation(text, "and" if any(r"\neq" in part.text for part in labelled) else "or", parts=parts)
        return replace(labelled[0], text=text, value=Listing(text, flat([part.value for part in labelled])))
    size = len(set(names))
    if len(names) % size or any(set(names[i : i + size]) != set(names) for i in range(0, len(names), size)):
        return Listing(text, flat(parts))
    systems = [Assignments(text, tuple(map(_pair, labelled[i : i + size]))) for i in range(0, len(names), size)]
    return systems[0] if len(systems) == 1 else Listing(text, tuple(systems))


def _pair(part: Labelled) -> tuple[str, Value]:
    return part.label, replace(part, label="") if part.variable else part.value


def flat(parts: list[Value]) -> tuple[Value, ...]:
    r"""The parts of a list within a list (1 \pm 2, 5) belong to it."""
    nested = (part.parts if isinstance(part, Listing) and not part.braces else (part,) for part in parts)
    return tuple(value for values in nested for value in values)


def _named(names: tuple[str, ...], value: Value) -> Assignments | None:
    """The sequence as the values of these labels; None if it is not that."""
    if (
        isinstance(value, Sequence)
        and len(value.parts) == len(names) == len(set(names))
        and value.brackets in ("()", "[]")
    ):
        return Assignments(value.text, tuple(zip(names, value.parts, strict=True)))
    return None


def without(text: str, points: tuple[Value, ...]) -> SetOperation:
    """All real numbers but these."""
    reals = RealSet(text, (Piece(MINUS_INFINITY, INFINITY, "()"),))
    return SetOperation(text, "without", (reals, Listing(text, points, braces=True)))


def is_letter(side: str) -> bool:
    return re.fullmatch(r"[A-Za-z]", side) is not None


def label_of(side: str) -> re.Match[str] | None:
    if label := _LABEL.fullmatch(unwrap(compact(WORDY.sub(r"\1", side)))):
        return label
    return _WORD_LABEL.fullmatch(side) if re.search("[a-z]{2}", side) else None


def is_worded_label(label: re.Match[str]) -> bool:
    """Whether _WORD_LABEL found it."""
    return "name" not in label.re.groupindex


def with_label(text: str, label: re.Match[str], *, value: Value) -> Value:
    if is_worded_label(label):
        return Labelled(text, (label[1] or label[2]).strip().lower(), "", value, worded=True)
    if label["tuple"]:
        names = tuple(re.sub(r"[{}\s]", "", name) for name in label["tuple"].split(","))
        if isinstance(value, Listing):
            return Listing(text, tuple(_named(names, part) or part for part in value.parts), value.braces)
        return _named(names, value) or value
    return Labelled(
        text, re.sub(r"[{}\s]", "", label["name"] or label["value"] or label["angle"]), label["variable"] or "", value
    )
