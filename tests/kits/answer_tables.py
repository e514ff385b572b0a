"""Tables of counted answers, written down row by row."""

import numpy as np

from analysis.records import AnswerCounts


def answers(*rows):
    """rows: (problem, answer, how often, whether it is correct)."""
    problem, answer, count, correct = zip(*rows, strict=True)
    return AnswerCounts(
        np.array(problem),
        np.array(answer, dtype=object),
        np.array([None] * len(rows), dtype=object),
        np.array(count),
        np.array(correct),
    )
