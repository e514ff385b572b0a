"""What a run refuses of a strategy, or of several together, before anything starts."""

from pathlib import Path

import numpy as np
import pytest

from analysis.errors import InputError
from explore_rl.config.loading import load_config
from explore_rl.objectives import losses
from explore_rl.objectives.readouts import head, logprob
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies import columns, make, of, together
from explore_rl.strategies.base import Column, Needs, Strategy

REPOSITORY = Path(__file__).resolve().parents[2]


class Wants(Strategy):
    """Declares whatever a test gives it."""

    def __init__(self, needs=None, terms=(), name="wants"):
        self.wanted, self.declared, self.name = needs or Needs(), list(terms), name

    def needs(self, config):
        return self.wanted

    def terms(self, config):
        return self.declared


def check(*strategies, settings=()):
    config = load_config(None, list(settings))
    together.check(together.assemble(list(strategies), config), config, problems=[])


def column(name="base_logprob", model="base", readout=None):
    return Needs(columns=(Column(name, model, readout or logprob()),))


def term(name):
    return LossTerm(name=name, function=losses.likelihood)


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        (column(model="teacher"), "is of the model 'teacher'; known are policy, base, or critic with"),
        (
            column(model="critic", readout=head("value")),
            "is of the model 'critic'; known are policy, base, or critic with",
        ),
        (Needs(columns=(Column("x", "base", 1.0),)), "1.0 is no readout"),
        (column(name="old_logprob"), "is made by others"),
        (column(name="mask"), "is made by others"),
        (column(name="z", model="policy", readout=head("z")), "reads the head 'z'; name it in Needs.heads"),
    ],
)
def test_columns_that_nobody_could_fill(needs, said):
    with pytest.raises(InputError, match=rf"strategies: wants: column .*{said}"):
        check(Wants(needs))


@pytest.mark.parametrize(
    ("declared", "needs", "said"),
    [
        ([LossTerm("pull", losses.likelihood), LossTerm("pull", losses.likelihood)], None, "'pull' twice"),
        ([LossTerm("pull", losses.likelihood, model="teacher")], None, "moves the model 'teacher'; it can be policy"),
        ([LossTerm("pull", losses.likelihood, model="critic")], None, "critic with Needs.critic=True"),
        ([LossTerm("pull", losses.likelihood, columns=(head("z"),))], None, "reads the head 'z'"),
        ([LossTerm("pull", losses.likelihood, columns=(3.0,))], None, "column 3.0 is neither a name nor a readout"),
        ([LossTerm("pull", losses.likelihood, columns=(head("z"),))], Needs(heads=("z",)), ""),
    ],
)
def test_terms_that_could_not_be_computed(declared, needs, said):
    if not said:
        return check(Wants(needs, declared))
    with pytest.raises(InputError, match=f"strategies: wants: .*{said}"):
        check(Wants(needs, declared))


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        (
            Wants(terms=[LossTerm("pull", losses.ppo_clip, ("old_logprob", "advantages"))]),
            "loss term 'pull' reads the column 'advantages', which nobody makes; did you mean advantage?",
        ),
        (
            Wants(terms=[LossTerm("pull", losses.ppo_clip, ("old_logprob", "hardness"))]),
            "'hardness', which nobody makes; known are old_logprob, entropy, .* names in Needs.writes",
        ),
        (Wants(Needs(writes=("worth",))), "wants writes the column 'worth', which is made by the rows"),
        (
            Wants(Needs(writes=("x",), columns=column("x").columns)),
            r"wants writes the column 'x', which is made by the learner: token_logprob\(temperature=1.0\) of base",
        ),
    ],
)
def test_a_column_has_one_maker_and_a_term_reads_none_without(strategy, said):
    with pytest.raises(InputError, match=said):
        check(strategy)


def test_the_page_names_every_column_and_a_strategys_own_is_one_of_them():
    page = (REPOSITORY / "docs" / "strategies.md").read_text()
    assert not [name for name in columns.MADE if f"`{name}`" not in page]
    own = Wants(Needs(writes=("hardness",)), [LossTerm("pull", losses.ppo_clip, ("old_logprob", "hardness"))])
    check(own)
    assert columns.makers([own], load_config(None)) == {**columns.MADE, "hardness": "wants"}
    check(Wants(Needs(writes=("mask",))))  # strategies share it


def named_hook(name):
    return type("Hooked", (Strategy,), {name: lambda self, groups, context: None})


