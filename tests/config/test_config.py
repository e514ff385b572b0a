"""Bad settings are refused in one line that names the file, the key and what would be right."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.errors import InputError
from explore_rl import strategies
from explore_rl.cluster import placement
from explore_rl.config.checks import warnings
from explore_rl.config.loading import load_config, to_yaml
from explore_rl.config.recipes import names
from explore_rl.config.schema import Config, all_settings
from explore_rl.strategies.base import needs_of
from explore_rl.strategies.rivals import without_effect

ROOT = Path(__file__).parents[2]


def warned(config):
    """What `train` would warn about."""
    here = placement.resolve(config) if config.devices.device == "auto" else config.devices.device
    named = strategies.of(config)
    return [
        *warnings(config, here, draws_from_base=needs_of(named, config).base_engine), *without_effect(named, config)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("learner.rank=2", "did you mean learner.ranks?"),
        ("group_size=4", "did you mean algorithm.group_size?"),
        ("lr=1e-6", "did you mean learner.learning_rate?"),
        ("learner.lr=1e-6", "did you mean learner.learning_rate?"),
        ("num_generations=8", "did you mean algorithm.group_size?"),
        (
            "actor_rollout_ref.rollout.n=8",
            "unknown key actor_rollout_ref.rollout.n; did you mean algorithm.group_size?",
        ),
        ("trainer.total_training_steps=3", "did you mean run.steps?"),
        ("seed=99999999999999999999999", "a whole number of at most"),
        ("run.steps=99999999999999999999", "a whole number of at most"),
        ("rollout.stop=['']", "an empty stop string"),
        ("rollout.stop==", "as in 'rollout.stop=[\"=\"]'"),
        ("rollout.stop=x", "expected a list, such as ['###'], got 'x'"),
        ("learner.betas=0.9", "expected a list, such as [0.9, 0.999], got 0.9"),
        ("strategies=trace_injection", "expected a list, such as [{name: trace_injection"),
        ("learner.ranks=many", "learner.ranks"),
        ("algorithm.group_size=1", "every group would be dropped"),
        ("algorithm.group_size=0", "expected at least 1"),
        ("rollout.top_p=0.9", "not renormalised"),
        ("rollout.temperature=0", "at least 0.01"),
        ("learner.zero_stage=4", "expected one of 0, 1, 2, 3"),
        ("algorithm.kl=k2", "no effect with a coefficient of 0"),
        ("algorithm.kl_coefficient=0.1", "no effect with algorithm.kl=none"),
        ("algorithm.minibatches=3", "must divide"),
        ("devices.offload_learner=true", "makes room for engines on the same GPUs"),
        ("algorithm.dual_clip=1", "expected above 1"),
        ("algorithm.aggregation=tokens", "did you mean token?"),
        ("model.dtype=bfloat16", "use stage 1, 2 or 3"),
        ("model.attention=flash_attention_2", "half precision only"),
        ("run.steps=0", "at least 1"),
        ("learner.learning_rate=nan", "finite"),
        ("learner.learning_rate=inf", "finite"),
        ("learner.weight_decay=-1", "at least 0"),
        ("rewards.no_answer=-inf", "finite"),
        ("rewards.timeout=nan", "finite"),
        ("rewards.error=0", "null leaves the sample out"),
        ("rewards.min_group=17", "above algorithm.group_size=16"),
        ("verifiers.workers=0", "at least 1"),
        ("problems.limit=0", "at least 1"),
        ("strategies=[{name: x", "YAML cannot read the value"),
        ("strategies.0.name=x", "strategies is a list"),
        ("strategies[0]=x", "strategies is a list"),
        ("learner.betas={a: 1}", "learner.betas is a list"),
        ("verifiers.options=[1]", "verifiers.options: expected a mapping"),
        ("verifiers.options={math: 3}", "expected a mapping of options for each verifier"),
        ("seed=1.5", "seed: expected a whole number, got '1.5'"),
        ("model.path=~", "model.path: expected text, got nothing"),
        ("devices.colocate=maybe", "expected true or false, got 'maybe'"),
        ("problems.heldout=[a.jsonl, b.jsonl]", "several sets go into run.evaluations"),
        ("run.output=~nobody_here/x", "there is no user of this name"),
        ("rollout.stop=[null]", "rollout.stop[0]: expected text, got nothing"),
        ("rollout.stop=[[a]]", "rollout.stop[0]: expected text, got ['a']"),
        ("learner.betas=[{a: 1},2]", "learner.betas[0]: expected a number, got {'a': 1}"),
        ("learner.betas=[0.9, b]", "learner.betas[1]: expected a number, got 'b'"),
        ("rollout.temperature=0.001", "at least 0.01"),
        ("run.output=$SCRATCH/x", "write ${oc.env:SCRATCH}"),
        ("model.path=${SCRATCH}/x", "SCRATCH"),
        ("run.output=s3://bucket/x", "s3://bucket/x: an address; expected a path"),
        ("problems.train=https://host/a.jsonl", "an address; expected a path"),
        ("problems.train=$DATA/a.jsonl", "$DATA is not filled in here"),
        ("rollout.stop=[@]", "stands in quotes"),
        ("seed=1:30", "expected a whole number, got '1:30'"),
        ("run.steps=0x10", "expected a whole number, got '0x10'"),
        ("=3", "expected key=value"),
        ("[=1", "override '[=1'"),
        ("run.output=${foo}", "run.output: ${foo}: there is no such setting"),
        ("run.output=${foo", "run.output"),
        ("algorithm=${foo}", "is a section"),
        ("model.path=???", "give one"),
        ("algorithm=3", "is a section"),
        ("algorithm", "expected key=value"),
        ("strategies=[trace_injection]", "expected a mapping with a name"),
        ("learner.betas=[0.9]", "two numbers"),
    ],
)
def test_bad_overrides_are_refused_with_what_would_be_right(override, said):
    with pytest.raises(InputError, match=None) as caught:
        load_config(None, [override])
    assert said in str(caught.value) and "\n" not in str(caught.value)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted([*all_settings(), "learner", "x", "strategies.0.name"])),
    st.text("ab01[]{}:,.${}'\"?!&*|> \n\t%@", max_size=8),
)
def test_any_override_is_a_config_or_one_line(key, value):
    try:
        assert isinstance(load_config(None, [f"{key}={value}"]), Config)
    except InputError as error:
        assert key in str(error) and "\n" not in str(error)


def test_text_and_numbers_are_taken_as_they_are_typed(tmp_path, monkeypatch):
    """YAML would read 1000.0, 7, 8, false and 2 numbers out of these."""
    typed = ["name=1e3", "seed=010", "tracking.group=007", "tracking.entity=no", "tracking.run_name=@a: b #c"]
    config = load_config(None, [*typed, "learner.learning_rate=1e-6", "problems.heldout=null", 'run.output="~/x"'])
    assert (config.name, config.seed, config.learner.learning_rate) == ("1e3", 10, 1e-6)
    assert (config.tracking.group, config.tracking.entity, config.tracking.run_name) == ("007", "no", "@a: b #c")
    assert config.problems.heldout is None and config.run.output == str(Path.home() / "x")


def test_a_recipe_stands_on_one_of_the_projects_or_on_its_neighbour(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "v.py").touch()
    (tmp_path / "own" / "first.yaml").write_text(
        "base: lab/mixture_policy\nrun: {evaluations: [{problems: 'lab:countdown', verifier: 'v.py:f'}]}\n"
        "verifiers: {options: {mine: {kind: 'v.py:f'}}}\n"
    )
    (tmp_path / "own" / "second.yaml").write_text("base: first.yaml\nseed: 3\n")
    config = load_config("own/second.yaml")
    assert config.seed == 3 and config.strategies == load_config("lab/mixture_policy").strategies
    there = f"{tmp_path.resolve()}/own/v.py:f"
    assert config.run.evaluations[0]["verifier"] == there == config.verifiers.options["mine"]["kind"]
    (tmp_path / "own" / "second.yaml").write_text("base: lab/mixture_polizy\n")
    with pytest.raises(InputError, match=r"second.yaml: base: .*did you mean lab/mixture_policy\?"):
        load_config("own/second.yaml")


def test_an_evaluation_needs_problems_to_evaluate_on():
    with pytest.raises(InputError, match=r"run\.evaluate_every=5: .*problems\.heldout"):
        load_config(None, ["run.evaluate_every=5", "problems.heldout=null"])


def test_a_path_may_have_other_settings_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("base: lab/grpo\nname: mine\nrun: {output: 'out/${name}-${seed}'}\n")
    assert load_config(recipe, ["seed=7"]).run.output == "out/mine-7"
    assert load_config(recipe, ["seed=7", "name=other"]).run.output == "out/other-7"  # as the recipe alone has it, too
    assert load_config(recipe, ["run.output=~/out/${name}"]).run.output == f"{tmp_path}/out/mine"
    with_traces = "strategies=[{name: trace_injection, traces: '${problems.train}'}]"
    assert load_config(recipe, [with_traces]).strategies[0]["traces"].startswith("lab:countdown")
    (tmp_path / "mine").mkdir()
    assert load_config(recipe, ["model.path=${name}"]).model.path == str(tmp_path / "mine")
    assert load_config(recipe, ["name=n${seed}", "seed=4"]).name == "n4"
    with pytest.raises(InputError, match="run.output: the variable NOT_THERE is not set"):
        load_config(recipe, ["run.output=${oc.env:NOT_THERE}/x"])
    with pytest.raises(InputError, match="learner.lora: expected a mapping, .* got 4"):
        load_config(recipe, ["learner.lora=4"])


HELDOUT = "problems.heldout=lab:countdown?level=3&split=heldout&size=8"


MIXTURE = "strategies=[{name: mixture_policy}]"


@pytest.mark.parametrize(
    ("without_effect", "with_effect"),
    [
        (["algorithm.clip_high=0.28"], ["algorithm.clip_high=0.28", "algorithm.minibatches=2"]),
        (["algorithm.clip_low=0.1"], ["algorithm.clip_low=0.1", "algorithm.epochs=2"]),
        (["algorithm.dual_clip=3"], ["algorithm.dual_clip=3", "algorithm.minibatches=2"]),
        (["algorithm.clip=false"], ["algorithm.clip=false", "algorithm.minibatches=2"]),
        (
            ["algorithm.clip_high=0.28", "algorithm.clip=false", "algorithm.minibatches=2"],
            ["algorithm.clip_high=0.28", "algorithm.minibatches=2"],
        ),
        (["rollout.base_actors=2"], ["rollout.base_actors=2", MIXTURE]),
        (["run.evaluate_samples=4"], ["run.evaluate_samples=4", "run.evaluate_every=5", HELDOUT]),
        (["run.exact_problems=lab:countdown"], ["run.exact_problems=lab:countdown", "run.exact_every=5"]),
        (
            ["algorithm.kl_place=reward"],
            ["algorithm.kl_place=reward", "algorithm.kl=k3", "algorithm.kl_coefficient=0.1"],
        ),
        (["learner.warmup_steps=100"], ["learner.warmup_steps=100", "algorithm.epochs=2"]),
    ],
)
def test_settings_that_cannot_act_are_named(without_effect, with_effect):
    key = without_effect[0].partition("=")[0]
    (line,) = warned(load_config(None, without_effect))
    assert line.startswith(f"{key}=") and "\n" not in line
    assert warned(load_config(None, with_effect)) == []


def test_the_defaults_warn_of_nothing():
    assert warned(load_config(None)) == []


RECIPES = [
    path
    for path in sorted((ROOT / "configs").glob("*/*.yaml"))
    if path.parent.name != "ablations" and "runs:" not in path.read_text()
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_warns_of_nothing(recipe):
    assert warned(load_config(recipe)) == []


def test_k1_in_the_loss_has_no_gradient_and_is_refused():
    with pytest.raises(InputError, match="zero expected gradient"):
        load_config(None, ["algorithm.kl=k1", "algorithm.kl_coefficient=0.1"])
    load_config(None, ["algorithm.kl=k1", "algorithm.kl_coefficient=0.1", "algorithm.kl_place=reward"])


def test_unknown_key_in_a_recipe_names_the_file(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("algorithm:\n  group_sizes: 4\n")
    with pytest.raises(
        InputError, match=r"mine\.yaml: unknown key algorithm\.group_sizes; did you mean algorithm\.group_size\?"
    ):
        load_config(recipe)


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "\t"])
def test_unreadable_recipes(tmp_path, text):
    recipe = tmp_path / "broken.yaml"
    recipe.write_text(text)
    with pytest.raises(InputError, match=r"broken\.yaml"):
        load_config(recipe)


def test_a_recipe_builds_on_its_base_and_overrides_go_last(tmp_path):
    (tmp_path / "base.yaml").write_text("name: base\nlearner: {learning_rate: 0.5, ranks: 3}\n")
    (tmp_path / "derived.yaml").write_text("base: base.yaml\nname: derived\nlearner: {ranks: 2}\n")
    config = load_config(tmp_path / "derived.yaml", ["seed=7"])
    assert (config.name, config.learner.learning_rate, config.learner.ranks, config.seed) == ("derived", 0.5, 2, 7)
    (tmp_path / "base.yaml").write_text("base: derived.yaml\n")
    with pytest.raises(InputError, match="circle"):
        load_config(tmp_path / "derived.yaml")


def test_the_resolved_config_reads_back_as_itself(tmp_path):
    config = load_config(None, ["strategies=[{name: trace_injection, rate: 0.5}]", "learner.ranks=2"])
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load_config(tmp_path / "config.yaml") == config


def test_every_setting_says_what_it_does():
    assert [name for name, known in all_settings().items() if not known.doc] == []


BOUNDS = {"least": -1, "above": 0, "most": 1, "below": 0}  # and how far beyond the bound a number is outside


@pytest.mark.parametrize(
    ("name", "bound"),
    [(n, bound) for n, known in all_settings().items() for bound in BOUNDS if getattr(known, bound) is not None],
)
def test_every_bound_refuses_what_is_outside(name, bound):
    known = all_settings()[name]
    outside = getattr(known, bound) + BOUNDS[bound]
    value = [outside] * len(known.default) if isinstance(known.default, list) else outside
    with pytest.raises(InputError, match=rf"{name}=.*: expected {known.allowed}"):
        load_config(None, [f"{name}={value}"])


@pytest.mark.parametrize("name", [name for name, known in all_settings().items() if known.choices])
def test_every_choice_refuses_what_is_none_of_them(name):
    known = all_settings()[name]
    wrong = 99 if isinstance(known.default, int) else "nonsense"
    with pytest.raises(InputError, match=rf"{name}=.*: expected one of {known.choices[0]}"):
        load_config(None, [f"{name}={wrong}"])


def test_a_recipe_of_the_project_has_a_name_that_works_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        load_config("lab/grpo").learner.learning_rate
        == load_config(ROOT / "configs" / "lab" / "grpo.yaml").learner.learning_rate
    )
    with pytest.raises(InputError, match=r"lab/grpoo: no such recipe; did you mean lab/grpo\?"):
        load_config("lab/grpoo")
    assert "ablations/trace_rate" in names()


@pytest.mark.parametrize("loss", ["cispo", "gspo", "kl_cov"])
def test_a_loss_that_acts_from_the_second_update_on_is_warned_about(loss):
    line, *_ = warned(load_config(None, [f"algorithm.loss={loss}"]))
    assert line.startswith(f"algorithm.loss='{loss}' has no effect")
    settings = [f"algorithm.loss={loss}", "algorithm.minibatches=2", "algorithm.aggregation=sequence"]
    assert warned(load_config(None, settings)) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["algorithm.loss=gspo", "algorithm.minibatches=2"], "one loss a sequence: set algorithm.aggregation=sequence"),
        (["strategies=[{name: flow_rl}]"], "flow_rl is one loss a sequence"),
        (["algorithm.loss=gspo", "algorithm.loss_options={clip_high: 0.2}"], "a bound of 0.2: the ratio of a sequence"),
        (["strategies=[{name: remax}]", "algorithm.advantage=rloo"], "has no effect: remax makes the advantages"),
        (["strategies=[{name: flow_rl}]", "algorithm.loss=cispo"], "flow_rl stands in the policy gradient's place"),
    ],
)
def test_what_runs_and_is_not_what_was_meant_is_warned_about(settings, said):
    assert any(said in line for line in warned(load_config(None, settings)))


@pytest.mark.parametrize(
    ("device", "override"),
    [
        ("cpu", "rollout.gpu_memory_utilization=0.5"),
        ("cpu", "rollout.enforce_eager=false"),
        ("cuda", "rollout.kv_cache_gib=2"),
        ("cuda", "rollout.threads=2"),
        ("cuda", "learner.threads=2"),
    ],
)
def test_settings_of_the_other_device_are_warned_about(device, override):
    other = {"cpu": "cuda", "cuda": "cpu"}[device]
    (line,) = warned(load_config(None, [f"devices.device={device}", override]))
    assert line.startswith(override.split("=")[0]) and "has no effect" in line
    assert warned(load_config(None, [f"devices.device={other}", override])) == []
    assert warned(load_config(None, [f"devices.device={device}"])) == []


def test_paths_of_a_recipe_are_beside_it_and_home_is_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for folder in ("here", "recipes/data", "home/m"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "recipes" / "data" / "train.jsonl").write_text("{}")
    (tmp_path / "here" / "mine.py").write_text("")
    recipe = tmp_path / "recipes" / "r.yaml"
    recipe.write_text("problems: {train: data/train.jsonl}\nmodel: {path: ~/m}\nrun: {output: ~/out}")
    monkeypatch.chdir(tmp_path / "here")
    config = load_config(recipe, ["strategies=[{name: mine.py:Mine}]"])
    assert config.problems.train == str(tmp_path / "recipes" / "data" / "train.jsonl")
    assert (config.model.path, config.run.output) == (str(tmp_path / "home" / "m"), str(tmp_path / "home" / "out"))
    assert config.strategies == [{"name": f"{tmp_path}/here/mine.py:Mine"}]
    taught = "strategies: [{name: likelihood, traces: data/train.jsonl}, {name: pba, base: data/train.jsonl},"
    recipe.write_text(f"{recipe.read_text()}\n{taught} {{name: hpt, traces: {{file: data/train.jsonl}}}}]")
    likelihood, pba, hpt = load_config(recipe).strategies
    assert {likelihood["traces"], pba["base"], hpt["traces"]["file"]} == {config.problems.train}
    # What is typed belongs to the working directory, and what is nowhere stays as it was typed.
    typed = load_config(recipe, ["problems.train=data/train.jsonl", "model.path=models/none", "model.template=chat"])
    assert (typed.problems.train, typed.model.path) == ("data/train.jsonl", "models/none")
    assert typed.model.template == "chat"


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("learner.zero_stage=0", "at learner.zero_stage 1 and 2 only"),
        ("learner.zero_stage=3", "FusedAdam only.*use stage 1 or 2"),
        ("learner.offload_optimizer=true", "in CPU memory already"),
    ],
)
def test_what_a_learner_that_leaves_its_gpu_does_not_go_with(override, why):
    both = ["devices.colocate=true", "devices.offload_learner=true", "learner.zero_stage=2"]
    assert load_config(None, both).devices.offload_learner
    with pytest.raises(InputError, match=f"devices.offload_learner=True: .*{why}"):
        load_config(None, [*both, override])
