"""Multiple choice: which letter the completion settles on."""

from __future__ import annotations

import re
import string
from typing import Any

from analysis.errors import InputError
from explore_rl.types import Problem, Verdict
from explore_rl.verifiers.base import correct, no_answer, wrong
from explore_rl.verifiers.extract import EXTRACTIONS, Extraction, final_answers, last_boxed, settled, stated_line

_WRAPPING = re.compile(r"\\(?:text|mathrm|mathbf|textbf|boxed)\s*\{|[{}$*\\\[\]\"“”'`<>⟨⟩«»_]")
_NOT = re.compile(
    r"\b(?:not|never|neither|nor|wrong|incorrect|false|no|rule[sd]?\s+out|ruling\s+out|eliminat\w*|exclud\w*"
    r"|reject\w*|discard\w*|unlikely"
    r"|cannot|except|excluding|instead\s+of|rather\s+than|dismiss\w*|invalid|fails?|might|may|could|maybe|perhaps"
    r"|possibly|whether|if|consider"
    r"|seems?|plausible|tempting|looks?|unless)\b|n['’]t\b",
    re.IGNORECASE,
)
_CLAUSES = re.compile(r"[.,;:!?](?:\s+|$)|\b(?:so|but|hence|thus|therefore|leaving)\b", re.IGNORECASE)
_ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4}
_SURE = r"(?:therefore|thus|hence|clearly|then|so|indeed|definitely|obviously|now)"
# before "choose option B" and "option B is correct": who says so
_CHOOSER = re.compile(
    r"\W*(?:(?:so|thus|hence|therefore|then|now|finally|and|I|we|let\s+us|let['’]s|will|would|['’]ll|['’]d|must|should|can"
    r"|shall|am|are|have|to|my|the|our|final|correct|best|right|it|this|that|in\s+conclusion|overall)\b\W*|['’](?:ll|d)\b\W*)*",
    re.IGNORECASE,
)
_OTHERS = re.compile(
    r"\b(?:some|many|most|few|students?|people|others?|someone|anyone|everyone|nobody|they|he|she|often|sometimes|usually"
    r"|commonly|naive\w*|naïve\w*|beginners?|solvers?|one\s+(?:can|would)|hard|difficult|doubt\w*|suppos\w*|assum\w*|claim\w*"
    r"|argu\w*|pretend\w*|wish|hope|first\s+glance|mistakes?|errors?|traps?|distractors?|misconceptions?|pitfalls?|worst|textbooks?|intuition|only|wonder\w*)\b",
    re.IGNORECASE,
)
_NAMED = r"(?:option|choice|letter|answer|alternative)s?"


