"""The whole loop on the real Ray, DeepSpeed and vLLM: a few steps on actors that all tests here share."""

import json
import os
import re
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file
from small_runs import MIXTURE, REPOSITORY, records, same, small, weights

from analysis.errors import InputError
from explore_rl.cluster.faults import RunStopped
from explore_rl.config.loading import load_config
from explore_rl.training.actors import ParityError

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_run_leaves_everything_behind(plain):
    metrics = records(plain, "metrics.jsonl")
    assert [m["step"] for m in metrics] == [0, 1, 2, 3]
    for m in metrics:
        stages = sum(
            m[f"seconds/{stage}"] for stage in ("generate", "verify", "read", "train", "transfer", "parity", "other")
        )
        assert stages == pytest.approx(m["seconds/step"], rel=1e-6)
        assert (
            m["transfer/gather_seconds"] == 0 and 0 < m["transfer/send_seconds"] <= m["seconds/transfer"]
        )  # no shards
        assert m["engine/parity_mean"] <= m["engine/parity_max"] < 1e-4
        assert m["engine/logprob_difference_mean"] < 1e-4 and 0 <= m["pass@1"] <= m["pass@group"] <= 1
        assert m["verdict/correct"] + m["verdict/wrong"] + m["verdict/no_answer"] == pytest.approx(1)
    assert [e["step"] for e in records(plain, "evaluations.jsonl")] == [0, 2, 4]
    exact = records(plain, "exact.jsonl")
    assert exact[0]["support"]["mode"][3]["shrunk"] == exact[0]["support"]["mode"][3]["expanded"] == 0
    environment = json.loads((plain / "environment.json").read_text())
    assert environment["seed"] == 0 and "deepspeed" in environment["versions"]
    assert (plain / "figures" / "training.png").stat().st_size > 10_000 and (plain / "figures" / "support.png").exists()
    assert load_config(plain / "config.yaml").name == "plain"


def test_every_rollout_is_recorded_with_its_tokens_and_version(plain):
    for step in range(4):
        table = pq.read_table(plain / "rollouts" / f"step-{step:06d}.parquet").to_pydict()
        assert len(table["step"]) == 16 and set(table["step"]) == {step} and set(table["weight_version"]) == {step}
        assert all(len(t) == len(p) for t, p in zip(table["tokens"], table["logprobs"], strict=True))
        read = zip(table["advantage"], table["logprobs"], table["old_logprobs"], strict=True)
        pulling = [(p, o) for advantage, p, o in read if advantage]
        assert all(o == pytest.approx(p, abs=1e-4) for p, o in pulling)
        # What pulls at nothing is not computed, but for one row where nothing does.
        assert sum(o is not None for o in table["old_logprobs"]) == max(1, len(pulling))
        assert len(set(table["seed"])) == 16 and set(table["source"]) == {"policy"}
        for group in range(4):
            rewards = [r for r, g in zip(table["reward"], table["group"], strict=True) if g == group]
            advantages = [a for a, g in zip(table["advantage"], table["group"], strict=True) if g == group]
            expected = (np.array(rewards) - np.mean(rewards)) / (np.std(rewards, ddof=1) + 1e-6)
            assert advantages == pytest.approx(expected.tolist(), abs=1e-9)


