"""Multiple choice: which letter the completion settles on."""

from __future__ import annotations

import re
import string
from typing import Any

from analysis.errors import InputError
from explore_rl.types import Problem, Verdict
from explore_rl.verifiers.base import correct, no_answer, wrong
from explore_rl.verifiers.extract import EXTRACTIONS, Extraction, final_answer

_WRAPPING = re.compile(r"\\(?:text|mathrm|mathbf|textbf|boxed)\s*\{|[{}$*\\]")


class ChoiceVerifier:
    r"""problem.answer: the letter ("B"), its index from 0 (1), or the text of the right option, where metadata["choices"] lists or maps
    the options.

    The answer is the final one of the completion (`explore_rl.verifiers.extract`; extract: "boxed" or "lenient"): a letter, alone or before
    a bracket, colon, point or the option's text ("B", "(B)", "B. 5 mg"), or the text of one option. "B or C" is wrong. Without a
    final answer, "option B" or "choice (B)" in the last line counts when `lenient`. `mode` is the letter.
    letters: which letters there are, where the problem lists no choices.
    """

    def __init__(self, extract: Extraction = "lenient", letters: str = "ABCDEFGHIJ"):
        if extract not in EXTRACTIONS[:2]:
            raise InputError(f"choice verifier: extract must be boxed or lenient, got {extract!r}")
        if not letters or not letters.isalpha() or len(set(letters.upper())) != len(letters):
            raise InputError(f"choice verifier: letters must be distinct letters such as ABCD, got {letters!r}")
        self.extract, self.letters = extract, letters.upper()

    def __call__(self, completion: str, problem: Problem, *, truncated: bool = False) -> Verdict:
        if truncated:
            return no_answer("cut off before its end")
        options = self._options(problem)
        gold = self._gold(problem, options)
        answer = final_answer(completion, self.extract)
        if answer is None and self.extract == "lenient":
            last = completion.strip().rsplit("\n", 1)[-1][-300:]
            letters = "".join(options)
            found = re.findall(rf"(?i:option|choice)\s*\**\(?([{letters}])\b", last)
            found = found or re.findall(rf"^\(?([{letters}])\)?[.:]?$", last.strip("* "))
            answer = found[-1] if len(set(found)) == 1 else None
        if answer is None:
            return no_answer("no final answer found")
        letter = _letter(answer, options)
        if letter is None:
            return wrong(answer, reason=f"is none of {', '.join(options)}")
        return correct(answer, mode=letter) if letter == gold else wrong(answer, mode=letter, reason=f"is not {gold}")

    def _options(self, problem: Problem) -> dict[str, str | None]:
        """letter -> the option's text, None where it is not known."""
        choices = problem.metadata.get("choices", problem.metadata.get("options"))
        if isinstance(choices, dict) and choices and all(isinstance(k, str) and len(k) == 1 and k.isalpha() for k in choices):
            return {letter.upper(): str(text) for letter, text in choices.items()}
        if isinstance(choices, (list, tuple)) and 0 < len(choices) <= 26:
            return dict(zip(string.ascii_uppercase, map(str, choices)))
        return dict.fromkeys(self.letters)

    def _gold(self, problem: Problem, options: dict[str, str | None]) -> str:
        answer: Any = problem.answer
        if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(options):
            return list(options)[answer]
        letter = _letter(answer, options) if isinstance(answer, str) else None
        if letter is None:
            known = ", ".join(options)
            raise InputError(
                f"problem {problem.id}: the answer of a choice must be one of {known}, an index or an option's text, got {answer!r}"
            )
        return letter


def _letter(answer: str, options: dict[str, str | None]) -> str | None:
    text = _WRAPPING.sub(" ", answer).strip().strip(".").strip()
    by_text = [letter for letter, option in options.items() if option is not None and _plain(option) == _plain(text) != ""]
    if len(by_text) == 1:
        return by_text[0]
    text = re.sub(r"^(?i:option|choice)\s+", "", text)
    match = re.match(r"\(?\s*([A-Za-z])\s*(?:[).:,\-]|$|(?=\b(?:because|since|as|due|or|and)\b))\s*(.*)", text, re.DOTALL)
    if match is None or match[1].upper() not in options:
        return None
    letter, rest = match[1].upper(), _plain(match[2])
    if options[letter] is not None and (rest + " ").startswith(_plain(options[letter]) + " "):
        return letter
    others = [_plain(option) for other, option in options.items() if other != letter and option is not None]
    if any((rest + " ").startswith(other + " ") for other in others if other):  # the letter of one option, the text of another
        return None
    return None if re.match(rf"(?:or |and )?(?:option |choice )?[{''.join(options).lower()}]\b", rest) else letter


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text).strip().lower()