class ChoiceVerifier:
    r"""problem.answer: the letter ("B"), its index from 0 (1), or the text of the right option, where
    metadata["choices"] lists or maps the options.

    The answer is the final one of the completion (`explore_rl.verifiers.extract`; extract: "boxed" or "lenient"): a
    letter, alone or with the option's text before or behind it ("B", "[B]", "B. 5 mg", "5 mg (B)", "option B"), or the
    text of one option. "B or C" is wrong. Without a final answer, a last line that states one option counts when
    `lenient` ("hence option B"); one that only mentions an option, or denies it, does not. `mode` is the letter.
    letters: which letters there are, where the problem lists no choices.
    """

    def __init__(self, extract: Extraction = "lenient", letters: str = "ABCDEFGHIJ"):
        if extract not in EXTRACTIONS[:2]:
            raise InputError(f"choice verifier: extract must be boxed or lenient, got {extract!r}")
        if not letters or not letters.isalpha() or len(set(letters.upper())) != len(letters):
            raise InputError(f"choice verifier: letters must be distinct letters such as ABCD, got {letters!r}")
        self.extract: Extraction = extract
        self.letters = letters.upper()

    def __call__(self, completion: str, problem: Problem, *, truncated: bool = False) -> Verdict:
        if truncated:
            return no_answer("cut off before its end")
        options = self._options(problem)
        gold = self._gold(problem, options)
        answers = final_answers(completion, self.extract)
        if not answers and self.extract == "lenient":
            stated = _stated(settled(completion), options)
            answers = [stated] if stated else []
        if not answers:
            return no_answer("no final answer found")
        # "A is wrong, so B", "B? No, it is C.": what the rest of the line takes back
        line = stated_line(completion) if self.extract == "lenient" and not last_boxed(completion) else None
        if line and (revised := _revised(line, options)) is not None:
            answers = [revised]
        # a box without a letter does not hide an explicit "Answer: D"
        for answer in answers:
            if letter := _letter(answer, options):
                return (
                    correct(answer, mode=letter)
                    if letter == gold
                    else wrong(answer, mode=letter, reason=f"is not {gold}")
                )
        if self.extract == "lenient" and _only_denies(answers[0], options):
            return no_answer("denies an option and names none")
        return wrong(answers[0], reason=f"is none of {', '.join(options)}")

    def check(self, problem: Problem) -> None:
        """Raises InputError if the problem's answer is none of its options."""
        self._gold(problem, self._options(problem))

    def _options(self, problem: Problem) -> dict[str, str | None]:
        """letter -> the option's text, None where it is not known."""
        return {**listed_options(problem)} or dict.fromkeys(self.letters)

    def _gold(self, problem: Problem, options: dict[str, str | None]) -> str:
        answer: Any = problem.answer
        choices = problem.metadata.get("choices")
        labels = choices.get("label") if isinstance(choices, dict) else None
        if isinstance(labels, (list, tuple)) and len(labels) == len(options) and answer in labels:
            return list(options)[labels.index(answer)]
        if isinstance(answer, float) and answer.is_integer():  # a column with gaps holds its whole numbers as floats
            answer = int(answer)
        if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(options):
            return list(options)[answer]
        letter = _letter(answer, options) if isinstance(answer, str) else None
        if letter is None and isinstance(answer, str) and answer.strip().isdigit() and int(answer) < len(options):
            return list(options)[int(answer)]  # an index from a file whose columns are all text
        if letter is None:
            known = ", ".join(options)
            hint = '; for more letters list the options in metadata["choices"]' if len(str(answer).strip()) == 1 else ""
            raise InputError(
                f"problem {problem.id}: the answer of a choice must be one of {known}, an index from 0 or an "
                f"option's text, got {answer!r}{hint}"
            )
        return letter


def listed_options(problem: Problem) -> dict[str, str]:
    """letter -> text of the options that a problem lists; empty if it lists none.

    metadata["choices"] or ["options"]: a list, a mapping of letters, or {"label": labels, "text": texts} (ARC, whose
    labels are A, B, C or 1, 2, 3; here they are letters).
    """
    choices = problem.metadata.get("choices", problem.metadata.get("options"))
    if isinstance(choices, dict) and isinstance(choices.get("text"), (list, tuple)):
        choices = choices["text"]
    if isinstance(choices, dict) and choices and all(len(str(k)) == 1 and str(k).isalpha() for k in choices):
        return {str(letter).upper(): str(text) for letter, text in choices.items()}
    if isinstance(choices, (list, tuple)) and 0 < len(choices) <= 26:
        return dict(zip(string.ascii_uppercase, map(str, choices), strict=False))
    return {}


