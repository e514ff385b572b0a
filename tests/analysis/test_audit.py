"""The audit as a user meets it: one document from real and made-up pairs, edge cases, and the commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.__main__ import main
from analysis.audit import AuditSettings, audit
from analysis.certified import Bounds, certify, default_eps, further_draws, ladder
from analysis.errors import InputError
from analysis.null import Direction, Null, Tier
from analysis.readers import align, load, load_scores
from analysis.records import ModelSamples, write_samples, write_scores
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
    assert set(section["verdict_detail"]["other_readings"].values()) == {"shrank"}  # the flip decides the gain
    assert section["within"] == "within 128 draws" and section["verdict_detail"]["gain_fold"] == 4
    assert "gain is beyond a speed-up of 4" in section["evidence"]
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


DRAWS = {  # problem -> answer, whether it is correct, tokens
    "1": [("4", True, 10), ("5", False, 20), (None, False, 30), ("4", True, 10)],
    "2": [("7", False, 10)] * 4,
}
SAMPLES = [
    {
        "problem_id": problem,
        "sample": i,
        "correct": correct,
        "answer": answer,
        "mode": answer,
        "num_tokens": tokens,
        "logprob": -0.1 * tokens,
        "token_entropy": 0.3,
        "cot_correct": correct and i == 0,
        "temperature": 0.6,
        "top_p": 0.95,
        "model": "org/base",
    }
    for problem, rows in DRAWS.items()
    for i, (answer, correct, tokens) in enumerate(rows)
]


def test_samples_give_entropy_perplexity_votes_and_support_by_answer(tmp_path):
    write_samples(tmp_path / "base.parquet", SAMPLES)
    write_samples(
        tmp_path / "tuned.parquet",
        [
            {**row, "model": "tuned", "num_tokens": 2 * row["num_tokens"], "logprob": -0.1 * row["num_tokens"]}
            for row in SAMPLES
        ],
    )
    base, tuned, _ = align(load([str(tmp_path / "base.parquet")]), load([str(tmp_path / "tuned.parquet")]))
    section = audit(base, tuned, settings=FAST)["benchmarks"]["default"]
    assert section["entropy"]["answer"]["base"]["value"] == pytest.approx(
        (0.5 * np.log(2) + 0.5 * np.log(4)) / 2
    )  # no answer is a class
    assert section["entropy"]["token"]["tuned"]["value"] == pytest.approx(0.3)
    ppl = {(row["under"], row["category"]): row["value"] for row in section["perplexity"]["rows"]}
    assert ppl == pytest.approx(
        {
            ("base", "preserved"): np.exp(0.1),
            ("base", "out"): np.exp(0.1),
            ("tuned", "preserved"): np.exp(0.05),
            ("tuned", "out"): np.exp(0.05),
        }
    )
    assert section["metrics"]["maj_at_k"]["4"]["base"]["value"] == pytest.approx(0.5)
    assert section["metrics"]["cot_pass_at_k"]["1"]["base"]["value"] == pytest.approx(1 / 8)
    assert {k: entry["value"] for k, entry in section["pass_at_first_k"]["base"].items()} == {
        "1": 0.5,
        "2": 0.5,
        "4": 0.5,
    }
    assert section["answers"]["intervals"]["expanded"]["low"] == 0 < section["answers"]["intervals"]["expanded"]["high"]
    assert section["num_tokens"]["difference"]["value"] == pytest.approx(13.75)
    assert section["perplexity"]["rows"][0]["low"] is None  # one problem says nothing of others
    assert section["answers"]["preserved"] == 1 and section["answers"]["out"] is None
    assert section["pass_at_tokens"]["mean_tokens"] == {"base": 13.75, "tuned": 27.5}
    assert (
        section["pass_at_tokens"]["base"]["value"][-1] > section["pass_at_tokens"]["tuned"]["value"][-1]
    )  # equal pass@k at twice the price


def test_scores_certify_only_under_the_samples_own_distribution(tmp_path):
    write_samples(tmp_path / "base.parquet", SAMPLES)
    write_samples(tmp_path / "tuned.parquet", [{**row, "model": "tuned"} for row in SAMPLES])
    score = {
        "problem_id": "2",
        "model": "base",
        "logprob": np.log(0.45),
        "num_tokens": 5,
        "correct": True,
        "temperature": 0.6,
        "top_p": 0.95,
    }
    rows = [{**score, "sequence": s} for s in ("a", "a", "b")]  # a twice is one sequence: .45 + .45
    write_scores(tmp_path / "good.parquet", rows)
    write_scores(tmp_path / "hot.parquet", [{**row, "temperature": 1.0} for row in rows])
    base, tuned, _ = align(load([str(tmp_path / "base.parquet")]), load([str(tmp_path / "tuned.parquet")]))
    good = audit(
        base,
        tuned,
        scores=load_scores([str(tmp_path / "good.parquet")]),
        settings=AuditSettings(eps=0.8, replicates=200),
    )
    assert good["benchmarks"]["default"]["certified"]["from_scores"] == {"base": 1, "tuned": None}
    assert any("no score is by tuned" in line for line in good["warnings"])
    hot = audit(
        base,
        tuned,
        scores=load_scores([str(tmp_path / "hot.parquet")]),
        settings=AuditSettings(eps=0.8, replicates=200),
    )
    assert hot["benchmarks"]["default"]["certified"]["from_scores"]["base"] is None
    assert any("were not taken at its samples' temperature of 0.6" in line for line in hot["warnings"])
    row = next(r for r in hot["benchmarks"]["default"]["perplexity"]["rows"] if r["temperature"] == 1.0)
    assert row["category"] == "out" and row["value"] == pytest.approx(
        0.45 ** (-1 / 5)
    )  # still good for perplexity, with its temperature beside it


def test_the_command_writes_the_document_and_refuses_in_one_line(tmp_path, capsys):
    arguments = [
        "audit",
        "--base",
        PAIR + "::base",
        "--tuned",
        PAIR + "::simplerl",
        "--replicates",
        "200",
        "--no-report",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(arguments) == 0
    assert "traded" in capsys.readouterr().out
    document = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert document["inputs"]["base"][0]["sha256"] and document["settings"]["replicates"] == 200
    assert main([*arguments, "--k", "1", "4096"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "k = 4096 is above n = 128" in error


def test_compare_gives_every_run_its_verdict_and_says_that_one_run_is_few(tmp_path, capsys):
    out = tmp_path / "board"
    arguments = [
        "compare",
        "--base",
        PAIR + "::base",
        "--method",
        "simplerl",
        PAIR + "::simplerl",
        "--method",
        "none",
        PAIR + "::base",
    ]
    assert main([*arguments, "--replicates", "200", "--no-report", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "simplerl, none have one run: no method has two" in said and "simplerl on default: traded\n" in said
    document = json.loads((out / "compare.json").read_text())
    assert document["methods"]["simplerl"]["per_run"]["all"][0]["verdict"] == "traded"
    assert document["methods"]["simplerl"]["verdict"]["all"]["verdict"] == "traded"
    assert document["methods"]["none"]["per_run"]["all"][0]["verdict"] == "held"
    (pair,) = document["pairs"]
    row = pair["benchmarks"]["all"]["pass_at_k_difference"]["1"]
    assert row["p_over_runs"] is None and row["value"] == pytest.approx(0.613921875 - 0.779328125) and row["high"] < 0
    assert pair["benchmarks"]["all"]["verdicts_run_by_run"] == [["traded"]]  # seen from SimpleRL, the base solves more


def test_compare_takes_a_redraw_and_scores(tmp_path, capsys):
    rng = np.random.default_rng(4)
    p = np.where(np.arange(60) < 40, rng.beta(0.3, 3, 60), 0.0)
    draws = {name: rng.binomial(32, q) for name, q in (("base", p), ("again", p), ("tuned", np.clip(p + 0.2, 0, 1)))}
    for name, correct in draws.items():
        rows = [
            {
                "problem_id": str(i),
                "sample": s,
                "correct": s < c,
                "model": name.replace("again", "base"),
                "temperature": 0.6,
                "top_p": 0.95,
            }
            for i, c in enumerate(correct.tolist())
            for s in range(32)
        ]
        write_samples(tmp_path / f"{name}.parquet", rows)
    score = {
        "problem_id": "50",
        "model": "base",
        "num_tokens": 5,
        "correct": True,
        "temperature": 0.6,
        "top_p": 0.95,
        "sequence": "a",
    }
    write_scores(tmp_path / "scores.parquet", [score | {"logprob": float(np.log(0.6))}])
    file = {name: str(tmp_path / f"{name}.parquet") for name in (*draws, "scores")}
    arguments = [
        "compare",
        "--base",
        file["base"],
        "--method",
        "grpo",
        file["tuned"],
        "--scores",
        file["scores"],
        "--replicates",
        "100",
    ]
    assert main([*arguments, "--redraw", file["again"], "--out", str(tmp_path / "out")]) == 0
    assert "scores do not certify the tuned's support" in capsys.readouterr().out  # the tuned model has none
    document = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert (
        document["redraw"]["files"][0]["path"] == file["again"]
        and document["scores"]["files"][0]["path"] == file["scores"]
    )
    block = document["audits"]["grpo"][0]["benchmarks"]["all"]
    expected = ((draws["base"] > 0) & (draws["again"] == 0)).sum()
    assert block["redraw"]["shrunk"] == expected == block["redraw"]["intervals"]["shrunk"]["value"]
    assert block["certified"]["from_scores"] == {"base": 1, "tuned": None}
    assert "base drawn again" in (tmp_path / "out" / "report.html").read_text()
    assert main([*arguments, "--redraw", file["base"], "--out", str(tmp_path / "out")]) == 2
    assert "second, independent draw" in capsys.readouterr().err


def test_sides_of_one_name_are_told_apart_and_the_verdict_comes_last(tmp_path, capsys):
    for folder, correct in (("before", 1), ("after", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "counts.csv").write_text(f"problem_id,n,correct\na,4,{correct}\nb,4,0\n")
    sides = [str(tmp_path / folder / "counts.csv") for folder in ("before", "after")]
    command = [
        "audit",
        "--base",
        sides[0],
        "--tuned",
        sides[1],
        "--no-report",
        "--replicates",
        "100",
        "--out",
        str(tmp_path),
    ]
    assert main(command) == 0
    document = json.loads((tmp_path / "audit.json").read_text())
    assert [document["models"][side]["name"] for side in ("base", "tuned")] == ["counts (before)", "counts (after)"]
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert document["benchmarks"]["all"]["verdict"] in last
    assert main([*command, "--base-name", "Qwen", "--tuned-name", "Qwen, tuned"]) == 0
    document = json.loads((tmp_path / "audit.json").read_text())
    assert [document["models"][side]["name"] for side in ("base", "tuned")] == ["Qwen", "Qwen, tuned"]
