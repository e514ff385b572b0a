"""The audit as a user meets it: one document from real and made-up pairs, edge cases, and the commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.audit import AuditSettings, audit
from analysis.certified import Bounds, certify, default_eps, further_draws, ladder
from analysis.errors import InputError
from analysis.null import Direction, Null, Tier
from analysis.readers import align, load
from analysis.records import ModelSamples
from analysis.verdict import Rules, judge, judge_all

PAIR = str(Path(__file__).parents[2] / "examples" / "simplerl_math500.csv")
FAST = AuditSettings(replicates=200, maj_repeats=20)
KEYS = (
    "problems support certified mcnemar_p null pass_at_k crossing_k delta_se entropy perplexity verdict evidence"
).split()


def model(n, correct, name="m", benchmarks=None, **more):
    correct = np.asarray(correct)
    n = np.broadcast_to(np.asarray(n), correct.shape).copy()
    ids = [str(i) for i in range(len(correct))]
    return ModelSamples(
        name,
        ids,
        benchmarks or ["b"] * len(ids),
        n,
        correct,
        more.pop("excluded", np.zeros(len(ids), dtype=int)),
        **more,
    )


@pytest.fixture(scope="module")
def real():
    base, tuned, warnings = align(load([PAIR + "::base"]), load([PAIR + "::simplerl"]))
    return audit(base, tuned, settings=AuditSettings(replicates=500), warnings=warnings)


def test_the_real_pair(real):
    json.dumps(real, allow_nan=False)
    (name,) = set(real["benchmarks"]) - {"all"}
    section = real["benchmarks"][name]
    assert not set(KEYS) - set(section) and {"benchmarks", "inputs", "settings", "versions", "seed"} <= set(real)
    support = section["support"]
    assert [support[key] for key in ("k", "preserved", "shrunk", "expanded", "out")] == [128, 462, 19, 3, 16]
    assert support["srr"] == pytest.approx(462 / 481) and support["intervals"]["ndr"]["low"] > 0
    assert section["null"]["expected_shrunk"] == pytest.approx(5.19, abs=0.005)
    assert (
        section["verdict"] == "traded"
        and "19 were solved by the base only" in section["evidence"]
        and "5.19" in section["evidence"]
    )
    assert section["crossing_k"]["low"] <= section["crossing_k"]["value"] == 14 <= section["crossing_k"]["high"]
    assert (
        section["crossing_detail"]["tuned_significantly_ahead"]
        and section["crossing_detail"]["base_significantly_ahead"]
    )
    assert (
        section["delta_se"] is None and section["entropy"] is None and section["perplexity"] is None
    )  # n is 128, and there are counts only
    assert list(section["pass_at_k"]["base"]) == ["1", "2", "4", "8", "16", "32", "64", "128"]
    assert section["pass_at_k"]["base"]["128"]["value"] == pytest.approx(0.962) and section["pass_at_k"]["tuned"][
        "128"
    ]["value"] == pytest.approx(0.93)
    assert section["mcnemar_p"] == pytest.approx(0.000855, abs=1e-6)
    cover = section["metrics"]["cover_at"]["0.5"]["base"]
    assert cover["low"] < cover["value"] < cover["high"]
    (flip,) = section["suspicious_flips"]
    assert flip["problem_id"] == "242" and flip["tuned"]["correct"] == 126
    assert "Without the 1 suspicious flip (0 of n to nearly all, or back): the same" in section["evidence"]  # 0 to 23
    assert section["within"] == "within 128 draws" and section["verdict_detail"]["gain_fold"] == 100
    assert "gain is beyond a speed-up of 100" in section["evidence"]
    ratio = next(row["odds_ratio"] for row in real["problems_detail"] if row["problem_id"] == "242")
    assert ratio["low"] > 1000 and ratio["high"] is None
    assert real["benchmarks"]["all"]["support"] == support
    assert sum(row["category"] == "shrunk" for row in real["problems_detail"]) == 19
    certified = section["certified"]
    assert sum(certified[key] for key in ("preserved", "shrunk", "expanded", "out", "undetermined")) == 500
    undetermined = [row for row in real["problems_detail"] if row["certified"] == "undetermined"]
    assert certified["plan"]["total_base"] == sum(row["further_draws"]["base"] or 0 for row in undetermined)
    halves = section["split_halves"]
    assert halves["base_then_solves"] == pytest.approx(7.28, abs=0.01)  # solved 0 of 64, and yet solved in the other 64


def test_the_same_seed_gives_the_same_document_and_fixed_intervals_are_narrower(real):
    base, tuned, warnings = align(load([PAIR + "::base"]), load([PAIR + "::simplerl"]))
    again = audit(base, tuned, settings=AuditSettings(replicates=500), warnings=warnings)
    assert again == real
    section = real["benchmarks"]["all"]
    for k in ("1", "16"):
        fixed, population = section["pass_at_k_fixed_problems"]["base"][k], section["pass_at_k"]["base"][k]
        assert fixed["high"] - fixed["low"] < 0.6 * (population["high"] - population["low"])


def estimates(value, path=""):
    """Every {"value", "low", "high"} of a document, with its place."""
    if isinstance(value, dict):
        if "value" in value:
            yield path, value
        for key, inner in value.items():
            yield from estimates(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from estimates(inner, f"{path}[{i}]")


def test_every_estimate_has_an_interval_that_holds_it(real):
    section = {key: value for key, value in real["benchmarks"]["all"].items() if key != "curves"}
    found = dict(estimates(section))
    assert len(found) > 200
    for path, entry in found.items():
        if path.startswith(".efficiency") and entry["high"] is None:  # beyond the draws there are
            continue
        assert entry["low"] - 1e-9 <= entry["value"] <= entry["high"] + 1e-9, path
    counts = {key: section["support"]["intervals"][key] for key in ("preserved", "shrunk", "expanded", "out")}
    assert all(counts[key]["value"] == pytest.approx(section["support"][key]) for key in counts)
    assert (
        0 < counts["expanded"]["low"] < 1 and 8 < counts["expanded"]["high"] < 9
    )  # Clopper-Pearson: 0.12 % and 1.74 % of 500
    assert section["metrics"]["bayes_at_n"]["base"]["low"] < section["metrics"]["bayes_at_n"]["base"]["mu"]
    gain = section["split_halves"]["intervals"]["corrected_loss"]
    assert (
        gain["low"] > 0 and gain["value"] == section["split_halves"]["corrected_loss"]
    )  # lost beyond what selection explains
    nothing = audit(model(8, [4] * 100), model(8, [4] * 100), settings=FAST)["benchmarks"]["b"]["support"]["intervals"]
    assert nothing["expanded"]["low"] == 0 and nothing["expanded"]["high"] == pytest.approx(
        100 * (1 - 0.025 ** (1 / 100))
    )


@pytest.mark.parametrize(
    ("base", "tuned", "verdict"),
    [
        (model(8, [3]), model(8, [5]), "inconclusive"),  # one problem
        (model(8, [8] * 400), model(8, [8] * 400), "held"),  # all solved
        (model(8, [0] * 400), model(8, [0] * 400), "held"),  # none solved
        (model(1, [1, 0, 1]), model(1, [0, 0, 1]), "inconclusive"),  # one draw
        (model(64, [0] * 20), model(64, [0] * 10 + [40] * 10), "expanded"),
        (model(64, [40] * 10 + [0] * 10), model(64, [0] * 10 + [40] * 10), "traded"),
    ],
)
def test_edges_give_a_document_and_a_verdict(base, tuned, verdict):
    document = audit(base, tuned, settings=FAST)
    json.dumps(document, allow_nan=False)
    section = document["benchmarks"]["b"]
    assert section["verdict"] == verdict
    for side in ("base", "tuned", "difference"):
        for entry in section["pass_at_k"][side].values():
            assert entry["low"] <= entry["value"] + 1e-9 and entry["value"] - 1e-9 <= entry["high"]


def test_what_cannot_be_said_is_null_and_never_zero():
    document = audit(model(8, [0] * 30), model(8, [0] * 30), settings=FAST)["benchmarks"]["b"]
    assert (
        all(document["support"][key] is None for key in ("srr", "ndr", "sds", "nscr"))
        and document["crossing_k"] is None
    )
    assert document["null"]["p_shrunk"] == 1.0 and document["mcnemar_p"] == 1.0
    assert (
        audit(model(1, [1, 0]), model(1, [0, 0]), settings=FAST)["benchmarks"]["b"]["certified"] is None
    )  # no eps below 1 can be certified


def test_unequal_n():
    base, tuned = model([40, 64, 64], [1, 0, 64]), model([16, 20, 16], [0, 5, 16])
    section = audit(base, tuned, settings=FAST)["benchmarks"]["b"]
    assert section["mcnemar_p"] is None and "differs" in section["mcnemar_why_null"]
    assert section["support"]["k"] == 16 and section["support"]["shrunk"] == pytest.approx(
        16 / 40
    )  # 1 of 40 is among 16 that often
    assert not section["support"]["whole_numbers"] and section["null"]["observed_shrunk"] == 1
    with pytest.raises(InputError, match="k = 32 is above n = 16"):
        audit(base, tuned, settings=AuditSettings(k=(1, 32)))


@pytest.mark.parametrize(
    "bad",
    [
        {"k": (0,)},
        {"k": ()},
        {"eps": 0.0},
        {"eps": 1.5},
        {"confidence": 1.0},
        {"replicates": 3},
    ],
    ids=lambda bad: next(iter(bad)),
)
def test_settings_without_meaning_are_refused(bad):
    with pytest.raises(InputError):
        AuditSettings(**bad)


@pytest.mark.parametrize("bad", [{"level": 0.0}, {"margin": 2.0}, {"bound": 1.0}], ids=lambda bad: next(iter(bad)))
def test_rules_without_meaning_are_refused(bad):
    with pytest.raises(InputError):
        Rules(**bad)


def test_several_benchmarks_are_judged_with_holm_and_pooled_alone():
    none = Tier(0, 0.0, 1.0)
    nothing = Direction(Tier(0, 0.5, 1.0), none, 1.0)
    loss = Direction(Tier(4, 0.5, 0.02), none, 0.02)
    weak = Null(loss, nothing)  # p = .02: a loss when it is the only question, not when it is one of five
    quiet = Null(Direction(Tier(0, 0.5, 0.9), none, 0.9), nothing)
    assert judge(weak, 500).verdict == "shrank"
    assert [j.verdict for j in judge_all([weak] + [quiet] * 4, [500] * 5)] == ["held"] * 5
    labels = ["x"] * 30 + ["y"] * 30
    base, tuned = model(64, [0] * 30 + [20] * 30, benchmarks=labels), model(64, [20] * 30 + [0] * 30, benchmarks=labels)
    document = audit(base, tuned, settings=FAST)
    assert {name: section["verdict"] for name, section in document["benchmarks"].items()} == {
        "x": "expanded",
        "y": "shrank",
        "all": "traded",
    }
    assert document["benchmarks"]["all"]["problems"] == 60 and "after Holm" in document["benchmarks"]["x"]["evidence"]
    with pytest.raises(InputError, match="rename"):
        audit(model(4, [1], benchmarks=["all"]), model(4, [1], benchmarks=["all"]))


def test_draws_without_evidence_are_also_read_as_wrong():
    tuned = model(16, [0] * 40, excluded=np.full(40, 1000))
    section = audit(model(16, [2] * 40), tuned, settings=FAST)["benchmarks"]["b"]
    assert section["verdict"] == "shrank"
    readings = section["verdict_detail"]["other_readings"]
    assert len(readings) == 3 and "40000 draws" in next(iter(readings)) and next(iter(readings.values())) == "shrank"
    # the worst case for each direction: the tuned model's undecided draws as correct, and as wrong
    assert readings["with those of the base as wrong and those of the tuned model as correct"] != "shrank"
    assert readings["with those of the base as correct and those of the tuned model as wrong"] == "shrank"
    few = audit(model(16, [0] * 40), model(16, [1] * 40, excluded=np.full(40, 3000)), settings=FAST)["benchmarks"]["b"]
    assert few["verdict"] == "expanded" and "inconclusive" in few["verdict_detail"]["other_readings"].values()


def test_draws_whose_reasoning_was_judged_are_a_reading_of_their_own():
    base = model(32, [0] * 60, cot_correct=np.zeros(60, dtype=int))
    tuned = model(32, [20] * 60, cot_correct=np.zeros(60, dtype=int))
    section = audit(base, tuned, settings=FAST)["benchmarks"]["b"]
    assert section["verdict"] == "expanded"
    readings = section["verdict_detail"]["other_readings"]
    assert readings["with draws whose reasoning the judge found correct as the only correct ones"] == "inconclusive"


def test_a_redraw_of_the_base_stands_beside_the_tuned_model():
    rng = np.random.default_rng(0)
    p = rng.beta(0.2, 2, 300)
    base, redraw = model(64, rng.binomial(64, p), "base"), model(64, rng.binomial(64, p), "redraw")
    tuned = model(64, rng.binomial(64, np.where(p < 0.2, 0, p)), "tuned")
    section = audit(base, tuned, redraw=redraw, settings=FAST)["benchmarks"]["b"]
    assert section["redraw"]["p_shrunk"] > 0.01 and section["null"]["p_shrunk"] < 1e-6
    assert section["redraw"]["shrunk"] == section["redraw"]["observed_shrunk"]


def test_certified_categories_at_the_edge_of_what_n_can_say():
    n, problems = 1000, 100
    eps = default_eps(n, problems)
    assert eps == pytest.approx(np.log(2000) / 1000)
    sides = (
        (np.full(problems, n), np.r_[np.zeros(50, int), np.full(50, 200)]),
        (np.full(problems, n), np.r_[np.zeros(25, int), np.full(50, 200), np.zeros(25, int)]),
    )
    counts = certify(*sides, eps=eps).counts()
    assert counts == {"preserved": 25, "shrunk": 25, "expanded": 25, "out": 25, "undetermined": 0}
    assert certify(*sides, eps=3 / n).counts()["out"] == 0  # the rule of three survives no correction
    assert certify(*sides, eps=eps, hypotheses=10**6).counts()["out"] == 0
    rungs = ladder(*sides, start=eps)
    assert [round(r["eps"] / eps, 2) for r in rungs[:3]] == [0.25, 0.5, 1.0] and rungs[2]["shrunk"] == 25
    assert 0.075 < rungs[-1]["eps"] <= 0.15
    assert [round(r["eps"], 2) for r in ladder(*sides, start=0.4)] == [0.1, 0.2, 0.4]  # its own eps stands in it
    # scores say that the base can do all of them
    known = certify(*sides, eps=eps, bounds=Bounds(base=np.full(problems, 0.5))).counts()
    assert known["expanded"] == 0 and known["out"] == 0 and known["shrunk"] == 50


def test_the_sampling_plan_is_enough_and_not_idle():
    eps, problems = 0.01, 100
    for rate in (0.0, 0.002, 0.05):
        n = 100
        more = further_draws(np.array([n]), np.array([round(rate * n)]), eps=eps, confidence=0.95, problems=problems)[0]
        total = int(n + more)
        assert (
            further_draws(
                np.array([total]),
                np.array([round((round(rate * n) / n) * total)]),
                eps=eps,
                confidence=0.95,
                problems=problems,
            )[0]
            <= 0.05 * total
        )
        assert (
            further_draws(
                np.array([total // 2]),
                np.array([round((round(rate * n) / n) * (total // 2))]),
                eps=eps,
                confidence=0.95,
                problems=problems,
            )[0]
            > 0
        )
    assert np.isinf(
        further_draws(np.array([100]), np.array([1]), eps=eps, confidence=0.95, problems=problems)[0]
    )  # at eps itself no number is enough
