"""Which training problems are audit problems, in the same words or nearly: a rise on those says nothing about
ability."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from analysis.errors import InputError
from explore_rl.types import Problem

MIN_GRAMS = 3  # fewer n-grams than these are a phrase, not a problem


@dataclass(frozen=True)
class OverlapPair:
    """Two problems that are the same.

    train, audit: their ids.
    kind: "exact" (equal after normalisation) or "near".
    jaccard: of the two sets of n-grams; 1 for exact ones.
    containment: the share of the smaller set that the other holds; 1 for exact ones.
    """

    train: str
    audit: str
    kind: str
    jaccard: float
    containment: float


@dataclass
class Overlap:
    """What two sets have in common.

    n, threshold: as in `find_overlap`.
    train_size, audit_size: problems that were compared.
    pairs: every overlapping (training, audit) pair, the closest first.
    """

    n: int
    threshold: float
    train_size: int = 0
    audit_size: int = 0
    pairs: list[OverlapPair] = field(default_factory=list)

    def train_ids(self) -> set[str]:
        return {pair.train for pair in self.pairs}

    def audit_ids(self) -> set[str]:
        return {pair.audit for pair in self.pairs}

    def lines(self, show: int = 5) -> list[str]:
        kinds = Counter(pair.kind for pair in self.pairs)
        first = (
            f"{len(self.audit_ids())} of {self.audit_size} audit problems are among the {self.train_size} others:"
            f" {kinds['exact']} exact pairs, {kinds['near']} near ({self.n}-grams, at least {self.threshold:g} of "
            f"the smaller set)"
        )
        rows = [
            f"  {p.kind}: {p.train} ~ {p.audit} (Jaccard {p.jaccard:.2f}, containment {p.containment:.2f})"
            for p in self.pairs[:show]
        ]
        return [first, *rows, *([f"  ... and {len(self.pairs) - show} more"] if len(self.pairs) > show else [])]


def words(problem: Problem) -> list[str]:
    r"""A prompt as words for comparison: Unicode-normalised, lower case, numbers and operators kept, spacing and
    punctuation left out.

    >>> words(Problem(id="a", prompt="Find $x$, where \\,x^2 = 4.0", answer="2", verifier="math"))
    ['find', 'x', 'where', 'x', '^', '2', '=', '4.0']
    """
    prompt = problem.prompt
    text = (
        prompt
        if isinstance(prompt, str)
        else "\n".join(message["content"] for message in prompt if message["role"] == "user")
    )
    text = unicodedata.normalize("NFKC", text).lower()
    text = re.sub(r"\\(?:[,;:! ]|left\b|right\b|quad\b|qquad\b|displaystyle\b)|\\(?=[dt]frac\b)", " ", text)
    text = re.sub(r"\b[dt]frac\b", r"\\frac", text)
    return re.findall(r"\d+(?:\.\d+)?|\\?[^\W\d_]+|[-+*/^=<>]", text)


def find_overlap(
    train: Iterable[Problem], audit: Iterable[Problem], *, n: int = 8, threshold: float = 0.7, common: float = 0.05
) -> Overlap:
    """Pairs of a training and an audit problem that are the same, exactly or nearly.

    Exact: equal words. Near: at least `threshold` of the smaller of the two sets of word n-grams is in the other
    (containment). n-grams that more than `common` of the audit problems (and more than 5) share are an instruction, not
    a problem, and count for neither side. Problems with fewer than MIN_GRAMS n-grams of their own are compared exactly
    only. Audit problems are held in memory, training problems are streamed.

    train: streamed.
    audit: held in memory.
    n: words of an n-gram, at least 1.
    threshold: containment from which on two problems are nearly the same, above 0, at most 1.
    common: share of the audit problems above which an n-gram is an instruction.
    """
    if n < 1 or not 0 < threshold <= 1:
        raise InputError(f"overlap: n={n}, threshold={threshold}: expected n at least 1 and a threshold in (0, 1]")
    audit = list(audit)
    audit_words = [words(problem) for problem in audit]
    # the audit problems by their words
    exact: dict[tuple[str, ...], list[int]] = {}
    for i, listed in enumerate(audit_words):
        exact.setdefault(tuple(listed), []).append(i)
    # and by their n-grams, without what many of them share
    frequency = Counter(gram for listed in audit_words for gram in _grams(listed, n))
    limit = max(5, common * len(audit))
    boilerplate = {gram for gram, count in frequency.items() if count > limit}
    grams = [_grams(listed, n) - boilerplate for listed in audit_words]
    holders: dict[int, list[int]] = {}
    for i, owned in enumerate(grams):
        for gram in owned:
            holders.setdefault(gram, []).append(i)

    # each training problem against both
    found = Overlap(n, threshold, audit_size=len(audit))
    for problem in train:
        found.train_size += 1
        listed = words(problem)
        same = exact.get(tuple(listed), []) if listed else []
        found.pairs += [OverlapPair(problem.id, audit[i].id, "exact", 1.0, 1.0) for i in same]
        owned = _grams(listed, n) - boilerplate
        shared = Counter(i for gram in owned for i in holders.get(gram, ()))
        for i, count in shared.items():
            containment = count / min(len(owned), len(grams[i]))
            if i not in same and containment >= threshold and min(len(owned), len(grams[i])) >= MIN_GRAMS:
                found.pairs.append(
                    OverlapPair(
                        problem.id, audit[i].id, "near", count / (len(owned) + len(grams[i]) - count), containment
                    )
                )
    found.pairs.sort(key=lambda pair: (-pair.containment, -pair.jaccard, pair.train, pair.audit))
    return found


def _grams(listed: list[str], n: int) -> set[int]:
    """Hashes of the word n-grams: the words themselves would take many times the memory."""
    return {hash(tuple(listed[i : i + n])) for i in range(len(listed) - n + 1)}
