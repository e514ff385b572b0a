"""Where a mathematical answer can be taken apart: at separators and relations outside brackets. Linear in the text."""

from __future__ import annotations

import re


class Unbalanced(ValueError):
    """The answer has a bracket too few or too many: most likely it was cut off."""


_RELATIONS = re.compile(r"\\leq(?![a-z])|\\geq(?![a-z])|\\neq(?![a-z])|\\in(?![a-z])|\\approx(?![a-z])|=|<|>")
_OUTWARD_MARK = re.compile(r"(?:^|\\in|\\cup|=)\s*\]|\[\s*(?:$|\\cup)")
_OUTWARD = re.compile(r"(?P<left>[\[\]])(?P<ends>[^\[\]()]*[,;][^\[\]()]*)(?P<right>[\[\]])")


def split(text: str, separators: str) -> list[str]:
    """At every separator outside brackets. ( [ { may be closed by any of ) ] }, as in half-open intervals. Raises
    Unbalanced."""
    return split_at(text, rf"[{separators}]")


def split_at(text: str, separator: str) -> list[str]:
    parts = []
    depth = 0
    start = 0
    for match in re.finditer(rf"(?P<at>{separator})|\\[a-zA-Z]+|\\.|[()\[\]{{}}]", text):
        token = match.group()
        if match["at"]:
            if depth == 0:
                parts.append(text[start : match.start()])
                start = match.end()
        elif token in ("(", "[", "{", r"\{", r"\langle"):
            depth += 1
        elif token in (")", "]", "}", r"\}", r"\rangle"):
            depth -= 1
            if depth < 0:
                raise Unbalanced("a closing bracket too many")
    if depth:
        raise Unbalanced("an opening bracket is never closed")
    parts.append(text[start:])
    return [part for part in parts if part.strip()] or [text]


def sides_of(text: str) -> tuple[list[str], list[str]]:
    sides = []
    operators = []
    depth = 0
    start = 0
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
    return [*sides, text[start:].strip()], operators


def unwrap(text: str) -> str:
    while text.startswith("{") and text.endswith("}") and closes_at_end(text):
        text = text[1:-1].strip()
    return text


def closes_at_end(text: str) -> bool:
    depth = 0
    for match in re.finditer(r"\\[{}]|[()\[\]{}]", text):
        token = match.group()
        depth += 1 if token in "([{" or token == r"\{" else -1
        if depth == 0:
            return match.end() == len(text)
    return False


def bracket_at(text: str, first: bool) -> str:
    options = ("(", "[", r"\{", r"\langle") if first else (r"\}", r"\rangle", ")", "]")
    return next((o for o in options if (text.startswith(o) if first else text.endswith(o))), "")


def inward(text: str) -> str:
    """Intervals whose brackets point outwards in the usual brackets.

    >>> inward("]1,3[")
    '(1,3)'
    """
    if not _OUTWARD_MARK.search(text):
        return text
    return _OUTWARD.sub(lambda m: m["left"].replace("]", "(") + m["ends"] + m["right"].replace("[", ")"), text)
