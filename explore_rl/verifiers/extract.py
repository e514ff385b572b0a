r"""Finds the final answer in a completion: the part that a verifier judges. Linear in the length of the text, and raises nothing.

Three levels, the strictest first; each also takes what the ones before it take:

    boxed        \boxed{...} (\framebox, \fbox), the last one. Boxes that only a comma, "and" or "or" separates are one answer of several
    parts.
    lenient      then what follows the last "####" (GSM8K's form), then what follows the last "answer is", "answer:" or "answer ="
    last_number  then the last number in the text. It finds an answer where none was given; for comparison with results obtained that way
    only.
"""

from __future__ import annotations

import re
from typing import get_args, Literal

Extraction = Literal["boxed", "lenient", "last_number"]
EXTRACTIONS = get_args(Extraction)

_BOX = re.compile(r"\\(?:boxed|framebox|fbox)\s{0,8}(?=[{\s0-9A-Za-z\\-])")
_BETWEEN_BOXES = re.compile(
    r"(?:[\s$,;&.]|\\[,;:! ]|\\quad|\\qquad|\\\\|\\\(|\\\)|\band\b|\bor\b|\\(?:text|mathrm)\s*\{\s*,?\s*(?:and|or)\s*\})*"
)
_HASHES = re.compile(r"####[ \t]{0,8}(?=\S)")
# runs of blanks are bounded, or a text of blanks would take quadratic time
_ANSWER_IS = re.compile(
    r"(?i:\banswers?\b)[ \t]{0,4}(?:\*\*)?[ \t]{0,4}(?:(?i:is|are)\b[ \t]{0,4}:?|:|=)[ \t]{0,4}(?:\*\*)?:?\s{0,8}(?=\S)"
)
_NUMBER = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w]|[.,]\d)|(?<![\w.])-?\.\d+")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)|\n")
_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"))
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_TOKEN = re.compile(r"\s*(?:-?[0-9]+|[A-Za-z](?![A-Za-z])|\\(?!boxed|fbox|framebox)[A-Za-z]+)")
MAX_ANSWER = 2000  # characters; a longer one is not a final answer
MAX_PARTS = 32  # boxes


def final_answer(text: str, how: Extraction = "lenient") -> str | None:
    """The final answer as it is written, without its box or its delimiters; None where there is none."""
    found = last_boxed(text)
    if found == "":
        return None
    if found is None and how != "boxed":
        found = _after_last(_HASHES, text, _line)
    if found is None and how != "boxed":
        found = _after_last(_ANSWER_IS, text, _statement)
    if found is None and how == "last_number":
        numbers = list(_NUMBER.finditer(text))
        found = numbers[-1].group() if numbers else None
    return found if found and len(found) <= MAX_ANSWER else None


def last_boxed(text: str) -> str | None:
    r"""Content of the last \boxed{...}, joined with the boxes right before it by commas.

    None without a box; "" where the last one is empty or never closed: the text broke off in its answer.
    """
    openings = [match.span() for match in _BOX.finditer(text)]
    if not openings:
        return None
    start, brace = openings.pop()
    content = _content(text, brace)
    if not content:
        return ""
    parts = [content]
    while openings and len(parts) < MAX_PARTS:
        before, brace = openings.pop()
        content = _content(text, brace, start)
        if not content or not _BETWEEN_BOXES.fullmatch(text, brace + _length(text, brace, start), start):
            break
        parts.insert(0, content)
        start = before
    return ", ".join(dict.fromkeys(parts))


def _content(text: str, brace: int, stop: int | None = None) -> str | None:
    length = _length(text, brace, stop)
    return text[brace : brace + length].strip().removeprefix("{").removesuffix("}").strip() if length else None


def _length(text: str, brace: int, stop: int | None = None) -> int:
    """Of a braced group, or of the one token that stands for it (\\boxed 5); 0 if it does not end before `stop`."""
    stop = len(text) if stop is None else stop
    if text[brace] != "{":
        token = _TOKEN.match(text, brace, stop)
        return token.end() - brace if token else 0
    depth = 0
    for match in _BRACE.finditer(text, brace, min(stop, brace + MAX_ANSWER + 2)):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return match.end() - brace
    return 0


def _after_last(mark: re.Pattern[str], text: str, read) -> str | None:
    last = None
    for last in mark.finditer(text):
        pass
    return read(text[last.end() : last.end() + MAX_ANSWER + 200]) or None if last else None


def _line(rest: str) -> str:
    return rest.split("\n", 1)[0].strip().strip("*$ ").rstrip(".")


def _statement(rest: str) -> str:
    """Up to the end of the sentence, or the formula alone where the statement is one."""
    for opening, closing in _DELIMITERS:
        if rest.startswith(opening):
            end = rest.find(closing, len(opening))
            if end < 0:
                break
            after = rest[end + len(closing) :]
            sentence = _SENTENCE_END.split(after, maxsplit=1)[0]
            if "$" not in sentence and r"\(" not in sentence:
                inside = rest[len(opening) : end].strip()
                return _strip(inside) if opening in ("**", "`") else inside + _unit_after(sentence)
            break
    end = _SENTENCE_END.search(rest)
    return _strip(rest[: end.start()] if end else rest)


def _unit_after(sentence: str) -> str:
    """A unit right after the formula ("$5$ cm") belongs to the answer; other words do not."""
    word = re.match(r"\s*(\\?%|°|[A-Za-z]{1,12}\b)?\s*[,;:*]*\s*$", sentence)
    return " " + word.group(1) if word and word.group(1) else ""


def _strip(text: str) -> str:
    text = text.strip().strip("*").strip()
    for opening, closing in _DELIMITERS:
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing) and opening not in text[1:-1]:
            return text[len(opening) : -len(closing)].strip()
    return text.rstrip(".,;:").strip()
