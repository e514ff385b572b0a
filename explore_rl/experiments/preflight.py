"""Everything that a run can be refused for, looked at before anything starts: one list, for `--check` and for `train`.

A check raises InputError. Those that need what another one reads wait for it, so that each fault is told once, and all
of them are told together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from analysis.errors import InputError
from explore_rl import problems, strategies
from explore_rl.cluster import placement
from explore_rl.config.checks import warnings
from explore_rl.config.lora import read_lora
from explore_rl.config.schema import Config, ProblemsConfig
from explore_rl.experiments.resuming import (
    content_hash,
    refuse_other_checkpoints,
    refuse_other_problems,
    refuse_other_settings,
)
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.experiments.tracking import refuse_tracker
from explore_rl.files import refuse_unwritable
from explore_rl.lab.families import family_of
from explore_rl.learner.fitting import check_fits
from explore_rl.models import end_token_ids, load_model_config, load_tokenizer, resolve_model
from explore_rl.problems.template_checks import check as check_template
from explore_rl.problems.template_checks import check_lengths
from explore_rl.problems.templates import Template, load_template
from explore_rl.strategies import together
from explore_rl.strategies.base import Strategy, needs_of
from explore_rl.strategies.rivals import without_effect
from explore_rl.strategies.together import is_builtin
from explore_rl.training.evaluation_sets import EvaluationSet, evaluation_sets
from explore_rl.types import Problem
from explore_rl.verifiers.base import make_verifier
from explore_rl.weight_files import check_weights

log = logging.getLogger(__name__)


def output_folder(config: Config) -> Path:
    return Path(config.run.output)


@dataclass(frozen=True)
class Inputs:
    """What a run starts from, read and checked.

    training: the problems to train on.
    evaluations: the sets that are evaluated during training.
    strategies: all of the run, in order.
    content: hashes of both sets of problems, training and held-out.
    changed: settings that a resumed run was allowed to change, and did: setting -> [before, now].
    """

    training: list[Problem]
    evaluations: list[EvaluationSet]
    strategies: list[Strategy]
    content: dict[str, str]
    changed: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> str:
        return ", ".join(s.key for s in self.strategies if not is_builtin(s)) or "none (GRPO)"


class _Found:
    """What the checks have read so far. An attribute is there once its check has passed."""

    def __init__(self, config: Config, resume: bool, *, allowed: Sequence[str]):
        self.config, self.resume, self.allowed = config, resume, allowed
        self.strategies: list[Strategy] = []
        self.training: list[Problem] = []
        self.evaluations: list[EvaluationSet] = []
        self.content: dict[str, str] = {}
        self.changed: dict[str, Any] = {}
        self.template: Template
        self.tokenizer: Any
        self.model_config: Any
        self.notes: list[str] = []  # warnings, said when all checks are through


def check(config: Config, *, resume: bool = False, allowed: Sequence[str] = (), read: Readings | None = None) -> Inputs:
    """Reads and checks everything that the user gave, and starts nothing. Raises InputError, of all faults together.

    config: the run's.
    resume: whether to go on with the run that the folder holds.
    allowed: settings that may have changed since then, as in `resuming.refuse_other_settings`.
    read: what the checks of other runs have read, for those that read the same; it gets what this one reads.
    """
    found = _Found(config, resume, allowed=allowed)
    passed: set[str] = set()
    faults: list[InputError] = []
    if read is not None:
        passed |= read.taken_by(found)
    for one in CHECKS:
        if one.name in passed:
            continue
        if not set(one.after) <= passed:
            continue  # what it needs was refused already
        try:
            one.run(found)
            passed.add(one.name)
        except InputError as error:
            faults.append(error)
    if faults:
        raise faults[0] if len(faults) == 1 else InputErrors(faults)
    if read is not None:
        read.of[_read_by(config)] = found
    for line in found.notes:
        log.warning("%s", line)
    return Inputs(found.training, found.evaluations, found.strategies, found.content, found.changed)


class Readings:
    """What was read for several runs: most runs of a sweep differ in what is learnt and not in what is read."""

    def __init__(self) -> None:
        self.of: dict[str, _Found] = {}

    def taken_by(self, found: _Found) -> set[str]:
        """Gives `found` what was read for another run. Returns the checks that this spares; none where nothing was."""
        other = self.of.get(_read_by(found.config))
        if other is None:
            return set()
        for name in ("training", "evaluations", "template", "tokenizer", "model_config"):
            setattr(found, name, getattr(other, name))
        return {one.name for one in CHECKS} - OF_EACH_RUN


# The checks that hang on what one run of a sweep has and another has not.
OF_EACH_RUN = {"strategies", "layout", "together", "folder", "content"}


def _read_by(config: Config) -> str:
    """All settings but those that only checks of OF_EACH_RUN look at."""
    settings = asdict(config)
    for name in ("name", "seed", "strategies", "algorithm", "learner"):
        del settings[name]
    del settings["run"]["output"]
    return repr(settings)


class InputErrors(InputError):
    """Several faults at once, for a command line to print one a line."""

    def __init__(self, errors: Sequence[InputError]):
        super().__init__("; ".join(map(str, errors)))
        self.errors = list(errors)


# --- the checks -------------------------------------------------------------------------------------------------------


def _strategies(found: _Found) -> None:
    found.strategies = strategies.of(found.config)


def _layout(found: _Found) -> None:
    config = found.config
    needs = needs_of(found.strategies, config)
    placement.refuse_impossible(config, config.rollout.base_actors if needs.base_engine else 0)
    device = placement.resolve(config)
    found.notes += warnings(config, device, draws_from_base=needs.base_engine)
    found.notes += without_effect(found.strategies, config)


def _model(found: _Found) -> None:
    path = found.config.model.path
    folder = resolve_model(path)
    found.model_config = load_model_config(path)
    text = found.model_config.get_text_config()
    vocabulary = getattr(text, "vocab_size", None)
    outside = [i for i in end_token_ids(path) if vocabulary is not None and not 0 <= i < vocabulary]
    if outside:
        raise InputError(
            f"model.path={path}: end token {outside[0]} is outside the model's vocabulary of {vocabulary}; look at "
            f"eos_token_id in {folder / 'generation_config.json'} and {folder / 'config.json'}"
        )


def _weights(found: _Found) -> None:
    folder = resolve_model(found.config.model.path)
    attention = found.config.model.attention
    found.notes += check_fits(folder, found.model_config, stored=check_weights(folder), attention=attention)


def _lora(found: _Found) -> None:
    """The layers that get an adapter are looked for in the model's shape alone."""
    lora = read_lora(found.config.learner.lora)
    if lora is not None:
        from explore_rl.learner.lora import check_targets  # imports torch

        check_targets(found.config.model.path, lora)


