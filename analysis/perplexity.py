"""Perplexity of whole traces, by what became of their problems.

Formula (arXiv 2504.13837, sec. 4.3): PPL_m(Y | x) = exp(-(1/T) sum_t ln P_m(y_t | x, y_<t)) = exp(-logprob /
num_tokens). Aggregation, which the papers leave open: mean over a problem's traces, then over the problems of a
category.
"""

from __future__ import annotations

import numpy as np

from analysis.records import Draws, ModelSamples, Scores
from analysis.scored import problem_index, rows_of

FORMULA = "exp(-logprob / num_tokens) of each trace; mean over a problem's traces, then over problems"


def of_traces(logprob: np.ndarray, num_tokens: np.ndarray) -> np.ndarray:
    """exp(-logprob / num_tokens), [R] -> [R]; NaN where either is missing or there are no tokens."""
    logprob = np.asarray(logprob, dtype=float)
    num_tokens = np.asarray(num_tokens, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(num_tokens > 0, np.exp(-logprob / num_tokens), np.nan)


def _problem_means(problem: np.ndarray, values: np.ndarray, *, problems: int) -> tuple[np.ndarray, int]:
    known = ~np.isnan(values) & (problem >= 0)
    size = np.bincount(problem[known], minlength=problems)
    total = np.bincount(problem[known], weights=values[known], minlength=problems)
    return np.where(size > 0, total / np.maximum(size, 1), np.nan), int(known.sum())


def of_draws(draws: Draws | None, *, correct_only: bool = False) -> tuple[np.ndarray, int] | None:
    """Mean perplexity of each problem's own samples under the model that drew them, float64 [M], and how many; None
    without log-probabilities. correct_only: of the correct samples.
    """
    if draws is None or draws.logprob is None or draws.num_tokens is None:
        return None
    problems = len(draws.start) - 1
    owner = np.repeat(np.arange(problems), np.diff(draws.start))
    if correct_only:
        owner = np.where(draws.correct.astype(bool), owner, -1)
    means, traces = _problem_means(owner, of_traces(draws.logprob, draws.num_tokens), problems=problems)
    return (means, traces) if traces else None


def of_scores(
    scores: Scores, scored_by: ModelSamples, *, correct_only: bool = False
) -> dict[tuple[str, float, float], tuple[np.ndarray, int]]:
    """(author, temperature, top-p) -> (mean perplexity of each problem's texts under `scored_by`, float64 [M]; number
    of texts). correct_only: of the texts that are known to be correct."""
    mine = rows_of(scores, scored_by)
    if correct_only:
        correct = scores["correct"]
        mine = mine & np.array([False] * len(scores) if correct is None else [x == 1 for x in correct])
    problem = problem_index(scores, scored_by)
    values = of_traces(scores.of("logprob"), scores.of("num_tokens"))

    def known(name: str, default: str | float) -> list:
        column = scores[name]
        return [default] * len(scores) if column is None else [default if x is None else x for x in column]

    columns = [known("written_by", "unknown"), known("temperature", 1.0), known("top_p", 1.0)]
    keys = list(zip(*columns, strict=True))
    result = {}
    for key in dict.fromkeys(k for k, own in zip(keys, mine, strict=True) if own):
        rows = mine & np.array([k == key for k in keys])
        result[key] = _problem_means(problem[rows], values[rows], problems=len(scored_by))
    return result
