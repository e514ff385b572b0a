r"""Finds the final answer in a completion: the part that a verifier judges. Linear in the length of the text, and
raises nothing.

First what is not the answer goes: the thought (up to the last </think>; an open <think> never came to an answer) and
everything from the first end token on, which records of other harnesses keep. If the rest has <answer> tags, the last
of them holds the answer. Then come three levels, the strictest first; each also takes what the ones before it take:

    boxed        \boxed{...} (\framebox, \fbox), the last one that holds something. Boxes beside each other, with only
                 separators, labels, list numbers or units between them, are one answer of several parts.
    lenient      then what stands in the answer tags; what follows the last "####" (GSM8K's form); what follows the last
                 "answer is" or "answer:"; what stands below a heading "Final Answer"
    last_number  then the last number in the text. It finds an answer where none was given; for comparison with results
                 obtained that way only.

    >>> final_answer(r"<think>\boxed{41}?</think> The answer is 42, since 6 * 7 = 42.<|im_end|>", of="value")
    '42'
"""

from __future__ import annotations

import re
from typing import Literal, get_args

from explore_rl.verifiers.statement import DELIMITERS, statement, value_in

Extraction = Literal["boxed", "lenient", "last_number"]
EXTRACTIONS = get_args(Extraction)
MAX_ANSWER = 2000  # characters; a longer one is not a final answer
MAX_PARTS = 32  # boxes

_THINK = r"(?:seed:)?(?:think|thinking|thought|reasoning)"
_THOUGHT_END = re.compile(
    rf"</{_THINK}>|<\|end_of_thought\|>|◁/think▷|\[/THINK\]|<\|channel\|>final(?:<\|message\|>)?", re.IGNORECASE
)
_THOUGHT_START = re.compile(
    rf"<{_THINK}>|<\|begin_of_thought\|>|◁think▷|\[THINK\]|<\|channel\|>analysis", re.IGNORECASE
)
# any <|token|> or <｜token｜>, but the marks of a thought, a box or a channel
_END_TOKEN = re.compile(
    r"<\|(?!end_(?:of_)?(?:thought|think|box|header)|begin|channel|message)[a-z0-9_]{1,40}\|>"
    r"|<\|?(?:end_of_|start_of_)?turn\|?>|</s>|<(?:eo[tsd]|pad|end_of_utterance|0x[0-9A-F]{2})>|\[/?INST\]|\[EOS\]"
    r"|<｜(?:end[^｜<>]{0,30}|User|Assistant)｜>",
    re.IGNORECASE,
)
_MARK = re.compile(r"<\|(?:begin|end)_of_(?:box|solution|answer)\|>")
_CALCULATOR = re.compile(r"<<[^<>\n]{0,200}>>")  # <<3*4=12>>12, as GSM8K annotates
_TURN_START = re.compile(
    r"\s*(?:<\|im_start\|>\s*assistant|<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>"
    r"|<start_of_turn>\s*model|<｜Assistant｜>|<s>)"
)
_ANSWER_TAG = re.compile(r"<answer>((?:(?!<answer>).)*?)(?:</answer>|\Z)", re.DOTALL | re.IGNORECASE)
_BOX = re.compile(r"\\(?:boxed|framebox|fbox)\s{0,8}(?=[{\s0-9A-Za-z\\-])")
_PLACEHOLDER = re.compile(
    r"(?:[\s.…_~]|\\[,;:! ]|\\(?:[lc]?dots|q?quad|square|Box)(?![a-z]))*"
    r"|\\text\s*\{\s*\}|(?:\\text\s*\{)?\s*[\[<(]?\s*(?:your |the |final )*(?:answer|result|solution|value)"
    r"(?: goes)?(?: here)?"
    r"\s*[\]>)]?\s*\}?",
    re.IGNORECASE,
)
_HASHES = re.compile(r"####[ \t]{0,8}(?=\S)")
# runs of blanks are bounded, or a text of blanks would take quadratic time
_ANSWER_IS = re.compile(
    r"(?i:\banswers?\b)(?:[ \t]{1,4}(?i:to|of|for)[ \t]{1,4}(?i:the|this|that|it)(?:[ \t]{1,4}[A-Za-z]{1,20})?)?[ "
    r"\t]{0,4}(?:\*\*|__)?[ \t]{0,4}"
    r"(?:(?i:is|are|equals|(?:would|should|must|will|has to) be|(?:comes|works|turns) out (?:to be|to|as)|comes to"
    r"|becomes)\b"
    r"[ \t]{0,4}[:,]?|:|=|[-–—](?=[ \t]))[ \t]{0,4}(?:\*\*|__)?:?\s{0,8}(?=\S)"
)
_WRONG_ONE = re.compile(
    r"\b(?:wrong|incorrect|false|mistaken|erroneous|naive|naïve|tempting|na[iï]ve|invalid|misleading|worst|trap)"
    r"(?:\s+\w{1,12})?\s+$",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"^[ \t#*_]{0,12}(?:the[ \t])?(?:final[ \t])?(?:answer|result)[ \t*_:#]{0,12}$\s{0,16}(?=\S)",
    re.IGNORECASE | re.MULTILINE,
)
# Answer $9$
_ANSWER_FORMULA = re.compile(r"(?:^|[.\n*#] ?)(?:Final )?Answer(?:\*\*|__)?\s{1,3}(?=\$|\\[(\[])", re.MULTILINE)
_HEADING_LINE = re.compile(
    r"[\s#*_]*(?:the )?(?:final )?(?:answer|result|solution|conclusion|summary)[\s*_:.]*", re.IGNORECASE
)
_NUMBER = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w]|[.,]\d)|(?<![\w.])-?\.\d+")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_TOKEN = re.compile(r"\s*(?:-?[0-9]+|[A-Za-z](?![A-Za-z])|\\(?!boxed|fbox|framebox)[A-Za-z]+)")

