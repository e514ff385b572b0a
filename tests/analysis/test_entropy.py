"""Entropy of answers and its correction, and the interval of means without bounds."""

from __future__ import annotations

import numpy as np
import pytest
from answer_tables import answers

from analysis.entropy import chao_wang_jost, merged_counts, plug_in
from analysis.intervals import Bootstrap


def test_answer_entropy_by_hand_and_its_correction_by_simulation():
    table = answers((0, "1", 2, True), (0, None, 1, False), (0, "2", 1, False), (1, "3", 4, True))
    problem, count = merged_counts(table)
    h = plug_in(problem, count, problems=3)
    assert h[0] == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(4)) and h[1] == 0 and np.isnan(h[2])
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(40, 0.7))
    truth = -(p * np.log(p)).sum()
    counts = rng.multinomial(32, p, size=800)
    where, kind = np.nonzero(counts)
    plain, corrected = (f(where, counts[where, kind], problems=800).mean() for f in (plug_in, chao_wang_jost))
    assert (
        truth - plain > 0.25 and abs(truth - corrected) < 0.08
    )  # the plug-in is far too low, the correction nearly right


def test_chao_wang_jost_as_printed():
    counts = np.array([5, 2, 2, 1, 1, 1])
    n, f1, f2 = 12, 3, 2
    seen = sum(x / n * sum(1 / k for k in range(x, n)) for x in counts)
    a = 2 * f2 / ((n - 1) * f1 + 2 * f2)
    rest = f1 / n * (1 - a) ** (1 - n) * (-np.log(a) - sum((1 - a) ** r / r for r in range(1, n)))
    assert chao_wang_jost(np.zeros(6, dtype=int), counts, problems=1)[0] == pytest.approx(seen + rest)


def test_bootstrap_t_reaches_to_the_long_side_and_knows_its_limits():
    rng = np.random.default_rng(0)
    bootstrap = Bootstrap.draw(20, 2000, rng=rng)
    values = rng.lognormal(0, 1.2, 20)
    low, high = bootstrap.studentised(values)
    plain = bootstrap.interval(bootstrap.means(values))
    assert low <= plain[0] and high > plain[1] and high - values.mean() > 1.5 * (values.mean() - low)
    shifted = bootstrap.studentised(1e6 + values)
    assert shifted == pytest.approx((1e6 + low, 1e6 + high), abs=1e-6)  # squares keep their digits
    assert bootstrap.studentised(np.full(20, 3.0)) == (3.0, 3.0)
    only = np.full(20, np.nan)
    only[0] = 1.0
    assert np.isnan(bootstrap.studentised(only)).all()
    only[1] = 2.0
    assert bootstrap.studentised(only) == (1.0, 2.0)