def test_a_run_is_named_by_its_folder_in_every_command(plain, tmp_path, capsys):
    """What the evaluations drew is audited over the steps, and checkpoints are exported without any actor."""
    from explore_rl.cli import main
    from explore_rl.experiments.run_models import run_model

    draws = sorted(path.name for path in (plain / "evaluations").iterdir())
    assert draws == [f"step-{step:06d}-heldout.parquet" for step in (0, 2, 4)]
    assert main(["audit-run", str(plain), "--replicates", "100", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[:4]] == ["step", "0", "2", "4"] and said[-1].startswith("after 4 steps: ")
    evaluated = {record["step"]: record for record in records(plain, "evaluations.jsonl")}
    for line in said[1:4]:
        assert float(line.split()[1]) == pytest.approx(evaluated[int(line.split()[0])]["pass@1"], abs=6e-4)
    assert (tmp_path / "curve.png").stat().st_size > 5000

    last = run_model(f"{plain}@4")
    assert last.step == 4 and run_model(str(plain)).path() == plain / "final"
    exported = last.path()  # made now, and kept
    assert same(load_file(exported / "model.safetensors"), weights(plain))
    assert "pass@1" in (exported / "README.md").read_text()
    with pytest.raises(InputError, match="there is no checkpoint after 3 steps; kept are 2, 4"):
        run_model(f"{plain}@3")
    assert main(["export", f"{plain}@2", str(tmp_path / "then")]) == 0
    assert not same(load_file(tmp_path / "then" / "model.safetensors"), weights(plain))
    assert main(["export", f"{plain}@2", str(tmp_path / "then")]) == 2


def test_the_final_model_is_an_ordinary_checkpoint_and_moved(plain):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from explore_rl.models import resolve_model

    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(plain / "final"),
        AutoTokenizer.from_pretrained(plain / "final"),
    )
    assert model(**tokenizer("1 2 3=6:", return_tensors="pt")).logits.isfinite().all()
    before = AutoModelForCausalLM.from_pretrained(resolve_model("lab:base"))
    moved = [(a - b).abs().max().item() for a, b in zip(model.parameters(), before.parameters(), strict=True)]
    assert max(moved) > 1e-5


def test_strategies_switched_off_leave_grpo_bit_for_bit(plain, run, tmp_path):
    """All at once on real actors, so the same run gives the same weights as well; tests/testing has each by itself."""
    names = ["trace_injection, rate: 0.0", "diversity_bonus, coefficient: 0.0", "likelihood, rate: 0.0"]
    off = "strategies=[" + ", ".join(f"{{name: {name}}}" for name in names) + "]"
    assert same(weights(plain), weights(run(small(tmp_path, "off", off))))


def test_a_mixture_draws_from_the_base_and_a_hotter_policy(run, tmp_path):
    unbiased = ["algorithm.advantage=rloo", "algorithm.importance_cap=null", "algorithm.aggregation=constant"]
    folder = run(small(tmp_path, "mixture", MIXTURE, *unbiased, "algorithm.group_size=16", "run.steps=2"))
    table = pq.read_table(folder / "rollouts" / "step-000001.parquet").to_pydict()
    assert set(table["source"]) == {"policy", "base", "hot"}
    assert {t for t, s in zip(table["temperature"], table["source"], strict=True) if s == "hot"} == {1.5}
    assert {v for v, s in zip(table["weight_version"], table["source"], strict=True) if s == "base"} == {-1}
    assert max(table["weight"]) <= 2 + 1e-9 and len(set(table["weight"])) > 10


def test_the_strategy_of_the_readme_runs_as_it_stands(run, tmp_path, monkeypatch):
    code = re.search(
        r"```python\n# short_answers\.py\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL
    ).group(1)
    (tmp_path / "short_answers.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = run(
        small(tmp_path, "short", "strategies=[{name: 'short_answers:ShortAnswers', size: 0.2}]", "run.steps=1")
    )
    table = pq.read_table(folder / "rollouts" / "step-000000.parquet").to_pydict()
    right = [r for r, v in zip(table["reward"], table["verdict"], strict=True) if v == "correct"]
    assert right and all(1.0 < r < 1.2 for r in right)


def test_an_engine_that_dies_is_replaced_and_the_run_ends_as_if_it_had_not(plain, run, actors, tmp_path, monkeypatch):
    from explore_rl.training.serving import Serving

    real, killed = Serving.generate, []

    def kills_once(self, requests, step, **options):
        if step == 1 and not killed:
            killed.append(actors.engines.families["policy"][0].pid)
            os.kill(killed[0], signal.SIGKILL)
        return real(self, requests, step, **options)

    monkeypatch.setattr(Serving, "generate", kills_once)
    assert same(weights(plain), weights(run(small(tmp_path, "engine"))))
    assert killed