# --- what may stand between two boxes of one answer: no sign of mathematics, blanks in runs of one (see `_between`) ---
_SIGNS = re.compile(r"(?:[ \t$&~*]|\\[,;:! ]|\\quad|\\qquad|\\\\|\\[()\[\]])+")
_AND_TEXT = re.compile(r"\\(?:text|mathrm)\s{0,3}\{\s{0,3}(,?)\s{0,3}(and|or)\s{0,3},?\s{0,3}\}")
_LABEL = r"(?:[A-Za-z]|\\[a-z]{2,8})(?:_\{?\w{1,3}\}?)? ?="
_OTHER = r"(?:the )?(?:first|second|third|fourth|other|next|larger|smaller|last)(?: [a-z]{1,10})? (?:is|equals|=)"
_NO_LABELS = (
    r"(?:[Ss]o|[Tt]hus|[Hh]ence|[Tt]herefore|[Cc]heck|[Nn]ote|[Ww]ait|[Aa]ctually|[Cc]orrect\w*"
    r"|(?:[Ff]inal |[Tt]he )*(?:[Aa]nswer|[Rr]esult|[Tt]otal|[Ss]olution))\b"
)
_ITEM = (
    r"(?:[-•] ?|\(?[0-9a-hivx]{1,4}[.)]|(?:[Pp]art|[Qq]uestion|[Cc]ase|[Pp]roblem) ?\(?\w{1,3}\)? ?:?"
    r"|(?:[Ff]irst|[Ss]econd|[Tt]hird) ?:?"
    rf"|(?!{_NO_LABELS})[A-Za-z]{{2,15}}(?: [a-z]{{1,10}}){{0,2}} ?:)"
)
_NO_UNITS = (
    "and|or|wait|no|but|so|then|not|thus|hence|therefore|actually|rather|instead|which|is|from|gives|because|since"
)
_UNIT = rf"(?!(?:{_NO_UNITS})\b)[A-Za-z°%]{{1,15}}"
# The width is [5] and the length is [6].
_NAMED = (
    r"(?:the|its|their) (?!(?:[a-z]+ )?(?:answer|result|total|final|solution|value|correct)\b)"
    r"(?:[a-z]+ ){1,3}(?:is|equals|=)"
)
_SEPARATED = re.compile(r"(?:[\s,.;]|\b(?:and|or)\b)*")
_BETWEEN_BOXES = re.compile(
    rf"(?: ?{_UNIT}(?: {_UNIT})?| ?\((?:for|in|of) [A-Za-z ]{{1,15}}\))?"
    rf"(?: ?(?:[,.;]|\n|\band\b|\bor\b))+ ?(?:{_ITEM} ?:?)? "
    rf"?(?:(?P<label>{_LABEL})|{_OTHER})? ?"
    rf"| ?{_ITEM} ?:? ?| (?P<bare_label>{_LABEL}) ?"
    rf"|(?: ?{_UNIT})? ?,? (?:and|while|whereas) (?:that )?{_NAMED} ?"
)
_LABEL_BEFORE = re.compile(rf"({_LABEL})[\s$]{{0,9}}$")
MAX_BETWEEN = 200  # characters between two boxes of one answer


