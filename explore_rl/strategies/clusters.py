"""Which completions of a group are the same solution: by what the verifier knows, or by their words."""

from __future__ import annotations

import re

import numpy as np

from explore_rl.types import Sample

KINDS = ("mode", "bigram")
ALIKE = 0.5  # Jaccard similarity of two texts' sets of bigrams, from which on they are one cluster


def clusters(samples: list[Sample], by: str) -> np.ndarray:
    """The number of each sample's cluster, int [n].

    by: "mode": the verifier's mode, or the answer where it knows none; a sample without evidence about an answer stands
        alone. "bigram": texts whose sets of word bigrams have a Jaccard similarity of ALIKE are joined, and what is
        joined to either (single linkage, as DARLING joins its pairs).
    """
    labels = np.arange(len(samples))
    for i, sample in enumerate(samples):
        for j in range(i):
            if labels[j] != labels[i] and _same(sample, samples[j], by=by):
                labels[labels == labels[i]] = labels[j]
    return labels


def _same(one: Sample, other: Sample, *, by: str) -> bool:
    if by == "mode":
        both_say = one.verdict.is_evidence and other.verdict.is_evidence
        mine, theirs = ((s.verdict.mode or s.verdict.answer) for s in (one, other))
        return both_say and mine is not None and mine == theirs
    return jaccard(one.rollout.text, other.rollout.text) >= ALIKE


def jaccard(one: str, other: str) -> float:
    """Of the two texts' sets of word bigrams; a single word is its own; 1 for two texts without words.

    >>> jaccard("so x = 2", "so x = 3")
    0.5
    """
    mine = bigrams(one)
    theirs = bigrams(other)
    return len(mine & theirs) / len(mine | theirs) if mine | theirs else 1.0


def bigrams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    return {tuple(words[i : i + 2]) for i in range(max(1, len(words) - 1))} if words else set()
