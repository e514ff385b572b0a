"""Whether exact probabilities of success are those of the engine's draws: a G-test, problem by problem.

    explore-rl sample smollm2-135m --problems "real:sum?split=audit&size=20" --n 5000 --template line --max-tokens 8 \
        --out draws.parquet
    python scripts/check_real_exact.py smollm2-135m "real:sum?split=audit&size=20" draws.parquet

For each problem the draws that are right against the number that the exact probability expects: G = 2 sum O log(O / E),
two cells a problem, and the sum over problems, which is chi-squared with as many degrees of freedom if the audit is
right. Problems that expect fewer than 5 right or 5 wrong draws are put together into one. Power: the relative error of
all probabilities of success that the test would have found with probability .9.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import chi2, ncx2

from explore_rl.lab.audits import audit_of_loaded
from explore_rl.lab.exact import sequences
from explore_rl.lab.logprobs import load_model, token_values
from explore_rl.objectives.readouts import mass_of
from explore_rl.problems.loading import load_problems
from explore_rl.real.tokens import special_ids
from explore_rl.types import Problem

LEVEL = 0.01
POWER = 0.9
LEAST = 5.0  # expected draws of a cell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the model that drew, a folder or a name")
    parser.add_argument("problems", help="the problems, as explore-rl sample was given them")
    parser.add_argument("samples", type=Path, help="what it wrote")
    args = parser.parse_args()
    asked = load_problems(args.problems)
    columns = pq.read_table(args.samples, columns=["problem_id", "correct", "temperature"]).to_pydict()
    [temperature] = set(columns["temperature"])
    model, tokenizer = load_model(args.model)
    exact = audit_of_loaded(model, tokenizer, asked=asked, temperature=temperature).success
    place = {problem.id: i for i, problem in enumerate(asked)}
    drawn = np.zeros(len(asked))
    right = np.zeros(len(asked))
    for problem, correct in zip(columns["problem_id"], columns["correct"], strict=True):
        drawn[place[problem]] += 1
        right[place[problem]] += bool(correct)
    for problem, n, c, p in zip(asked, drawn, right, exact, strict=True):
        print(f"{str(problem.prompt).rpartition(chr(10))[2]:30} exact {p:.5f}  drawn {c:.0f} of {n:.0f} = {c / n:.5f}")
    observed, expected, draws = cells(right, exact * drawn, draws=drawn)
    statistic = g(observed, expected) + g(draws - observed, draws - expected)
    p_value = float(chi2.sf(statistic, len(draws)))
    error = smallest_found(expected, draws=draws)
    print(f"G = {statistic:.1f} with {len(draws)} degrees of freedom, p = {p_value:.3f}")
    found = (
        f"an error of {error:.1%} of every probability" if np.isfinite(error) else "not even twice every probability"
    )
    print(f"{found} would have been found with probability {POWER:g}")
    unseen = mass_of_special(model, tokenizer, asked, temperature=temperature)
    print(f"special tokens, which decode to nothing, have at most {unseen:.1e} at any place of a right completion")
    print("agree" if p_value > LEVEL else "DIFFER")


def mass_of_special(model: Any, tokenizer: Any, asked: list[Problem], *, temperature: float) -> float:
    """The largest probability of special tokens, but the end, within right completions: what text does not show."""
    pairs, _ = sequences(asked, tokenizer)
    special = tuple(sorted(special_ids(tokenizer) - {tokenizer.eos_token_id}))
    rows = [(np.array([*prompt, *completion]), len(prompt)) for prompt, completion in pairs]
    values = token_values(model, rows, readouts=(mass_of(special, temperature),))
    return float(np.exp(max(of_tokens.max() for (of_tokens,) in values)))


def cells(
    observed: np.ndarray, expected: np.ndarray, *, draws: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right draws, expected ones and all draws of each problem; problems with a small cell are one."""
    small = (expected < LEAST) | (draws - expected < LEAST)
    found = [(*values[~small], values[small].sum()) for values in (observed, expected, draws)]
    kept = slice(None) if small.any() and found[1][-1] > 0 else slice(None, -1)
    return tuple(np.array(values[kept]) for values in found)  # type: ignore[return-value]


def g(observed: np.ndarray, expected: np.ndarray) -> float:
    """2 sum O log(O / E), 0 where nothing was observed."""
    seen = observed > 0
    return float(2 * (observed[seen] * np.log(observed[seen] / expected[seen])).sum())


def smallest_found(expected: np.ndarray, *, draws: np.ndarray) -> float:
    """The relative error of all probabilities that the test at LEVEL finds with probability POWER."""
    bound = chi2.isf(LEVEL, len(draws))
    for error in np.geomspace(1e-4, 1.0, 400):
        shifted = np.minimum(expected * (1 + error), draws - 0.5)
        distance = g(shifted, expected) + g(draws - shifted, draws - expected)
        if ncx2.sf(bound, len(draws), distance) >= POWER:
            return float(error)
    return float("inf")


if __name__ == "__main__":
    main()
