"""Short free text: the normalised exact match and the F1 of SQuAD (Rajpurkar et al., 2016, their evaluation script)."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import Literal

from analysis.errors import InputError
from explore_rl.types import Problem, Verdict
from explore_rl.verifiers.base import correct, no_answer, wrong
from explore_rl.verifiers.extract import final_answer

_ARTICLES = re.compile(r"\b(?:a|an|the)\b(?![+#-])")
# a number with its sign, separators and decimals; a sign belongs to it where no letter or digit stands before
_NUMBER = re.compile(r"(?<![\w.,])([-−+]?)(\d{1,3}(?:,\d{3})+|\d+)((?:\.\d+)?)(?![\w])")
_SIGNS = re.compile(r"(?<=\w)(?:\+{1,2}|#|(?<=\b\w)[-−](?=\s|$)|(?<=\b\w\w)[-−](?=\s|$))")  # C++, C#, O-, AB-
# x < 5; no tag such as <b>
_COMPARED = re.compile(r"(?:^|(?<=[\w)\s]))\s*(?:<=|>=|!=|[<>≤≥≠])\s*(?=[\w(.\s\ue003-])(?!/?[a-z]{1,12}>)")
_RELATIONS = {"<": "\ue005", ">": "\ue006", "<=": "\ue007", "≤": "\ue007", ">=": "\ue008", "≥": "\ue008",
              "!=": "\ue009", "≠": "\ue009"}  # fmt: skip
_KEPT = {"+": "\ue001", "#": "\ue002", "-": "\ue003", "−": "\ue003", ".": "\ue004"}
_BACK = str.maketrans(dict(zip("\ue001\ue002\ue003\ue004\ue005\ue006\ue007\ue008\ue009", "+#-.<>≤≥≠", strict=True)))


class TextVerifier:
    r"""problem.answer: the text, or a list of texts of which any will do (aliases).

    Case, punctuation, articles, blanks and the accents of Latin and Greek letters do not count; the sign of a number,
    its decimals, and the signs of C++, C# and O- do. metric "exact": score 1 if equal, else 0. metric "f1": score is
    the F1 of the words against the best reference; CORRECT from `threshold` on.
    extract: "lenient" or "boxed" as in `explore_rl.verifiers.extract`; "whole": the whole completion is the answer.
    `mode` is the normalised answer.
    """

    def __init__(
        self,
        metric: Literal["exact", "f1"] = "exact",
        threshold: float = 1.0,
        *,
        extract: Literal["lenient", "boxed", "whole"] = "lenient",
    ):
        if metric not in ("exact", "f1"):
            raise InputError(f"text verifier: metric must be exact or f1, got {metric!r}")
        if extract not in ("lenient", "boxed", "whole"):
            raise InputError(f"text verifier: extract must be lenient, boxed or whole, got {extract!r}")
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 < threshold <= 1:
            raise InputError(f"text verifier: threshold must be above 0 and at most 1, got {threshold!r}")
        if metric == "exact" and threshold != 1.0:
            raise InputError("text verifier: threshold has a meaning for metric f1 only")
        self.metric, self.threshold = metric, threshold
        self.extract: Literal["lenient", "boxed", "whole"] = extract

    def __call__(self, completion: str, problem: Problem, *, truncated: bool = False) -> Verdict:
        if truncated:
            return no_answer("cut off before its end")
        references = self._references(problem)
        answer = completion.strip() if self.extract == "whole" else final_answer(completion, self.extract)
        if answer:
            answer = re.sub(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}", r"\1", answer)
        if not answer or not (given := normalise(answer)):
            return no_answer("no final answer found")
        references = [text for text in references if not _other_money(answer, text)]
        if not references:
            return wrong(answer, mode=given, reason="is of another currency")
        if self.metric == "exact":
            score = float(any(given == normalise(text) for text in references))
        else:
            score = max(f1(given, normalise(text)) for text in references)
        if score >= self.threshold:
            return correct(answer, score=score, mode=given)
        return wrong(answer, score=score, mode=given, reason=f"is not {references[0]}"[:200])

    def check(self, problem: Problem) -> None:
        """Raises InputError if the problem's answer is no text with a letter or digit."""
        self._references(problem)

    def _references(self, problem: Problem) -> list[str]:
        references = problem.answer if isinstance(problem.answer, (list, tuple)) else [problem.answer]
        if not references or not all(isinstance(text, str) and normalise(text) for text in references):
            raise InputError(
                f"problem {problem.id}: the text verifier needs an answer that is text or a list of texts, got "
                f"{problem.answer!r}"
            )
        return list(references)


def normalise(text: str) -> str:
    """
    >>> normalise("The  Élysée Palace!"), normalise("-1,200.50"), normalise("C++"), normalise("A")
    ('elysee palace', '-1200.50', 'c++', 'a')
    >>> normalise("が") == normalise("か")
    False
    """
    text = unicodedata.normalize("NFC", _without_accents(text.replace("≠", "!=").replace("US$", "$")).casefold())
    # what carries meaning is put out of the way of the punctuation
    text = _NUMBER.sub(lambda m: _kept(m[1].replace("+", "") + m[2].replace(",", "") + m[3]), text)
    text = _SIGNS.sub(lambda m: _kept(m.group()), text)
    text = _COMPARED.sub(lambda m: f" {_RELATIONS[m.group().strip()]} ", text)
    words = "".join(" " if _is_punctuation(c) else c for c in text)
    return (" ".join(_ARTICLES.sub(" ", words).split()) or " ".join(words.split())).translate(_BACK)


def _other_money(given: str, reference: str) -> bool:
    """Whether both name a currency by its sign, and not the same one."""
    one, other = ({c for c in text if unicodedata.category(c) == "Sc"} for text in (given, reference))
    return bool(one and other and not one & other)


def _kept(text: str) -> str:
    return "".join(_KEPT.get(c, c) for c in text)


def _without_accents(text: str) -> str:
    """Of Latin and Greek letters only: in other scripts such marks are letters (が, й, vowel signs)."""
    kept = []
    base = ""
    for c in unicodedata.normalize("NFKD", text):
        if not unicodedata.combining(c):
            base = c
        elif base.isascii() or "Ͱ" <= base <= "Ͽ":
            continue
        kept.append(c)
    return "".join(kept)


def _is_punctuation(c: str) -> bool:
    return unicodedata.category(c)[0] in "PS"


def f1(given: str, reference: str) -> float:
    """Harmonic mean of precision and recall over words, each counted as often as it occurs.

    >>> f1("elysee palace in paris", "elysee palace")  # precision 2/4, recall 2/2
    0.6666666666666666
    """
    given_words = given.split()
    reference_words = reference.split()
    common = sum((Counter(given_words) & Counter(reference_words)).values())
    return 2 * common / (len(given_words) + len(reference_words)) if common else 0.0
