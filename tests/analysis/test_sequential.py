"""A verdict that may be looked at after every batch, and the plan of further draws that would decide it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from calibration_kit import AROUND
from calibration_looks import looks

from analysis.__main__ import main
from analysis.sequential import Bets, bets, look_at


def drawn(p, n, seed=0):
    return np.random.default_rng(seed).random((len(p), n)) < np.asarray(p)[:, None]


def test_the_stake_is_a_fair_bet_under_the_null_and_the_wealth_a_mixture():
    # all outcomes of two rounds of one problem, both sides with p = .3: the expected wealth is 1 at most
    p = 0.3
    total = 0.0
    for code in range(16):
        bits = np.array([code >> i & 1 for i in range(4)], dtype=bool)
        own, other = bits[None, :2], bits[None, 2:]
        chance = np.prod(np.where(bits, p, 1 - p))
        total += chance * np.exp(bets(own, other, rounds=np.array([2])).wealth())
    assert total == pytest.approx(1.0)
    # ten problems with five wins each: more than 30,000 : 1 for a gain, and still beyond a speed-up of 4
    many = Bets(np.full(10, 5), np.zeros(10, dtype=bool))
    assert many.wealth() > np.log(3e4) > many.wealth(4.0) and Bets(many.wins * 4, many.lost).wealth(4.0) > np.log(40)


def test_nothing_is_bet_on_what_the_base_has_solved_or_before_the_start():
    own = np.array([[1, 0, 1, 1]], bool)
    other = np.array([[0, 1, 0, 0]], bool)
    assert bets(own, other, rounds=np.array([4])).wins.tolist() == [1]
    assert bets(own, other, rounds=np.array([4])).lost.tolist() == [True]
    late = bets(own, other, rounds=np.array([4]), start=2)
    assert late.wins.tolist() == [0] and late.lost.tolist() == [False]


def test_looking_after_every_batch_does_not_inflate_false_words_as_it_does_for_the_exact_test():
    lines = {line.column: line for line in looks(14, np.random.default_rng(1), shape=AROUND, problems=100)}
    assert not lines["false words"].missed and lines["false words"].at_most == 0.05
    assert lines["exact test, looked at as often"].share > 0.1


def test_gains_and_losses_are_found_and_what_was_said_stands():
    p = np.full(200, 0.5)
    gained = np.r_[np.full(8, 0.3), p[8:]]
    base = drawn(np.r_[np.zeros(8), p[8:]], 64, seed=1)
    tuned = drawn(gained, 64, seed=2)
    rounds = np.full(200, 64)
    assert look_at(base, tuned, rounds=rounds).verdict == "expanded"
    assert look_at(tuned, base, rounds=rounds).verdict == "shrank"
    early = look_at(base, tuned, rounds=np.full(200, 16))
    assert early.verdict == "inconclusive"
    assert look_at(base, tuned, rounds=np.full(200, 16), said_before=(True, False)).verdict == "expanded"


def test_held_needs_enough_problems_and_is_read_at_powers_of_two():
    p = np.full(600, 0.6)
    base, tuned = drawn(p, 48, seed=3), drawn(p, 48, seed=4)
    found = look_at(base, tuned, rounds=np.full(600, 48))
    assert found.verdict == "held" and found.upper_gain == pytest.approx(1 - (0.05 / 42) ** (1 / 600), rel=1e-6)
    assert look_at(base[:100], tuned[:100], rounds=np.full(100, 48)).verdict == "inconclusive"


def write(path, table, **columns):
    rows = [
        {"problem_id": f"p{i}", "sample": j, "correct": bool(x), **{k: v[j] for k, v in columns.items()}}
        for i, row in enumerate(table)
        for j, x in enumerate(row)
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def test_the_plan_names_the_open_problems_and_what_further_draws_would_decide(tmp_path, capsys):
    p = np.r_[np.zeros(6), np.full(54, 0.6)]
    base = write(tmp_path / "b.jsonl", drawn(p, 24, seed=5))
    tuned = write(tmp_path / "t.jsonl", drawn(np.r_[np.full(3, 0.25), np.zeros(3), p[6:]], 24, seed=6))
    assert main(["plan", "--base", base, "--tuned", tuned, "--within", "64", "--out", str(tmp_path / "plan.json")]) == 0
    found = json.loads((tmp_path / "plan.json").read_text())
    assert found["verdict"] == "inconclusive" and found["needed"] == 40 and found["evidence"]["gain"] > 1
    assert {row["problem_id"] for row in found["open_problems"][:3]} == {"p0", "p1", "p2"}
    assert len(found["open_problems"]) == 6
    assert [f["further_draws_a_side"] for f in found["futures"]] == [6 * 24, 6 * 72, 6 * 168]
    assert found["futures"][-1]["words"]["expanded"] > 0.5
    out = capsys.readouterr().out
    assert "54 problems are solved by both sides and need no further draw; 6 are open." in out
    assert "a word needs 40 : 1, whenever you look" in out


@pytest.mark.parametrize("given, message", [("counts", "holds counts; looks between draws need samples"), ("tied", "")])
def test_what_has_no_order_or_is_tied_is_refused(tmp_path, capsys, given, message):
    if given == "counts":
        path = tmp_path / "counts.csv"
        path.write_text("problem_id,n,correct\n" + "\n".join(f"{i},16,{i % 3}" for i in range(30)))
        paths = [str(path), str(tmp_path / "other.csv")]
        (tmp_path / "other.csv").write_text(path.read_text().replace(",1\n", ",2\n"))
    else:
        seeds = np.repeat(np.arange(4), 8)
        rates = np.random.default_rng(7).random((60, 4)) < 0.5
        paths = [write(tmp_path / f"{i}.jsonl", np.repeat(rates, 8, axis=1), seed=seeds.tolist()) for i in range(2)]
        message = "draws of one seed agree more than chance allows"
    assert main(["plan", "--base", paths[0], "--tuned", paths[1]]) == 2
    assert message in capsys.readouterr().err