def final_answer(text: str, how: Extraction = "lenient", *, of: Literal["value", "words"] = "words") -> str | None:
    """The final answer as it is written, without its box or its delimiters; None where there is none.

    text: the completion. how: the level, see above.
    of: what the answer is. A "value" (a number, a formula) is looked for inside the clause that follows "answer is";
    "words" are taken up to the end of the sentence.
    """
    said = settled(text)
    tagged = _tagged(said)
    region = said if tagged is None else tagged
    if of == "value" and "<<" in region:
        region = _CALCULATOR.sub("", region)
    found = last_boxed(region)
    if found is None and tagged is not None and how != "boxed":
        found = _inside(tagged, of)
    if found == "":
        return None
    if found is None and how != "boxed":
        found = _after_hashes(region, of) or _after_answer_is(region, of)
    elif found is not None and of == "value":
        found = _clause_in_box(found)
    if found is None and how == "last_number":
        numbers = list(_NUMBER.finditer(region))
        found = numbers[-1].group() if numbers else None
    return found if found and len(found) <= MAX_ANSWER else None


def final_answers(text: str, how: Extraction = "lenient") -> list[str]:
    """All that the levels find, the best first: a box that says nothing to the verifier does not hide an explicit
    answer."""
    said = settled(text)
    tagged = _tagged(said)
    region = said if tagged is None else tagged
    boxed = last_boxed(region)
    if boxed == "":
        return []
    found = [boxed]
    if how != "boxed":
        found += [_after_hashes(region, "words"), _after_answer_is(region, "words")]
        if tagged is not None:
            found.insert(1, _inside(tagged, "words"))
    return [answer for answer in dict.fromkeys(found) if answer and len(answer) <= MAX_ANSWER]


def stated_line(text: str) -> str | None:
    """The line behind the last "answer is", whole; None without one."""
    marks = _marks(_ANSWER_IS, said := settled(text))
    return said[marks[-1].end() :][:MAX_ANSWER].partition("\n")[0] if marks else None


def settled(text: str, *, code: bool = False) -> str:
    """What the completion settles on: without its thought, and without its end token and what comes behind it.

    code: an end token between quotes on its line is part of a program.

    >>> settled("<think>one</think>two<|im_end|>"), settled("<think>still thinking")
    ('two', '')
    """
    if opening := _TURN_START.match(text):
        text = text[opening.end() :]
    ends = list(_THOUGHT_END.finditer(text))
    if ends:
        text = text[ends[-1].end() :]
    if opening := _THOUGHT_START.search(text):  # never closed
        text = text[: opening.start()]
    if "<" not in text and "[" not in text:
        return text
    # the first end token that something stands before
    for token in _END_TOKEN.finditer(text):
        if text[: token.start()].strip() and not (code and _quoted(text, token)):
            return _MARK.sub("", text[: token.start()])
    return _MARK.sub("", text)


def _quoted(text: str, token: re.Match[str]) -> bool:
    before = text[max(0, token.start() - 200) : token.start()].rpartition("\n")[2]
    behind = text[token.end() : token.end() + 200].partition("\n")[0]
    return any(before.count(quote) % 2 and quote in behind for quote in ("'", '"'))


