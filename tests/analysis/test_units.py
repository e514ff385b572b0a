"""Support by answer and by mode: at a common k, against its own null, with its own verdict."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from calibration_draws import mode_verdicts, modes_of

from analysis.audit import AuditSettings, audit
from analysis.counts import Counts
from analysis.lucky import FalsePositives
from analysis.unit_null import unit_null
from analysis.verdict import Rules

FAST = AuditSettings(k=(64,), replicates=100, maj_repeats=1)


@pytest.mark.parametrize(("units", "one", "other"), [((1, 2, 3), 5, 6), ((1, 1, 4), 6, 3), ((2, 2), 3, 7)])
def test_the_null_of_one_problem_is_the_share_of_relabellings(units, one, other):
    label = np.concatenate([np.full(c, i) for i, c in enumerate(units)] + [np.full(one + other - sum(units), -1)])
    count = np.zeros(len(units) + 1)
    for chosen in combinations(range(one + other), one):
        mine = np.isin(np.arange(one + other), chosen)
        count[sum(mine[label == i].all() for i in range(len(units)))] += 1
    share = count / count.sum()
    base = np.array(units)  # all of them on the base's side
    full = [np.full(len(units), n) for n in (one, other)]
    null = unit_null(np.zeros(len(units), dtype=int), Counts(full[0], base), tuned=Counts(full[1], 0 * base))
    assert null.shrunk.all.expected == pytest.approx(share @ np.arange(len(share)))
    assert null.shrunk.all.p == pytest.approx(share[len(units)], abs=1e-12)
    assert null.shrunk.all.observed == len(units) and null.expanded.all.observed == 0


def test_problems_are_independent_and_convolve():
    four = np.full(4, 2)
    null = unit_null(np.array([0, 0, 1, 1]), Counts(four, np.ones(4, int)), tuned=Counts(four, np.zeros(4, int)))
    one = unit_null(np.array([0, 0]), Counts(four[:2], np.ones(2, int)), tuned=Counts(four[:2], np.zeros(2, int)))
    assert null.shrunk.all.p == pytest.approx(one.shrunk.all.p**2)


def test_one_model_drawn_twice_is_not_called_changed_by_mode_whatever_the_draws():
    for n in ((64, 64), (256, 64)):
        called, srr, ndr, srr_k, ndr_k = mode_verdicts(
            12, np.random.default_rng(0), shape="U-shaped Beta(.2, .2)", problems=40, n=n
        )
        assert not called.missed
        assert srr_k.share + ndr_k.share == pytest.approx(1, abs=0.06)  # equal models: as much is lost as is gained
        assert n[0] == n[1] or srr.share + ndr.share < 0.9  # where more draws see more, the raw counts say "lost"


def sides(lost):
    rng = np.random.default_rng(3)
    p = rng.beta(0.8, 0.5, 60)
    share = rng.dirichlet(np.ones(6), 60)
    less = share * np.where(np.arange(6) < 2, 1 - lost, 1.0)
    return modes_of(p, share, n=64, rng=rng), modes_of(p, less / less.sum(axis=1, keepdims=True), n=64, rng=rng)


def test_lost_modes_are_found_where_every_problem_is_still_solved():
    document = audit(*sides(lost=1.0), settings=FAST)
    block = document["benchmarks"]["b"]
    assert block["verdict"] != "shrank" and block["modes"]["verdict"] in ("shrank", "traded")
    assert block["modes"]["null"]["observed_shrunk"] > 2 * block["modes"]["null"]["expected_shrunk"]
    assert f"{block['modes']['verdict']} within 64 draws. A model" in block["modes"]["evidence"]
    assert block["modes"]["k"] == 64
    same = audit(*sides(lost=0.0), settings=FAST)["benchmarks"]["b"]["modes"]
    assert same["verdict"] in ("held", "inconclusive") and same["upper_loss"] < block["modes"]["upper_loss"]


def test_no_word_by_unit_is_said_where_wrong_answers_are_accepted():
    lenient = (FalsePositives(0.01), FalsePositives(0.0))
    settings = AuditSettings(k=(64,), replicates=100, maj_repeats=1, false_positives=lenient)
    modes = audit(*sides(lost=1.0), settings=settings)["benchmarks"]["b"]["modes"]
    assert modes["verdict"] is modes["null"] is None and "false-positive" in modes["why_no_null"]


def test_verdicts_by_unit_share_their_level_over_benchmarks():
    base, tuned = sides(lost=0.3)
    names = [f"b{i % 3}" for i in range(60)]
    order = np.argsort(names, kind="stable")
    for side in (base, tuned):
        side.benchmarks = names
    base = base.subset(order)
    tuned = tuned.subset(order)
    found = audit(base, tuned, settings=FAST)["benchmarks"]
    for name in ("b0", "b1", "b2"):
        modes = found[name]["modes"]
        assert modes["p_loss"] >= modes["null"]["p_shrunk"]
        assert (modes["verdict"] in ("shrank", "traded")) == (modes["p_loss"] <= Rules().level)
    assert found["all"]["modes"]["p_loss"] == found["all"]["modes"]["null"]["p_shrunk"]
