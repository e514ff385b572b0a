"""Pairs of shipped strategies, each as its `trial` has it: whether they are refused, and what a run with both does."""

import tempfile
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
from claims import CLAIMS, Seen, check_claims
from judge_server import Server, of_probability

from analysis.errors import InputError
from explore_rl import strategies
from explore_rl.strategies import together
from explore_rl.strategies.methods import mentor, mixed_cuts
from explore_rl.testing import digit_problems, digit_table, digits_config, run_steps

STEPS = 2  # what replays has something to replay from the second on
COUNTS = str(Path(__file__).parent / "base_counts.csv")
EXACT = ("algorithm.importance_cap=null", "algorithm.advantage=rloo", "algorithm.aggregation=constant")
BOTH_PROCESSORS = (
    f'rollout.engine={{logits_processors: ["{mentor.PROCESSOR}", "{mixed_cuts.PROCESSOR}"],'
    " additional_config: {expert: {model: PATH}}, async_scheduling: false}"
)
KL = ("algorithm.kl=k3", "algorithm.kl_coefficient=0.25")
# It is as sure as a hash of what it reads, and is asked once about the same.
JUDGE = Server([lambda body: of_probability(sha256(body["messages"][0]["content"].encode()).digest()[0] / 255)])
# How a strategy is switched on and off, and its settings, where its trial does not say it all.
ON = {
    "pba": {"base": COUNTS, "k": 16, "reach": 0.2, "coefficient": 0.5},
    "prefix_rl": {"rate": 0.3},
    "prorl": {"every": 1},
    "reinforce_pp": {"baseline": "group"},
    "soft_overlong": {"buffer": 1},
    "trace_injection": {"statistics": "on_policy"},
    "uft": {"rate": 0.5},
    "pope": {"hard": 0.4, "rate": 1.0},
    "rl_plus": {"statistics": "on_policy"},
    "srft": {"statistics": "on_policy"},
    "relift": {"size": 1},
    "rlpr": {"marker": "2", "filter": 0.0, "share": 0.5},
    "soft_judge": {"judge": {"url": JUDGE.url, "model": "judge"}, "share": 0.5},
    "simko": {"alpha": 0.2, "penalty": 1.5, "quantile": 0.5},
    "flow_rl": {"beta": 2.0},
    # as the claims have them
    "diversity_bonus": {"kind": "ucb"},
    "likelihood": {"coefficient": 0.5},
    "mixture_policy": {"share_policy": 0.5, "share_base": 0.25, "share_hot": 0.25},
    "rs_grpo": {"beta": 2.0},
}
# Of rescues beside each other: short of the whole solution, in small groups, so that one leaves failures to the other.
SHORT = {
    "bread": {"branches": 1, "attempts": 1},
    "hints": {"draws": 1, "tiers": [0.4]},
    "prefix_rft": {"low": 0.4, "high": 0.4, "final": 0.4},
}
SMALL = "algorithm.group_size=2"
OFF = {
    "pba": {"coefficient": 0.0},
    "trace_injection": {"rate": 0.0},
    "rl_plus": {"rate": 0.0},
    "diversity_bonus": {"coefficient": 0.0},
    "likelihood": {"rate": 0.0},
    "prorl": {"every": None},
    "soft_overlong": {"coefficient": 0.0},
}
SETTINGS = {
    "mentor": (*strategies.class_of("mentor").trial.settings, "run.steps=4"),  # the first step mixes nothing
    "mixed_cuts": (BOTH_PROCESSORS,),  # so that a mixture in the engine goes beside it
    "mixture_policy": EXACT,
    "prorl": (*KL, "learner.optimizer=adamw", "learner.learning_rate=0.1"),
    "reinforce_pp": ("algorithm.advantage=rloo",),
    # room behind the marker, and successes all the same
    "rlpr": (
        "algorithm.divide_by_std=null",
        "algorithm.advantage=rloo",
        "algorithm.group_size=16",
        "rollout.max_new_tokens=4",
    ),
    "mode_partition": ("algorithm.group_size=16", "run.steps=4"),  # successes of several modes
    "rlep": ("run.steps=4",),
    "pope": ("run.steps=4",),  # a problem has to fail and to come again
    "ucpo": ("algorithm.group_size=16",),
    "mara": ("algorithm.group_size=16",),
    "kl in the loss": KL,
    "kl in the reward": (*KL, "algorithm.kl_place=reward"),
    "entropy": ("algorithm.entropy_coefficient=0.125",),
    "engine_correction": ("algorithm.importance_cap=2.0",),
    "overlong": ("algorithm.mask_truncated=true",),
    "dynamic_sampling": ("algorithm.dynamic_sampling_rounds=6",),
}
BUILTIN = ("kl in the loss", "kl in the reward", "entropy", "engine_correction", "overlong", "dynamic_sampling")
RESCUES = ("bread", "hints", "hpt", "relift", "prefix_rft")  # act where draws fail, or bring successes
ONE_SIDED = ("witness_floor",)  # acts where something has fallen, and in so few steps beside some nothing has
NAMES = (*strategies.STRATEGIES, *BUILTIN)


