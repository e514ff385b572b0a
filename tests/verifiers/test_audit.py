"""Drawing verdicts for a person, and what the judgements say about the verifier."""

from __future__ import annotations

import base64
import json
import random

import pytest

from explore_rl.cli import main
from explore_rl.verifiers import audit
from explore_rl.verifiers.audit import ACCEPTED, ACCEPTED_FEW, UNREAD, WRONG, WRONG_FEW, Rate, Stratum


def test_what_decides_is_drawn_first_and_all_strata_are_seen():
    verdicts = [("a", "correct")] * 3 + [("a", "wrong")] * 97 + [("b", "correct")] * 60 + [("b", "wrong")] * 30
    verdicts += [("b", "no_answer")] * 10 + [("b", "error"), ("b", "timeout")]
    drawn = audit.draw(verdicts, 23)
    counts = {name: sum(n == name for _, n, _ in drawn) for name in audit.ORDER}
    assert counts == {ACCEPTED_FEW: 3, ACCEPTED: 5, WRONG_FEW: 5, WRONG: 5, UNREAD: 5}
    for place, name, size in drawn:
        problem, verdict = verdicts[place]
        assert audit.stratum_of(verdict, 3 if problem == "a" else 60) == name
        assert size == {ACCEPTED_FEW: 3, ACCEPTED: 60, WRONG_FEW: 97, WRONG: 30, UNREAD: 10}[name]
    assert len({place for place, _, _ in drawn}) == 23
    assert audit.draw(verdicts, 23) == drawn != audit.draw(verdicts, 23, seed=1)
    assert len(audit.draw(verdicts, 1000)) == 200  # all that is a verdict


def test_rates_are_of_the_answers_not_of_the_verdicts():
    strata = [Stratum(ACCEPTED, True, 200, 100, 10), Stratum(WRONG, False, 800, 100, 95)]
    found = audit.rates(strata)
    # by hand: wrong and accepted 20, wrong and rejected 760; right and rejected 40, right and accepted 180
    assert found.accepted_if_wrong.rate == pytest.approx(20 / 780)
    assert found.rejected_if_right.rate == pytest.approx(40 / 220)
    for rate in (found.accepted_if_wrong, found.rejected_if_right):
        assert 0 < rate.low < rate.rate < rate.high < 1


def test_a_stratum_that_was_judged_whole_is_known():
    strata = [Stratum(ACCEPTED, True, 40, 40, 1), Stratum(WRONG, False, 60, 60, 60)]
    rate = audit.rates(strata).accepted_if_wrong
    assert rate.low == rate.rate == rate.high == pytest.approx(1 / 61)


def test_bounds_cover_the_truth():
    """300 audits of a verifier that accepts 2 % of wrong answers: the 95 % bound misses at most as often as it may."""
    generator = random.Random(0)
    truth = 20 / 920  # of 1000: 80 right and accepted, 20 wrong and accepted, 900 wrong and rejected
    accepted, missed = [False] * 80 + [True] * 20, 0
    for _ in range(300):
        wrong = sum(generator.sample(accepted, 30))
        found = audit.rates([Stratum(ACCEPTED, True, 100, 30, wrong), Stratum(WRONG, False, 900, 30, 30)])
        missed += not found.accepted_if_wrong.low <= truth <= found.accepted_if_wrong.high
    assert missed <= 15


def test_how_many_more_would_do():
    strata = [Stratum(ACCEPTED, True, 10_000, 20, 0), Stratum(WRONG, False, 10_000, 20, 20)]
    more = audit.more_needed(strata, 0.01)
    assert audit.rates(strata).accepted_if_wrong.high > 0.01
    assert audit.rates(audit._scaled(strata, (40 + more) / 40)).accepted_if_wrong.high == pytest.approx(0.01, rel=0.05)
    assert audit.more_needed([Stratum(ACCEPTED, True, 10_000, 20, 10), strata[1]], 0.01) is None


def test_effective_counts_say_as_much_as_the_sample():
    for rate in (Rate(0.0, 0.0, 0.02), Rate(0.013, 0.004, 0.05), Rate(0.4, 0.2, 0.7)):
        errors, judged = audit.effective(rate)
        assert errors / judged >= rate.rate - 1e-9
        assert audit.clopper_pearson(errors, judged, level=0.95)[1] >= rate.high - 1e-4


PROBLEMS = [{"id": name, "prompt": f"{name}?", "answer": "2", "verifier": "math"} for name in ("a", "b")]


def test_from_graded_samples_to_rates(tmp_path, capsys):
    rows = (
        [("a", "correct", "2")] * 2
        + [("a", "wrong", "3")] * 18
        + [("b", "correct", "2")] * 12
        + [("b", "no_answer", "")] * 8
    )
    samples = [
        {"problem_id": p, "completion": f"\\boxed{{{a}}}", "verdict": v, "correct": v == "correct"} for p, v, a in rows
    ]
    for name, lines in (("problems", PROBLEMS), ("samples", samples)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sheet, out = tmp_path / "sheet.jsonl", tmp_path / "rates.json"
    graded = [str(tmp_path / "samples.jsonl"), "--problems", str(tmp_path / "problems.jsonl")]
    assert main(["verify", *graded, "--audit", "20", "--out", str(sheet)]) == 0
    drawn = [json.loads(line) for line in sheet.read_text().splitlines()]
    sealed = [json.loads(base64.b64decode(row["sealed"])) for row in drawn]
    assert len(drawn) == 20 and {s["stratum"] for s in sealed} == {ACCEPTED_FEW, ACCEPTED, WRONG_FEW, UNREAD}
    # whoever judges does not see the verdict, or what the verifier took for the answer
    assert not {"verdict", "stratum", "answer"} & drawn[0].keys()
    # not judged yet
    assert main(["verify", "--judged", str(sheet), "--out", str(out)]) == 2
    assert "key 'judged_correct': not judged yet, as 20 of 20 rows; expected true or false" in capsys.readouterr().err
    for row, said in zip(drawn, sealed, strict=True):
        row["judged_correct"] = said["verdict"] == "correct"
    sheet.write_text("".join(json.dumps(row) + "\n" for row in drawn))
    assert main(["verify", "--judged", str(sheet), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "P(accepted | wrong) 0.000%" in printed and "false accepts in 20 draws of a problem" in printed
    written = json.loads(out.read_text())
    assert written["false_accepts"] == 0 and written["false_rejects"] == 0 and written["verifier"] == "math"
    high = audit.clopper_pearson(0, written["judged_wrong"], level=0.95)[1]
    assert high >= written["p_accepted_if_wrong"]["high"] - 1e-4
    for arguments in (
        ["--judged", str(sheet), "--audit", "3", "--out", "x.json"],
        ["--out", "x.jsonl"],
        [*graded, "--audit", "0", "--out", "x.jsonl"],
        [*graded, "--audit", "3", "--out", "x.jsonl"],  # four kinds of verdicts
    ):
        assert main(["verify", *arguments]) == 2
