"""Which runs are seeds of one method, and which are not compared."""

import json

import pytest
from small_runs import SMALL

from analysis.errors import InputError
from explore_rl.config.loading import load_config, to_yaml
from explore_rl.experiments.pooling import differences, method_names, refuse_other_content
from explore_rl.experiments.run_folder import RunFolder


def test_runs_of_one_name_and_other_settings_are_not_one_method():
    def config(*overrides):
        return load_config("lab/grpo", [*SMALL, "run.steps=100", *overrides])

    seeds = [config(f"seed={seed}", f"rollout.actors={seed + 1}") for seed in (0, 1)]
    assert method_names(seeds) == ["grpo", "grpo"] and differences(seeds) == []
    other = config("learner.learning_rate=1e-4", "seed=7")
    assert method_names([*seeds, other]) == [
        "grpo (learner.learning_rate=0.0003)",
        "grpo (learner.learning_rate=0.0003)",
        "grpo (learner.learning_rate=0.0001)",
    ]
    uniq = config("name=uniq", "run.steps=5", "strategies=[{name: diversity_bonus}]")
    assert differences([seeds[0], uniq]) == [
        "strategies differs: grpo: []; uniq: [{'name': 'diversity_bonus'}]",
        "run.steps differs: grpo: 100; uniq: 5",
    ]


def test_runs_whose_files_changed_under_their_names_are_not_compared(tmp_path):
    for number, (name, train, model) in enumerate(
        [("a", "1", "m"), ("a", "1", "m"), ("b", "2", "m"), ("old", None, None)]
    ):
        folder = tmp_path / str(number)
        config = load_config("lab/grpo", [*SMALL, f"name={name}", f"seed={number}", f"run.output={folder}"])
        facts = {"problems": {"train": train}, "model": model}
        RunFolder.create(folder, to_yaml(config), environment=facts)
    folders = [tmp_path / str(number) for number in range(4)]
    refuse_other_content(folders)
    for number, facts, said in (
        (1, {"problems": {"train": "2"}, "model": "m"}, "problems.train has the name"),
        (
            2,
            {"problems": {"train": "2"}, "model": "n"},
            "model has the name that it has in .*0, and another content .n",
        ),
    ):
        before = (folders[number] / "environment.json").read_text()
        (folders[number] / "environment.json").write_text(json.dumps(facts))
        with pytest.raises(InputError, match=said):
            refuse_other_content(folders)
        (folders[number] / "environment.json").write_text(before)