def _tokenizer(found: _Found) -> None:
    found.tokenizer = load_tokenizer(found.config.model.path)


def _template(found: _Found) -> None:
    found.template = load_template(found.config.model.template)
    # How long completions may be is looked at with every prompt (`_lengths`).
    found.notes += check_template(found.tokenizer, found.template, model_config=found.model_config)


def training_problems(settings: ProblemsConfig) -> list[Problem]:
    """Raises InputError where a recipe names none, or a file that cannot be read or is empty."""
    if settings.train is None:
        raise InputError(
            "problems.train: there is nothing to train on; give a file (problems.train=FILE) or a spec such as "
            "problems.train='lab:countdown?level=3&split=train'"
        )
    loaded = problems.load_problems(settings.train, format=settings.format, limit=settings.limit)
    if not loaded:
        raise InputError(f"{settings.train}: holds no problems")
    return loaded


def _verifiers(found: _Found) -> None:
    """Each verifier that is asked for is made once with its options, since it would refuse them after the start."""
    options = found.config.verifiers.options
    asked = dict.fromkeys([*options, *(problem.verifier for problem in found.training)])
    for one in found.evaluations:
        asked |= dict.fromkeys([one.verifier] if one.verifier else [problem.verifier for problem in one.problems])
    for name in asked:
        make_verifier(name, options.get(name))


def _training(found: _Found) -> None:
    found.training = training_problems(found.config.problems)
    asked = found.config.algorithm.prompts_per_step
    if asked > len(found.training):
        found.notes.append(
            f"algorithm.prompts_per_step={asked}: there are {len(found.training)} problems to train on, so that a step "
            "draws some of them more than once"
        )


def _evaluations(found: _Found) -> None:
    found.evaluations = evaluation_sets(found.config)


