"""Sweeps and comparisons, without the training itself.

What counts as finished, what is drawn anew, and what is found before the first run.
"""

import dataclasses
import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from analysis.errors import InputError
from explore_rl.config.loading import load_config, to_yaml
from explore_rl.experiments import comparison, sweeps
from explore_rl.experiments.comparison import Comparison
from explore_rl.models import LAB_BASE
from explore_rl.rollout.sampling import SamplingSettings, _Draws
from explore_rl.types import Problem

GRPO = "configs/lab/grpo.yaml"


def put_run(config, steps_done, final=True):
    """A run folder as training leaves it, without the training: the base stands for its final model."""
    folder = Path(config.run.output)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(config))
    (folder / "metrics.jsonl").write_text("".join(json.dumps({"step": step}) + "\n" for step in range(steps_done)))
    if final:
        (folder / "final").symlink_to(LAB_BASE, target_is_directory=True)
    return folder


def config_of(tmp_path, *overrides):
    return load_config(GRPO, ["run.steps=3", f"run.output={tmp_path}/grpo-seed0", *overrides])


def test_a_finished_run_is_one_of_the_same_settings(tmp_path):
    config = config_of(tmp_path)
    assert not sweeps.finished(config)
    put_run(config, steps_done=3)
    assert sweeps.finished(config)
    for other in ("learner.learning_rate=0.1", "run.steps=5"):
        with pytest.raises(InputError, match="was finished under other settings; choose another --output"):
            sweeps.finished(config_of(tmp_path, other))


def test_a_run_taken_up_again_for_more_steps_is_not_finished_by_its_old_final_model(tmp_path):
    put_run(config_of(tmp_path), steps_done=2)
    assert not sweeps.finished(config_of(tmp_path))


def test_a_begun_run_of_other_settings_is_refused_before_any_run_starts(tmp_path):
    put_run(config_of(tmp_path), steps_done=1, final=False)
    assert not sweeps.finished(config_of(tmp_path))
    with pytest.raises(InputError, match="was begun under other settings"):
        sweeps.finished(config_of(tmp_path, "algorithm.group_size=4"))


@pytest.mark.parametrize(
    "bad",
    [
        "strategies=[{name: trace_injektion}]",
        "strategies=[{name: trace_injection, leave_out: [division, product_of_sum, common]}]",
        "rollout.max_new_tokens=60",
        "run.evaluations=[{problems: nowhere.jsonl}]",
    ],
)
def test_a_bad_second_run_is_found_before_the_first_trains(tmp_path, monkeypatch, bad):
    monkeypatch.setattr(sweeps, "Actors", lambda *_, **__: pytest.fail("actors were started"))
    second = dataclasses.replace(config_of(tmp_path, bad), name="second")
    with pytest.raises(InputError, match="second, seed 0: .*(strategies|max_new_tokens=60|nowhere)"):
        sweeps.run_sweep(sweeps.Sweep(tmp_path, [config_of(tmp_path), second]))


def test_a_sweep_samples_what_a_kill_left_without_samples(tmp_path, monkeypatch):
    from explore_rl.cli import main

    folder = put_run(load_config(GRPO, ["run.steps=3", "name=a", f"run.output={tmp_path}/a-seed0"]), steps_done=3)
    (tmp_path / "sweep.yaml").write_text(
        json.dumps({"base": GRPO, "output": str(tmp_path), "overrides": ["run.steps=3"], "runs": [{"name": "a"}]})
    )
    calls = []
    monkeypatch.setattr(Comparison, "sample_missing", lambda self, folders: calls.append(("sample", list(folders))))
    monkeypatch.setattr(Comparison, "write", lambda self, folders: calls.append(("write", list(folders))))
    assert main(["sweep", str(tmp_path / "sweep.yaml")]) == 0
    assert calls == [("sample", [folder]), ("write", [folder])]


@pytest.fixture
def started():
    """Models whose engines a comparison would have started."""
    return []


@pytest.fixture
def drawn(monkeypatch, started):
    """Files that a comparison has drawn, with their settings and the pool that verified them; no engine draws."""
    seen = []

    def draw(self, settings, out, drawing, pool):
        out.touch()
        seen.append((out.name, settings, pool))

    monkeypatch.setattr(Comparison, "_sample", draw)
    monkeypatch.setattr(comparison, "engines", lambda settings: started.append(settings.model) or nullcontext())
    return seen