_DENIED = re.compile(
    r"(?:is|was|are|seems|looks|would\s+be|must\s+be)\s+(?:clearly\s+|obviously\s+|definitely\s+)?"
    r"(?:wrong|incorrect|false|not|out|excluded|ruled\s+out|eliminated|impossible|invalid)\b"
    r"|(?:is|was)n['’]t\b|can(?:not|['’]t|\s+not)\s+be\b|does(?:\s+not|n['’]t)\b|fails?\b",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(
    r"[\s.,;!?–—-]*\b(?:no|wait|actually|oops|sorry|scratch\s+that|correction|hold\s+on|nope)\b(?!\s+other|\s+doubt)",
    re.IGNORECASE,
)


def _only_denies(answer: str, options: dict[str, str | None]) -> bool:
    """ "not B", "anything but B", "neither A nor B"."""
    return re.search(rf"\b(?:not|neither|nor|never|but|except)\b.*\b[{''.join(options)}]\b", answer) is not None


def _revised(line: str, options: dict[str, str | None]) -> str | None:
    """What a line settles on that denies or doubts its first letter; "" if that is nothing, None if it does not."""
    letters = "".join(options)
    if but := re.match(
        rf"(?:\w+ly\s+)?not\s+\W{{0,3}}[{letters}]\W{{0,3}}\s+but\s+(?:rather\s+)?\W{{0,3}}([{letters}])\b", line
    ):
        return but[1]
    first = re.match(rf"[\s*(\[\"'“`$]*([{letters}])\b[)\].*\"'”`$]*\s*(?P<behind>.*)", line)
    if first is None:
        return None
    behind = first["behind"]
    doubted = _DENIED.match(behind) or behind.startswith("?")
    if not doubted and not _TAKEN_BACK.match(behind):
        return None
    said = re.findall(
        rf"(?<!not )\b(?:is|be|so|hence|thus|therefore|but|choose|pick|option|choice|answer|leaves|leaving|no|yes|nope"
        rf"|wait|actually|rather)\b[\s:,]*(?:(?:option|choice)\s+)?[*(\[]*([{letters}])(?=[)\].,;!*\s]|$)"
        r"(?!\s+(?:is|was)\s+(?:wrong|incorrect|not))",
        behind,
        re.IGNORECASE,
    )
    said = [letter for letter in said if letter.isupper()]
    kept = {letter for letter in said if letter != first[1]} or set(said)
    if not kept and not doubted:
        return None
    return kept.pop() if len(kept) == 1 else "none"


def _letter(answer: str, options: dict[str, str | None]) -> str | None:
    """The letter that an answer names; None if it names none, or several, or the letter of one option with the text of
    another."""
    text = _WRAPPING.sub(" ", answer).strip().strip(".").strip()
    text = re.sub(rf"^(?:definitely\s+)?not\s+\(?[{''.join(options)}]\)?\s*,?\s+but\s+(?:rather\s+)?", "", text)
    plain = _plain(text)
    by_text = [letter for letter, option in options.items() if option is not None and _plain(option) == plain != ""]
    if len(by_text) == 1:
        return by_text[0]
    text = re.sub(
        rf"^(?:(?:the|correct|best|right|probably|likely|most|definitely|clearly|certainly|surely|indeed|simply)\s+)*{_NAMED}\s*:?\s*(?=\(?\s*[A-Za-z]\b)",
        "",
        text,
        flags=re.IGNORECASE,
    )
    text = re.sub(rf"^(?:(?:most\s+)?likely|probably|certainly|surely|{_SURE}),?\s+(?=\(?[A-Z]\b)", "", text)
    return _letter_first(text, options) or _letter_last(text, options)


def _letter_first(text: str, options: dict[str, str | None]) -> str | None:
    match = re.match(
        r"\(?\s*([A-Za-z])\s*(?P<mark>[).:,/&\-–]+|$|(?=\()|(?=\b(?:because|since|as|due|or|and|is|not|instead|rather)\b)"
        r"|(?=\s))\s*(?P<rest>.*)",
        text,
        re.DOTALL,
    )
    if match is None or match[1].upper() not in options:
        return None
    letter = match[1].upper()
    rest = match["rest"]
    option = options[letter]
    if option is not None and _begins(rest, option):
        return letter
    bare = not match["mark"] and bool(rest)
    # "A cell wall", "I think": a word, unless its text or a reason follows
    if bare and not re.match(r"(?:because|since|as|due|or|and|is|not|instead|rather)\b|\(", rest, re.IGNORECASE):
        return None
    if bare and match[1].islower():
        return None
    if any(_begins(rest, other) for name, other in options.items() if name != letter and other is not None):
        return None
    return None if _second_letter(rest, match["mark"] or "", options=options) else letter


def _second_letter(rest: str, mark: str, *, options: dict[str, str | None]) -> bool:
    """ "B or C", "B, C", "B/C" name two options; in "(B) A cell wall" and "B. I and II" the text of one begins with a
    letter."""
    letters = "".join(options)
    # D: A and B
    if mark.strip("( ") in (")", ".", ":", ").") and re.fullmatch(
        rf"(?:[{letters}],\s+)*[{letters}],?\s+and\s+[{letters}]", rest
    ):
        return False
    maybe = r"(?:(?:maybe|perhaps|possibly|probably|even|also|else|both|likely)\s+)"
    joined = re.match(
        rf"[,;(]?\s*(?:(?:or|and|&|/)\s+{maybe}?|{maybe})(?:{_NAMED}\s+)?\(?([{letters}{letters.lower()}])\b", rest
    )
    if joined and not re.match(r"(?:or|and)\s+a\s+[a-z]", rest):
        return True
    alone = re.match(
        rf"(?:{_NAMED}\s+)?\(?([{letters}{letters.lower()}])\)?\s*(?:$|[.,;)/&](?!\w)|(?:or|and)\s+\(?[{letters}]\b)",
        rest,
    )
    return bool(alone) and not (alone[1] == "I" and mark.strip("( ") in (")", ".", ":", ")."))


def _letter_last(text: str, options: dict[str, str | None]) -> str | None:
    """ "10 mg (B)", "10 mg, which is option B", "I think it is B"."""
    letters = "".join(options)
    # The option's text, then its letter.
    behind = re.fullmatch(rf"(.*\S)(?:\s*[-–—,:]\s*|\s+)([{letters}])", text, re.DOTALL)
    option = options[behind[2]] if behind else None
    if behind and option is not None and _plain(behind[1]) == _plain(option):
        return behind[2]
    # Its place: "the second option".
    named = re.fullmatch(
        rf"(?:the\s+)?(?P<which>first|second|third|fourth|fifth|last)\s+{_NAMED}\s*(?:[,(:]\s*\(?([{letters}])\)?)?",
        text,
    )
    if named:
        place = _ORDINALS.get(named["which"], len(options) - 1)
        letter = list(options)[place] if place < len(options) else None
        return letter if named[2] in (None, letter) else None
    # The text, and the letter said again.
    also = re.fullmatch(
        rf"(.*\S)\s*[,;(]\s*(?:i\.e\.,?|that\s+is,?|namely|so|thus|hence|therefore)\s+(?:{_NAMED}\s+)?\(?([{letters}])\)*",
        text,
        re.DOTALL,
    )
    if also and (option := options[also[2]]) is not None and _plain(also[1]) == _plain(option):
        return also[2]
    # A letter that ends the sentence, unless it is denied, one of several, or behind another option's text.
    match = re.search(
        rf"(?:\(\s*(?:{_NAMED}\s+)?([{letters}])\s*\)|\b(?:{_NAMED}|is|be|with)\s+\(?([{letters}])\)?)\s*\.?$",
        text,
        re.IGNORECASE,
    )
    if match is None or not (match[1] or match[2]).isupper() or _NOT.search(text[: match.end()]):
        return None
    letter = match[1] or match[2]
    before = text[: match.start()]
    if re.search(rf"\b[{letters}]\W{{0,3}}\s*(?:or|and|/|&|,)\s*$|\bor\b", before):
        return None
    if any(_begins(before, other) for name, other in options.items() if name != letter and other is not None):
        return None
    return letter


def _stated(text: str, options: dict[str, str | None]) -> str | None:
    """The one option that the last line states without calling it the answer ("Hence option B", "(B)"); None if there
    is none."""
    last = text.strip().rsplit("\n", 1)[-1][-300:]
    last = re.sub(rf"(?i)\b(is|be)\s+{_SURE},?\s+", r"\1 ", last)
    letters = "".join(options)
    bare = last.strip("*_ ")
    by_text = [letter for letter, option in options.items() if option is not None and _plain(option) == _plain(text)]
    if len(by_text) == 1 and _plain(text):
        return by_text[0]
    if found := re.fullmatch(
        rf"(?:(?i:so|thus|hence|therefore),?\s+)?\(?([{letters}])\)?[.:]?|(?i:option|choice)\s*\(?([{letters}])\)?\.?",
        bare,
    ):
        return found[1] or found[2]
    # the completion is one option and nothing else: "d", "b. 4"
    alone = rf"\(?([{letters}])(?:\)?|[).:]\s.{{1,100}})"
    if (found := re.fullmatch(alone, text.strip(" \n*_"), re.IGNORECASE)) and not _NOT.search(text):
        return found[1].upper() if len(text.strip(" \n*_")) < 4 else text.strip(" \n*_")
    letter = rf"[\s*(\[\"'“]*([{letters}])\b(?!['’])"
    whole_line = [
        rf"(?i:so|thus|hence|therefore)?,?\s*(?i:it(?:['’]s|\s+is|\s+must\s+be))\s*(?i:{_NAMED})?{letter}",
        rf"(?i:so|thus|hence|therefore)?,?{letter}[\s*)\]]*(?i:is|must\s+be)\s+(?i:the\s+)?(?i:correct|right|best|true)"
        rf"(?i:\s+(?:one|{_NAMED}))?",
        rf"(?i:the\s+)?(?i:correct|right|best|final|chosen)\s+(?i:{_NAMED})\s*[:=]{letter}",
    ]
    for form in whole_line:
        if found := re.fullmatch(form + r"[\s*)\].!]*", bare):
            return found[1]
    forms = [
        rf"(?i:correct|right|best|final)\s+(?i:{_NAMED})\s+(?i:is|must\s+be"
        rf"|would\s+be)\s*:?\s*(?i:{_NAMED}\s*)?{letter}",
        rf"(?i:option|choice)\s*{letter}[\s*)\]\"'”]*(?i:is|must\s+be|would\s+be)\s+(?i:the\s+)?(?i:correct|right"
        rf"|best|answer|true)\b",
        rf"(?i:choose|chose|pick|select|go\s+with|going\s+with|settle\s+on|answer|is|be)\s+(?i:option"
        rf"|choice)\s*{letter}",
        rf"(?i:choose|chose|pick|select|go\s+with|going\s+with|settle\s+on){letter}[\s*)\].]*(?:$|\s[-–—])",
        rf"^(?i:\s*(?:it\s+is\s+)?(?:option|choice))\s*{letter}[\s*)\].]*$",
        rf"^{letter}[\s*)\].]*$",
    ]
    mentions = set()
    stated = set()
    start = 0
    for end, behind in [match.span() for match in _CLAUSES.finditer(last)] + [(len(last), len(last))]:
        clause = last[start:end]
        led = start
        start = behind
        if _NOT.search(clause) or last[end : end + 1] == "?":
            continue
        mentions |= set(re.findall(rf"(?i:option|choice)\s*{letter}", clause))
        for form in forms:
            if form.startswith("^") and not re.search(r"(?i)\b(?:so|hence|thus|therefore|leaving)\b\W*$", last[:led]):
                continue
            for match in re.finditer(form, clause):
                who = clause[: match.start()]
                verb = match.group().lower().startswith(("cho", "pick", "sel", "go", "sett"))
                if _OTHERS.search(who) or (verb and not _CHOOSER.fullmatch(who)):
                    continue
                if not re.match(
                    r"\s*(?:only|when|whenever|provided|for|under|as\s+long|except|in\s+case)\b", clause[match.end() :]
                ):
                    stated.add(match[1])
    return stated.pop() if len(stated) == 1 and len(mentions | stated) == 1 else None


def _begins(text: str, option: str) -> bool:
    return bool(_plain(option)) and (_plain(text) + " ").startswith(_plain(option) + " ")


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text).strip().lower()