def _lengths(found: _Found) -> None:
    """Every prompt with its completion has to fit the model's positions."""
    config = found.config
    text = found.model_config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    sets = [(found.training, config.rollout.max_new_tokens, "rollout.max_new_tokens")]
    sets += [(one.problems, one.max_new_tokens, f"max_new_tokens of {one.name}") for one in found.evaluations]
    for asked, completion, called in sets:
        prompt = check_lengths(
            asked,
            found.template,
            tokenizer=found.tokenizer,
            max_prompt_tokens=config.model.max_prompt_tokens,
            vocabulary=getattr(text, "vocab_size", None),
        )
        if positions is not None and prompt >= positions:
            raise InputError(
                f"the longest prompt has {prompt} tokens, the model {positions} positions, so that no completion has"
                " room; leave such problems out with explore-rl problems --max-prompt-tokens"
            )
        if positions is not None and prompt + completion > positions:
            raise InputError(
                f"{called}={completion}: with the longest prompt of {prompt} tokens it takes {prompt + completion}, "
                f"the model has {positions} positions; at most {positions - prompt} are left"
            )


def _together(found: _Found) -> None:
    together.check(found.strategies, found.config, problems=found.training)


def _exact(found: _Found) -> None:
    if found.config.run.exact_every:
        for problem in problems.load_problems(found.config.run.exact_problems):
            family_of(problem)


def _tracker(found: _Found) -> None:
    refuse_tracker(found.config)


def _folder(found: _Found) -> None:
    """A resumed run goes on as it began, a new one needs an empty place; both have to be writable."""
    path = output_folder(found.config)
    if found.resume:
        folder = RunFolder.open(path)
        found.changed = refuse_other_settings(found.config, folder, allowed=found.allowed)
        refuse_other_checkpoints(found.config, folder)
    else:
        RunFolder.refuse_existing(path)
    refuse_unwritable(path, "run.output")


def _content(found: _Found) -> None:
    heldout = next((one.problems for one in found.evaluations if one.name == "heldout"), [])
    found.content = {"train": content_hash(found.training), "heldout": content_hash(heldout)}
    if found.resume:
        free = {"problems.heldout", "run.evaluate_every"} & found.changed.keys()
        fixed = {side: now for side, now in found.content.items() if not (free and side == "heldout")}
        refuse_other_problems(output_folder(found.config), fixed)


@dataclass(frozen=True)
class _Check:
    """after: names of the checks whose findings it uses."""

    run: Callable[[_Found], None]
    after: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.run.__name__.removeprefix("_")


CHECKS = (
    _Check(_strategies),
    _Check(_layout, ("strategies",)),
    _Check(_model),
    _Check(_weights, ("model",)),
    _Check(_lora, ("model",)),
    _Check(_tokenizer, ("model",)),
    _Check(_template, ("tokenizer",)),
    _Check(_training),
    _Check(_evaluations),
    _Check(_verifiers, ("training", "evaluations")),
    _Check(_lengths, ("template", "training", "evaluations")),
    _Check(_together, ("strategies", "training")),
    _Check(_exact),
    _Check(_tracker),
    _Check(_folder),
    _Check(_content, ("training", "evaluations", "folder")),
)


def summary(config: Config, inputs: Inputs) -> str:
    """A few lines on what `run` would do, and what it takes."""
    algorithm = config.algorithm
    needs = needs_of(inputs.strategies, config)
    drawn = algorithm.prompts_per_step * algorithm.group_size
    epochs = config.run.steps * algorithm.prompts_per_step / len(inputs.training)
    sets = ", ".join(f"{len(one.problems)} {one.name} x {one.n}" for one in inputs.evaluations) or "none"
    return "\n".join(
        [
            f"run:        {output_folder(config)}, {config.run.steps} steps, seed {config.seed}",
            f"model:      {config.model.path} in {config.model.dtype}",
            f"problems:   {len(inputs.training)} to train on ({epochs:.3g} times over); evaluated on: {sets}",
            f"strategies: {inputs.names}",
            f"a step:     {algorithm.prompts_per_step} prompts x {algorithm.group_size} = {drawn} completions of up to "
            f"{config.rollout.max_new_tokens} tokens, {algorithm.minibatches * algorithm.epochs} optimizer step(s)",
            f"takes:      {placement.demand(config, config.rollout.base_actors if needs.base_engine else 0)}",
        ]
    )
