"""Sets of evaluation: each with its own draws, figures and kept samples, over the table that stands for a model."""

import pyarrow.parquet as pq
import pytest

from analysis.readers import load
from explore_rl.cli import main
from explore_rl.config.loading import to_yaml
from explore_rl.experiments.evaluation_draws import expanded
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.strategies.methods.ppo import Ppo
from explore_rl.testing import digit_problems, digits_config, make_trainer
from explore_rl.training.evaluation import Evaluations
from explore_rl.training.evaluation_sets import EvaluationSet
from explore_rl.training.metrics import of_evaluation


def sets():
    problems = digit_problems()
    common = {"max_new_tokens": 3, "top_p": 1.0}
    return [
        EvaluationSet("heldout", problems, n=8, temperature=1.0, every=2, **common),
        EvaluationSet("hot", problems[:3], n=4, temperature=2.0, every=3, **common),
        EvaluationSet("greedy", problems[:2], n=1, temperature=1e-3, every=4, **common),
    ]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Four steps with three sets, and the figures that a tracker was told."""
    path = tmp_path_factory.mktemp("run")
    config = digits_config("run.steps=4", "run.max_silent_steps=99")
    trainer = make_trainer(path, config=config)
    told = []
    trainer.evaluations = Evaluations(config, sets(), means=trainer.evaluations.means)
    trainer.evaluations.report = lambda step, metrics: told.append((step, metrics))
    trainer.start()
    trainer.run()
    (path / "config.yaml").write_text(to_yaml(config))
    return path, told


def test_each_set_is_drawn_when_it_is_due_and_the_base_once(evaluated):
    path, told = evaluated
    due = [(record["step"], record["set"]) for record in RunFolder(path).records("evaluations.jsonl")]
    names = ["heldout", "hot", "greedy"]
    assert due == [(0, name) for name in names] + [(2, "heldout"), (3, "hot")] + [(4, name) for name in names]
    assert [(step, set(metrics)) for step, metrics in told[:2]] == [
        (0, {f"heldout/pass@{k}" for k in (1, 2, 4, 8)}),
        (0, {f"hot/pass@{k}" for k in (1, 2, 4)}),
    ]


def test_the_draws_are_kept_as_samples_that_give_the_figures(evaluated):
    path, _ = evaluated
    for record in RunFolder(path).records("evaluations.jsonl"):
        file = path / "evaluations" / f"step-{record['step']:06d}-{record['set']}.parquet"
        samples = load([str(file)])
        assert samples.correct.sum() / samples.n.sum() == pytest.approx(record["pass@1"])
        one = next(one for one in sets() if one.name == record["set"])
        assert samples.n.tolist() == [one.n] * len(one.problems) and samples.name == f"step {record['step']}"
        assert set(pq.read_table(file)["temperature"].to_pylist()) == {one.temperature}


def test_a_critic_is_held_against_problems_that_it_does_not_train_on(tmp_path):
    config = digits_config("run.steps=12", "learner.critic_learning_rate=1.0", "learner.learning_rate=0.0")
    trainer = make_trainer(tmp_path, [Ppo()], config=config)
    trainer.evaluations = Evaluations(config, sets()[:1], means=trainer.evaluations.means)
    trainer.start()
    trainer.run()
    # The table's values are of the same contexts: what it learnt in training holds for these draws too.
    found = [record["explained_variance"] for record in RunFolder(tmp_path).records("evaluations.jsonl")]
    assert found[0] == 0 and 0.1 < found[-1] <= 1
    last = RunFolder(tmp_path).records("evaluations.jsonl")[-1]
    assert of_evaluation(last)["heldout/explained_variance_last"] == last["explained_variance_last"]


def test_the_curve_of_support_is_made_of_them(evaluated, tmp_path, capsys):
    path, _ = evaluated
    assert main(["audit-run", str(path)]) == 2
    assert "evaluates several sets; choose one with --set" in capsys.readouterr().err
    words = ["audit-run", str(path), "--set", "heldout", "--every", "4", "--replicates", "100", "--out", str(tmp_path)]
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[:3]] == ["step", "0", "4"] and said[-1].startswith("after 4 steps: ")
    of_base = RunFolder(path).records("evaluations.jsonl")[0]
    assert float(said[1].split()[1]) == pytest.approx(of_base["pass@1"], abs=6e-4)
    assert expanded([f"{path}@2/heldout", "other.csv"]) == [
        f"{path}/evaluations/step-000002-heldout.parquet",
        "other.csv",
    ]
    assert main(["audit", "--base", f"{path}@3/heldout", "--tuned", "x.csv", "--out", str(tmp_path)]) == 2
    assert "the run keeps no draws of an evaluation then (kept are greedy: steps 0, 4;" in capsys.readouterr().err


def test_what_lies_past_a_checkpoint_is_dropped(evaluated):
    path, _ = evaluated
    RunFolder(path).rewind(2)
    assert {file.name.split("-")[1] for file in (path / "evaluations").iterdir()} == {"000000", "000002"}


def test_figures_of_several_benchmarks_stand_apart():
    record = {"step": 2, "set": "aime", "problems": 4, "pass@1": 0.5}
    record["benchmarks"] = {"aime24": {"pass@1": 0.25}, "aime25": {"pass@1": 0.75}}
    wanted = {"aime/pass@1": 0.5, "aime/aime24/pass@1": 0.25, "aime/aime25/pass@1": 0.75}
    assert of_evaluation(record) == wanted and of_evaluation({"step": 0, "pass@1": 1.0}) == {"heldout/pass@1": 1.0}