def test_only_missing_samples_are_drawn_and_other_settings_draw_anew(tmp_path, monkeypatch, drawn):
    options = "verifiers.options={countdown: {limits: {time_s: 3}}}"
    folder = put_run(config_of(tmp_path, options, "verifiers.workers=1", "verifiers.memory_limit_mb=333"), steps_done=3)
    Comparison(tmp_path, 4).sample_missing([folder])
    assert [name.split("-")[0] for name, *_ in drawn] == ["samples", "base", "base"]
    assert len({name for name, *_ in drawn}) == 3
    for _, settings, pool in drawn:
        assert settings.verifier_options == {"countdown": {"limits": {"time_s": 3}}} == pool._options
        assert (pool.workers, pool._default_limits.memory_mb) == (1, 333)
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "verifier_pool", lambda *_, **__: pytest.fail("a pool was started for nothing"))
        Comparison(tmp_path, 4).sample_missing([folder])
    Comparison(tmp_path, 4, problems="lab:countdown?level=3&split=heldout&size=5").sample_missing([folder])
    assert len({name for name, *_ in drawn}) == 6
    Comparison(tmp_path, 5).sample_missing([folder])
    assert len({name for name, *_ in drawn}) == 9


def test_the_recipes_format_reads_its_own_problems(tmp_path):
    recipe = config_of(tmp_path, "problems.train=a.jsonl", "problems.heldout=b.jsonl", "problems.format=gsm8k")
    assert Comparison(tmp_path, 4).settings(recipe, "lab:base").format == "gsm8k"
    assert Comparison(tmp_path, 4, problems="c.jsonl").settings(recipe, "lab:base").format is None


def test_runs_of_other_sampling_settings_are_not_held_against_one_base(tmp_path):
    runs = [
        config_of(tmp_path),
        config_of(tmp_path, "seed=1"),
        config_of(tmp_path, "name=cold", "rollout.temperature=0.6"),
    ]
    Comparison(tmp_path, 4).check(runs[:2])
    with pytest.raises(
        InputError, match=r"and cold, seed 0 would be sampled differently \(temperature 1.0 against 0.6\)"
    ):
        Comparison(tmp_path, 4).check(runs)


SETTINGS = SamplingSettings("lab:base", "lab:countdown", n=4)


@pytest.mark.parametrize(
    "change",
    [{"problems": "x"}, {"temperature": 0.5}, {"template": "plain"}, {"seed": 1}, {"verifier_options": {"math": {}}}],
)
def test_the_digest_follows_what_decides_the_samples(change):
    assert dataclasses.replace(SETTINGS, **change).digest() != SETTINGS.digest()


def test_the_digest_does_not_follow_where_the_model_lies(tmp_path):
    (tmp_path / "base_model").symlink_to(LAB_BASE, target_is_directory=True)
    assert dataclasses.replace(SETTINGS, model=str(tmp_path / "base_model"), part=7).digest() == SETTINGS.digest()


def test_two_models_are_drawn_from_independently():
    problems = [Problem(id="p", prompt="1 2 3", answer="6", verifier="math")]
    seeds = set()
    for model in ("base@1", "tuned@2"):
        draws = _Draws(SETTINGS, problems, prompts=[(1,)], identity=model, template="plain")
        seeds |= {draws.request(position).seed for position in range(4)}
    assert len(seeds) == 8


def test_engines_start_once_for_each_model(tmp_path, drawn, started):
    """Two runs of one base are three models, whose four sets of samples take three starts."""
    configs = [config_of(tmp_path, f"name={name}", f"run.output={tmp_path}/{name}") for name in ("a", "b")]
    folders = [put_run(config, steps_done=3) for config in configs]
    Comparison(tmp_path, 4).sample_missing(folders)
    assert len(drawn) == 4 and len(started) == len(set(started)) == 3


def test_a_grid_is_every_run_with_every_combination(tmp_path):
    text = (
        "base: lab/grpo\ngrid: {learner.learning_rate: [1e-4, 3e-4], algorithm.group_size: [8]}\nruns: [{name: grpo}]"
    )
    (tmp_path / "grid.yaml").write_text(text)
    configs = sweeps.load_sweep(tmp_path / "grid.yaml", seeds=[0, 1]).configs
    assert len({config.run.output for config in configs}) == 4
    assert {config.learner.learning_rate for config in configs} == {1e-4, 3e-4}
    assert {config.algorithm.group_size for config in configs} == {8}
    (tmp_path / "grid.yaml").write_text("grid: {seed: 3}\nruns: [{name: grpo}]")
    with pytest.raises(InputError, match="a mapping of settings to lists"):
        sweeps.load_sweep(tmp_path / "grid.yaml")


def test_a_sweep_of_the_project_has_a_name_that_works_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = sweeps.load_sweep("lab/board", seeds=[0])
    assert [config.name for config in sweep.configs][:2] == ["grpo", "trace_injection"]
    assert sweep.configs[5].strategies[0]["only"] is True
    with pytest.raises(InputError, match=r"did you mean lab/board\?"):
        sweeps.load_sweep("lab/bord")
