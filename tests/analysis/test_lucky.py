"""Lucky guesses: false positives of the verifier, given as a rate or as a graded sample."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.__main__ import main
from analysis.counts import Counts
from analysis.errors import InputError
from analysis.lucky import FalsePositives, null_above, read_rate, tipping_points, tipping_words, verdicts_at_least
from analysis.null import exact_null
from analysis.verdict import DEFAULT_RULES, judge, judge_counts

PAIR = str(Path(__file__).parents[2] / "examples" / "simplerl_math500.csv")


def drawn(p, rate, n, rng):
    return Counts(np.full(len(p), n), rng.binomial(n, p + (1 - p) * rate))


def test_equal_models_under_unequal_verifiers_are_not_called_changed():
    rng = np.random.default_rng(0)
    rates = (0.003, 0.001)
    blind = 0
    wrong = 0
    for _ in range(8):
        p = np.where(rng.random(500) < 0.3, 0.0, 10 ** rng.uniform(-5, 0, 500))
        base, tuned = (drawn(p, rate, 128, rng) for rate in rates)
        blind += judge_counts(base, tuned).verdict == "shrank"
        null = null_above(base, tuned, rates=rates, rules=DEFAULT_RULES)
        wrong += judge(null, 500).verdict in ("expanded", "shrank", "traded")
    assert blind >= 7 and wrong == 0


def test_a_true_loss_is_still_found_above_the_rate():
    rng = np.random.default_rng(1)
    p = np.r_[np.zeros(100), np.full(20, 0.3), np.full(100, 0.8)]
    base = drawn(p, 0.003, 128, rng)
    tuned = drawn(np.where(p == 0.3, 0.0, p), 0.001, 128, rng)
    null = null_above(base, tuned, rates=(0.003, 0.001), rules=DEFAULT_RULES)
    assert judge(null, 220).verdict == "shrank" and null.shrunk.all.observed == 20


def test_without_a_rate_it_is_the_plain_null():
    base = Counts(np.array([16, 16]), np.array([0, 5]))
    tuned = Counts(np.array([16, 16]), np.array([4, 5]))
    assert null_above(base, tuned, rates=(0.0, 0.0), rules=DEFAULT_RULES) == exact_null(base, tuned)


def test_single_lucky_draws_vanish_from_the_table_and_tip_the_verdict():
    base = Counts(np.full(200, 128), np.r_[np.ones(30, int), np.full(170, 90)])
    tuned = Counts(np.full(200, 128), np.r_[np.zeros(30, int), np.full(170, 90)])
    rows = verdicts_at_least(base, tuned, rules=DEFAULT_RULES)
    assert [row["at_least"] for row in rows] == [1, 2, 3, 5, 10]
    assert [row["verdict"] for row in rows] == ["shrank", "held", "held", "held", "held"]
    tipping = tipping_points(base, tuned, rates=(0.0, 0.0), rules=DEFAULT_RULES)
    assert 0 < tipping["base"]["rate"] < 0.01 and tipping["base"]["verdict"] != "shrank"


def test_a_tipping_rate_says_how_many_draws_it_is_and_what_it_asks_for():
    # at the edge, with one correct draw of each of 30 problems, it is far below one accepted draw
    for hits, few, needs in ((1, True, 1), (10, False, 5)):
        base, tuned = (Counts(np.full(200, 128), np.r_[np.full(30, c), np.full(170, 90)]) for c in (hits, 0))
        tipping = tipping_points(base, tuned, rates=(0.0, 0.0), rules=DEFAULT_RULES)
        found = tipping["base"]
        assert tipping["word"] == "shrank" and (found["draws"] < 1) is few and found["needs"] >= needs
        assert found["draws"] == pytest.approx(found["rate"] * (200 * 128 - 30 * hits - 170 * 90))
        said = tipping_words(tipping, verdict="inconclusive")
        assert "(these problems alone: shrank)" in said and "lower limits" in said
        assert f"({found['draws']:.2g} of them here" in said and ("needs" in said) is not few


def test_the_tipping_rate_is_the_smallest_that_changes_the_word():
    base, tuned = (Counts(np.full(200, 128), np.r_[np.full(30, hits), np.full(170, 90)]) for hits in (10, 0))
    rate = tipping_points(base, tuned, rates=(0.0, 0.0), rules=DEFAULT_RULES)["base"]["rate"]
    words = [
        judge(null_above(base, tuned, rates=(tried, 0.0), rules=DEFAULT_RULES), 200).verdict
        for tried in (0.9 * rate, rate)
    ]
    assert words == ["shrank", "inconclusive"] and 0.001 < rate < 0.05


def test_the_rate_of_a_graded_sample():
    graded = FalsePositives(None, judged_correct=200, false_accepts=4, judged_wrong=100, false_rejects=2)
    rate = graded.of(Counts(np.array([100]), np.array([40])))
    plain = 0.4 * 0.02 / (0.4 * 0.02 + 0.6 * 0.98)  # wrong and accepted, of all that is wrong
    assert plain < rate < 3.5 * plain
    assert read_rate("0.01") == FalsePositives(0.01)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no json", "not JSON"),
        ("[1]", "no object"),
        ('{"judged_correct": 5}', "false_accepts is None"),
        ('{"judged_correct": 5, "false_accepts": 9, "judged_wrong": 1, "false_rejects": 0}', "9 of judged_correct = 5"),
        (
            '{"judged_correct": 5, "false_accepts": 1, "judged_wrong": 1, "false_rejects": 0, "verifier": 7}',
            "verifier is 7",
        ),
        ('{"judged_correct": 0, "false_accepts": 0, "judged_wrong": 1, "false_rejects": 0}', "graded draws"),
    ],
)
def test_bad_graded_samples_are_refused(tmp_path, content, said):
    path = tmp_path / "graded.json"
    path.write_text(content)
    with pytest.raises(InputError, match=said):
        read_rate(str(path))


def test_the_command_takes_rates_and_refuses_nonsense_in_one_line(tmp_path, capsys):
    graded = tmp_path / "graded.json"
    counts = {"judged_correct": 400, "false_accepts": 1, "judged_wrong": 100, "false_rejects": 0}
    graded.write_text(json.dumps(counts | {"verifier": "math-verify 0.7", "drawn": "at random"}))
    arguments = ["audit", "--base", PAIR + "::base", "--tuned", PAIR + "::simplerl", "--no-report"]
    arguments += ["--replicates", "100", "--k", "1", "--out", str(tmp_path / "out"), "--false-positive-rate"]
    assert main([*arguments, str(graded), "0.001"]) == 0
    document = json.loads((tmp_path / "out" / "audit.json").read_text())
    found = document["benchmarks"]["all"]["lucky_guesses"]
    assert found["rates"]["tuned"] == 0.001 and 0 < found["rates"]["base"] < 0.1 and len(found["at_least"]) == 5
    said = document["benchmarks"]["all"]["evidence"]
    assert "1 of 400 graded accepted draws were wrong; verifier math-verify 0.7; drawn at random" in said
    assert "a problem counts as solved by the tuned model with at least 4 correct draws" in said
    assert document["settings"]["false_positives"][0]["drawn"] == "at random"
    capsys.readouterr()
    for bad in (["2"], ["nowhere.json"], ["0", "0", "0"]):
        assert main([*arguments, *bad]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "--false-positive-rate" in error