def last_boxed(text: str) -> str | None:
    r"""Content of the last \boxed{...} that holds something, joined with the boxes beside it by commas.

    None without one; "" where the last box is never closed: the text broke off in its answer. An empty box, or a mere
    mention of one, says nothing.
    """
    openings = [match.span() for match in _BOX.finditer(text)]
    content = None
    while openings and not content:
        start, brace = openings.pop()
        if text[brace : brace + 1] == "{" and not _length(text, brace):
            return ""
        content = _content(text, brace)
        if content and _PLACEHOLDER.fullmatch(content):
            content = None
    if not content:
        return None
    parts = [content]
    labels = []
    while openings and len(parts) < MAX_PARTS:
        before, brace = openings.pop()
        content = _content(text, brace, stop=start)
        said = content and not _PLACEHOLDER.fullmatch(content)
        joined = _between(text[brace + _length(text, brace, stop=start) : start]) if said else None
        if not content or joined is None:
            break
        parts.insert(0, content)
        labels.insert(0, joined.groupdict().get("label") or joined.groupdict().get("bare_label"))
        start = before
    # x = [3], y = [4]: the labels belong to the answers
    first = _LABEL_BEFORE.search(text, max(0, start - 30), start)
    if labels and first and all(labels) and len({first[1], *labels}) == len(parts):
        parts = [f"{label}{part}" for label, part in zip([first[1], *labels], parts, strict=True)]
    return ", ".join(dict.fromkeys(parts))


def _between(text: str) -> re.Match[str] | None:
    """What stands between two boxes, if it makes one answer of them."""
    if len(text) > MAX_BETWEEN:
        return None
    bare = _SIGNS.sub(" ", _AND_TEXT.sub(r"\1 \2 ", text))
    bare = re.sub(r" ?\n\s*", "\n", bare)
    return _SEPARATED.fullmatch(bare) or _BETWEEN_BOXES.fullmatch(bare)


def _content(text: str, brace: int, *, stop: int | None = None) -> str | None:
    length = _length(text, brace, stop=stop)
    return text[brace : brace + length].strip().removeprefix("{").removesuffix("}").strip() if length else None


def _length(text: str, brace: int, *, stop: int | None = None) -> int:
    r"""Of a braced group, or of the one token that stands for it (\boxed 5); 0 if it does not end before `stop`."""
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


def _clause_in_box(content: str) -> str:
    r"""\boxed{\text{The answer is } 5} holds a sentence round the answer."""
    if "nswer" not in content:
        return content
    bare = re.sub(r"\\(?:text|mathrm|textbf)\s*\{([^{}]*)\}", r"\1", content)
    return _after_answer_is(bare, "value") or content


def _tagged(text: str) -> str | None:
    """What the last answer tags hold. A stop string may have eaten the closing one."""
    found = list(_ANSWER_TAG.finditer(text))
    return found[-1][1].strip() if found else None


def _inside(text: str, of: str) -> str | None:
    """Of the answer tags: a statement about the answer, or the answer itself."""
    stated = _after_hashes(text, of) or _after_answer_is(text, of)
    if stated or not text or len(text) > MAX_ANSWER:
        return stated
    text = text.strip().strip("*").strip()
    for opening, closing in DELIMITERS:
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing):
            inside = text[len(opening) : -len(closing)]
            if opening not in inside:
                return inside.strip()
    return value_in(text) if of == "value" else text


def _after_hashes(text: str, of: str) -> str | None:
    """The line behind the last ####, unless it is a heading with its text below."""
    for mark in reversed(list(_HASHES.finditer(text))):
        line, _, below = text[mark.end() : mark.end() + MAX_ANSWER + 200].partition("\n")
        if _HEADING_LINE.fullmatch(line):
            return statement(below.strip(), of) or None if below.strip() else None
        if below.strip() and (
            line.rstrip().endswith(":")
            or not re.search(r"[\d\\$]", line)
            or re.match(r"(?i)\W*(?:step|part|case)\b", line)
        ):
            continue
        return _after_answer_is(line, of) or _line(line, of) or None
    return None


def _line(line: str, of: str) -> str:
    line = line.strip().strip("* ").rstrip(".").strip()
    if line.count("$") != 1:
        line = line.strip("$ ")
    return value_in(line) if of == "value" else line


def _marks(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """But for "a common wrong answer is"."""
    found = pattern.finditer(text)
    return [mark for mark in found if not _WRONG_ONE.search(text, max(0, mark.start() - 40), mark.start())]


def _after_answer_is(text: str, of: str) -> str | None:
    last = None
    for pattern in (_ANSWER_IS, _HEADING, _ANSWER_FORMULA):
        for mark in _marks(pattern, text):
            last = mark if last is None or mark.end() > last.end() else last
    if last is None:
        return None
    return statement(text[last.end() : last.end() + MAX_ANSWER + 200], of) or None
