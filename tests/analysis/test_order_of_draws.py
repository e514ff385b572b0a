"""What the order and the number of draws give away: unnamed clusters, and draws that stop with a success."""

from __future__ import annotations

import numpy as np
from calibration_draws import clustered, samples_of

from analysis.audit import AuditSettings, audit
from analysis.counts import Counts
from analysis.order_of_draws import (
    chosen_by,
    chosen_warnings,
    neighbours_p,
    order_warnings,
    repeated_problems,
    stops_with,
)
from analysis.records import Draws

FAST = AuditSettings(k=(1, 8), replicates=100, maj_repeats=1, clusters="none")


def unnamed(correlation, rng, problems=120):
    """Draws in clusters of eight that stand side by side, and nothing that says so."""
    found = samples_of(clustered(rng.beta(0.8, 0.5, problems), rng, sizes=(8,) * 8, correlation=correlation), (8,) * 8)
    inside = rng.permuted(found.draws.correct.reshape(-1, 8), axis=1).ravel()
    found.draws = Draws(found.draws.start, inside)
    return found


def test_neighbours_that_agree_are_noticed_and_independent_draws_are_not():
    rng = np.random.default_rng(0)
    base, tuned = (unnamed(0.2, rng) for _ in range(2))
    said = audit(base, tuned, settings=FAST)["warnings"]
    assert len(said) == 2 and all("column `cluster`" in line for line in said)
    assert order_warnings(base, independent=False) == []  # whole clusters are relabelled already
    p = [neighbours_p(unnamed(0.0, rng).draws) for _ in range(40)]
    assert min(p) > 0.001 and 0.2 < np.mean(p) < 0.8


def test_draws_that_stop_with_the_first_success_are_noticed():
    rng = np.random.default_rng(1)
    first = rng.geometric(np.full(60, 0.03))
    n = np.minimum(first, 64)
    stopped = Counts(n, (first <= 64).astype(int))
    assert stops_with(stopped) == (1, 1)
    side = samples_of(rng.binomial(8, 0.3, (60, 8)), (8,) * 8)
    side.n, side.correct, side.draws = n, stopped.correct, None
    (line,) = order_warnings(side, independent=True)
    assert "ends with its first correct draw" in line and "fewer than 64 draws" in line

    # in batches of eight, by the order of the draws and by counts alone
    drawn = rng.random((60, 64)) < 0.05
    batches = np.where(drawn.any(axis=1), drawn.argmax(axis=1) // 8 + 1, 8)
    rows = [row[: 8 * b] for row, b in zip(drawn, batches, strict=True)]
    counts = Counts(8 * batches, np.array([row.sum() for row in rows]))
    order = Draws(np.r_[0, np.cumsum(8 * batches)], np.concatenate(rows).astype(np.uint8))
    assert stops_with(counts, order) == stops_with(counts) == (1, 8)
    side.n, side.correct, side.draws = *counts, order
    assert "has its first correct draw among its last 8" in order_warnings(side, independent=True)[0]


def test_problems_that_were_chosen_by_these_draws_are_noticed():
    """Of equal models, all are called expanded on the problems that the base failed on in these draws."""
    rng = np.random.default_rng(4)
    p = 10 ** rng.uniform(-4, 0, 300)
    base, tuned = (samples_of(rng.binomial(8, p[:, None], (300, 8)), (8,) * 8) for _ in range(2))
    base.name, tuned.name = "before", "after"
    assert chosen_warnings(base, tuned) == []
    failed, solved = (np.flatnonzero(x) for x in (base.correct == 0, base.correct > 0))
    (line,) = chosen_warnings(base.subset(failed), tuned.subset(failed))
    assert line.startswith("before solves none of these problems more than twice") and "Draw anew" in line
    eight = np.full(20, 8)
    assert chosen_by(Counts(eight, 0 * eight), Counts(eight, np.arange(20) % 2)) == "failed"  # one lucky draw is enough
    said = audit(base.subset(solved), tuned.subset(solved), settings=FAST)["warnings"]
    assert any(line.startswith("before solves each of these problems, some by a draw or two") for line in said)


def test_numbers_of_draws_that_have_nothing_to_do_with_success_are_fine():
    rng = np.random.default_rng(2)
    n = rng.integers(16, 65, 80)
    assert stops_with(Counts(n, rng.binomial(n, 0.03))) is None
    assert stops_with(Counts(np.full(80, 64), rng.binomial(64, 0.01, 80))) is None
    # one correct draw each, but not the last one
    short = np.r_[np.full(20, 8), 16]
    draws = Draws(np.r_[0, np.cumsum(short)], np.tile([1] + [0] * 7, 22).astype(np.uint8))
    assert stops_with(Counts(short, np.r_[np.ones(20, int), 1]), draws) is None


def test_draws_that_are_there_twice_are_noticed_in_some_problems_too():
    rng = np.random.default_rng(3)
    once = [rng.random(16) < rate for rate in rng.beta(0.8, 0.8, 60)]
    twice = [np.concatenate([one, one]) if i < 20 else rng.permutation(np.repeat(one, 2)) for i, one in enumerate(once)]
    start = 32 * np.arange(61)
    found = repeated_problems(Draws(start, np.concatenate(twice).astype(np.uint8)))
    assert 8 <= found <= 20
    in_a_row = np.concatenate([np.repeat(one, 2) for one in once]).astype(np.uint8)
    assert repeated_problems(Draws(start, in_a_row)) >= 30
    fresh = [rng.random(32) < rate for rate in rng.beta(0.8, 0.8, 600)]
    assert repeated_problems(Draws(32 * np.arange(601), np.concatenate(fresh).astype(np.uint8))) == 0
