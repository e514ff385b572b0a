"""Short free text: the normalised exact match and the F1 of SQuAD (Rajpurkar et al., 2016, their evaluation script)."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from typing import Literal

from analysis.errors import InputError
from explore_rl.types import Problem, Verdict
from explore_rl.verifiers.base import correct, no_answer, wrong
from explore_rl.verifiers.extract import final_answer

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "‘’“”´`–—", " "))


class TextVerifier:
    r"""problem.answer: the text, or a list of texts of which any will do (aliases).

    Case, accents, punctuation, articles and blanks do not count. metric "exact": score 1 if equal, else 0. metric "f1": score is the F1
    of the
    words against the best reference; CORRECT from `threshold` on.
    extract: "lenient" or "boxed" as in `explore_rl.verifiers.extract`; "whole": the whole completion is the answer. `mode` is the
    normalised answer.
    """

    def __init__(
        self, metric: Literal["exact", "f1"] = "exact", threshold: float = 1.0, extract: Literal["lenient", "boxed", "whole"] = "lenient"
    ):
        if metric not in ("exact", "f1"):
            raise InputError(f"text verifier: metric must be exact or f1, got {metric!r}")
        if extract not in ("lenient", "boxed", "whole"):
            raise InputError(f"text verifier: extract must be lenient, boxed or whole, got {extract!r}")
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 < threshold <= 1:
            raise InputError(f"text verifier: threshold must be above 0 and at most 1, got {threshold!r}")
        if metric == "exact" and threshold != 1.0:
            raise InputError("text verifier: threshold has a meaning for metric f1 only")
        self.metric, self.threshold, self.extract = metric, threshold, extract

    def __call__(self, completion: str, problem: Problem, *, truncated: bool = False) -> Verdict:
        if truncated:
            return no_answer("cut off before its end")
        references = problem.answer if isinstance(problem.answer, (list, tuple)) else [problem.answer]
        if not references or not all(isinstance(text, str) and normalise(text) for text in references):
            raise InputError(
                f"problem {problem.id}: the text verifier needs an answer that is text or a list of texts, got {problem.answer!r}"
            )
        answer = completion.strip() if self.extract == "whole" else final_answer(completion, self.extract)
        if answer:
            answer = re.sub(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}", r"\1", answer)
        if not answer or not (given := normalise(answer)):
            return no_answer("no final answer found")
        if self.metric == "exact":
            score = float(any(given == normalise(text) for text in references))
        else:
            score = max(f1(given, normalise(text)) for text in references)
        if score >= self.threshold:
            return correct(answer, score=score, mode=given)
        return wrong(answer, score=score, mode=given, reason=f"is not {references[0]}"[:200])


def normalise(text: str) -> str:
    """
    >>> normalise("The  Élysée Palace!")
    'elysee palace'
    """
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()
    return " ".join(_ARTICLES.sub(" ", text.translate(_PUNCTUATION)).split())


def f1(given: str, reference: str) -> float:
    """Harmonic mean of precision and recall over words, each counted as often as it occurs.

    >>> f1("elysee palace in paris", "elysee palace")  # precision 2/4, recall 2/2
    0.6666666666666666
    """
    given_words, reference_words = given.split(), reference.split()
    common = sum((Counter(given_words) & Counter(reference_words)).values())
    return 2 * common / (len(given_words) + len(reference_words)) if common else 0.0