@pytest.mark.parametrize("name", ["before_update", "on_step_end", "filter_groups"])
def test_hooks_that_are_no_place_are_refused(name):
    with pytest.raises(InputError, match=f"{name} is no place of a step, and would never be called; the places are"):
        check(named_hook(name)())


@pytest.mark.parametrize("name", ["remax", "ppo", "rs_grpo", "reinforce_pp", "flow_rl", "trajectory_balance"])
def test_what_there_is_one_of_is_refused_beside_itself(name):
    settings = ("algorithm.advantage=dr_grpo",) if name == "reinforce_pp" else ()
    options = {"baseline": "group"} if name == "reinforce_pp" else {}
    with pytest.raises(InputError, match=name):
        check(*make([{"name": name, **options}, {"name": name, **options}]), settings=settings)


def test_columns_that_can_be_filled():
    critic = Needs(columns=(Column("value", "critic", head("value")),), critic=True)
    heads = Needs(columns=(Column("z", "policy", head("z")),), heads=("z",))
    check(Wants(column()), Wants(column()), Wants(critic), Wants(heads))


def test_one_column_of_two_meanings_is_refused():
    hotter = Needs(columns=(Column("base_logprob", "base", logprob(1.5)),))
    with pytest.raises(InputError, match=r"'base_logprob', with .*temperature=1.5.* of base and .*temperature=1.0"):
        check(Wants(hotter), settings=["algorithm.kl=k3", "algorithm.kl_coefficient=0.1"])


@pytest.mark.parametrize("name", ["policy_gradient", "entropy"])
def test_no_built_in_term_is_replaced(name):
    with pytest.raises(InputError, match=f"strategies: wants: the loss term {name!r} is built in"):
        check(Wants(terms=[term(name)]), settings=["algorithm.entropy_coefficient=0.1"])


def test_two_terms_of_one_name_are_refused_unless_they_are_named_by_instance():
    with pytest.raises(InputError, match=r"mine and wants both declare .*self.term_name\('pull'\)"):
        check(Wants(terms=[term("pull")], name="mine"), Wants(terms=[term("pull")]))
    first, second = make([{"name": "trace_injection"}, {"name": "trace_injection", "gamma": 0.9}])
    config = load_config(None)
    together.assemble([first, second], config)
    assert [t.name for s in (first, second) for t in s.terms(config)] == [
        "shaped_trace",
        "trace_injection-2.shaped_trace",
    ]


def test_a_class_is_named_after_itself_unless_it_has_a_name():
    class ShortAnswers(Strategy):
        pass

    class Other(ShortAnswers):
        name = "other"

    assert (ShortAnswers.name, Other.name) == ("short_answers", "other")


def test_the_strategies_of_a_config_with_the_built_in_ones_around_them():
    settings = ["strategies=[{name: diversity_bonus}]", "algorithm.kl=k1", "algorithm.kl_coefficient=0.1"]
    after = ["algorithm.mask_truncated=true", "algorithm.dynamic_sampling_rounds=2"]
    config = load_config(None, [*settings, "algorithm.kl_place=reward", *after])
    keys = ["group_advantage", "kl", "diversity_bonus", "engine_correction", "overlong", "dynamic_sampling"]
    assert [strategy.key for strategy in of(config)] == keys


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["algorithm.loss=ppo_clop"], "algorithm.loss=ppo_clop: no such loss; did you mean ppo_clip?"),
        (["algorithm.loss=nowhere:loss"], "algorithm.loss=nowhere:loss: cannot be made"),
        (["algorithm.loss=numpy:array"], "algorithm.loss=numpy:array: cannot be made"),
        (
            ["algorithm.loss_options={clip: 1}"],
            "algorithm.loss_options.clip: ppo_clip has clip_low, clip_high, dual_clip",
        ),
        (["algorithm.loss=numpy:random.rand"], "cannot be made"),
        (["algorithm.loss=time:time"], "returned float; expected an explore_rl.objectives.losses.Loss"),
    ],
)
def test_losses_that_are_not_there(settings, said):
    with pytest.raises(InputError) as caught:
        check(settings=settings)
    assert said in str(caught.value)


def test_clipping_beside_a_loss_of_ones_own_has_no_effect():
    with pytest.raises(InputError, match=r"algorithm.clip_high=0.28: has no effect with algorithm.loss=mine:loss"):
        load_config(None, ["algorithm.loss=mine:loss", "algorithm.clip_high=0.28"])


def test_a_context_without_a_learner_says_so(step):
    with pytest.raises(RuntimeError, match="no learner here"):
        step().read([(np.zeros(2, dtype=np.int32), 1)], (logprob(),))