def made(names, off=(), *, short=False):
    """New instances, in this order; those of `off` switched off."""
    listed = []
    for name in (n for n in names if n not in BUILTIN):
        kind = strategies.class_of(name)
        options = {**kind.trial.on, **ON.get(name, {}), **(SHORT.get(name, {}) if short else {})}
        listed.append(
            {"name": name, **options, **({**(kind.trial.off or {}), **OFF.get(name, {})} if name in off else {})}
        )
    return strategies.make(listed)


def settings_of(names):
    settings = [setting for name in sorted(names) for setting in SETTINGS.get(name, ())]
    if "rs_grpo" in names:  # which makes the advantages, and refuses a setting that says so
        settings = [setting for setting in settings if not setting.startswith("algorithm.advantage=")]
    settings += [SMALL] if set(names) <= set(RESCUES) else []
    settings += SETTINGS["engine_correction"] if "engine_correction" in names else ("algorithm.importance_cap=null",)
    return (f"run.steps={STEPS}", *settings)


def refusal(one, other):
    """The reason why the two do not go together; empty where they do."""
    if {one, other} == {"kl in the loss", "kl in the reward"}:
        return "one setting, algorithm.kl_place"
    config = digits_config(*settings_of((one, other)))
    try:
        together.check(together.assemble(made((one, other)), config), config, problems=digit_problems())
    except InputError as error:
        return str(error)
    return ""


def changed_table(changes, config):
    """The table with what some strategies need to act.

    "lengths": now and then the end comes after one digit. "thought": after two digits a 1 or a 2 is as likely as the
    end, and so likelier than as the second digit: as a reference it gains by what stands before it.
    """
    table = digit_table(config=config)
    positions, end = config.rollout.max_new_tokens, table.logits[2].argmax()
    if "thought" in changes:
        table.logits[2::positions, [1, 2]] = 0.0
    if "lengths" in changes:
        table.logits[1::positions, end] = -1.0
    return table


def table_of(names, settings, *, changes, off=()):
    """The table that `STEPS` steps leave, and the largest gradient of any. Every number is finite.

    changes: of the table that they begin with.
    """
    config = digits_config(*settings)
    table = changed_table(changes, config)
    with tempfile.TemporaryDirectory() as folder:
        outcome = run_steps(folder, made(names, off, short=SMALL in settings), config=config, table=table)
    assert all(update.report.finite for update in outcome.updates)
    return outcome.table, max(float(np.abs(update.gradient).max()) for update in outcome.updates)


@cache
def alone(name, settings, *, changes):
    return table_of((name,), settings, changes=changes)[0]


def changes_for(names):
    changes = ["lengths"] if {"soft_overlong", "rep_exp"} & {*names} else []  # by which alone hidden states differ
    return (*changes, *(["thought"] if "rlpr" in names else []))


def check_figures(one, other):
    """Each that claims figures (kits/claims.py) keeps them in the first step beside the other; and the normalisers."""
    config = digits_config(*settings_of((one, other)), "run.steps=1")
    seen = Seen()
    listed = made((one, other), short={one, other} <= set(RESCUES))
    with tempfile.TemporaryDirectory() as folder:
        table = changed_table(changes_for((one, other)), config)
        outcome = run_steps(folder, [*seen.watch(listed), seen], config=config, table=table)
        check_claims(outcome, seen.groups, (one, other))


def check_pair(one, other):
    """Both act beside each other, and each switched off leaves the other as it is, bit for bit; and their claims."""
    if {one, other} & CLAIMS.keys():
        check_figures(one, other)
    settings = settings_of((one, other))
    changes = changes_for((one, other))
    both, pull = table_of((one, other), settings, changes=changes)
    assert pull > 0, f"{one} and {other}: nothing is learnt"
    for off, on in ((one, other), (other, one)):
        if off in BUILTIN or off == "rs_grpo":  # whose switches are settings, or lead to Dr. GRPO
            continue
        beside, _ = table_of((one, other), settings, changes=changes, off=(off,))
        assert (beside == alone(on, settings, changes=changes)).all(), f"{off}, switched off, moves {on}"
        if off not in ONE_SIDED:
            assert (both != alone(on, settings, changes=changes)).any(), f"{off} does nothing beside {on}"