def _resend_the_first():
    def resend(rank):
        from explore_rl.transfer import sender

        first = {}
        real = sender.LearnerSource.__iter__
        sender.LearnerSource.__iter__ = lambda self: ((n, first.setdefault(n, t.clone())) for n, t in real(self))
        sender.LearnerSource.real = real

    return resend


def _send_the_present():
    def undo(rank):
        from explore_rl.transfer import sender

        sender.LearnerSource.__iter__ = sender.LearnerSource.real

    return undo


resend_the_first, send_the_present = _resend_the_first(), _send_the_present()  # nested: they travel by value


def test_a_source_that_sends_the_first_weights_for_ever_stops_the_run_within_two_steps(run, actors, tmp_path):
    """Every engine stamps its draws with the new version all the same."""
    actors.learner.apply(resend_the_first)
    try:
        with pytest.raises(ParityError, match=r"step 1: rollout engine 0 does not compute what the learner computes"):
            run(small(tmp_path, "stale"))
    finally:
        actors.learner.apply(send_the_present)
    assert not any((tmp_path / "stale" / "checkpoints").glob("*/COMPLETE"))


def test_weights_that_are_not_finite_stop_the_run_and_their_engines_are_replaced(plain, run, actors, tmp_path):
    """The loss is not finite either; an engine's NaN says so a step earlier, and stays behind in its cache."""
    config = small(
        tmp_path,
        "diverges",
        "learner.learning_rate=1e30",
        "learner.max_grad_norm=0",
        "run.steps=12",
        "run.max_bad_steps=2",
    )
    before = {engine.pid for engine in actors.engines.engines}
    with pytest.raises(RunStopped, match="(?i)nan"):
        run(config)
    assert same(weights(plain), weights(run(small(tmp_path, "afterwards"))))
    assert 0 < len({engine.pid for engine in actors.engines.engines} - before) <= 2
    assert not any((tmp_path / "diverges" / "checkpoints").glob("step-000002"))


def test_training_and_heldout_problems_may_share_ids(run, tmp_path):
    for name, prompt, target in (("train", "1 2 3=6:", 6), ("heldout", "4 2 3=9:", 9)):
        numbers = [int(x) for x in prompt.split("=")[0].split()]
        line = {"id": "0", "prompt": prompt, "answer": {"numbers": numbers, "target": target}, "verifier": "countdown"}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(line) + "\n")
    files = [f"problems.train={tmp_path}/train.jsonl", f"problems.heldout={tmp_path}/heldout.jsonl"]
    folder = run(
        small(
            tmp_path,
            "ids",
            *files,
            "algorithm.prompts_per_step=1",
            "run.steps=2",
            "run.evaluate_every=1",
            "run.evaluate_samples=2",
        )
    )
    prompts = {
        tuple(p) for p in pq.read_table(folder / "rollouts" / "step-000001.parquet")["prompt_tokens"].to_pylist()
    }
    (only,) = prompts
    assert records(folder, "evaluations.jsonl")[0]["problems"] == 1
    from explore_rl.models import load_tokenizer

    assert load_tokenizer("lab:base").decode(only) == "1 2 3=6:"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.path=/nowhere", "no such folder"),
        ("problems.train=/nowhere.jsonl", "/nowhere.jsonl"),
        ("model.max_prompt_tokens=3", "longer than 3 tokens"),
        ("strategies=[{name: trace_inject}]", "did you mean trace_injection?"),
        ("strategies=[{name: trace_injection, rates: 1}]", "did you mean rate?"),
        ("strategies=[{name: trace_injection, rate: 2}]", "between 0 and 1"),
        (MIXTURE, "importance_cap=null"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_folder(run, tmp_path, override, said):
    with pytest.raises(InputError) as caught:
        run(small(tmp_path, "bad", override))
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "bad").exists()
