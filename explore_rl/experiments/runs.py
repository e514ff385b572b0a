"""From a config to a finished run folder; used by `train`, `sweep` and the quick start alike."""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import logging
import shutil
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ray.exceptions import RayTaskError
from tqdm import tqdm

from analysis.errors import InputError
from explore_rl import problems, strategies
from explore_rl.cluster import placement
from explore_rl.cluster.faults import RunStopped
from explore_rl.config.checks import warnings
from explore_rl.config.loading import load_config, to_yaml
from explore_rl.config.schema import Config
from explore_rl.experiments.identity import settings_hash
from explore_rl.experiments.run_folder import RunFolder, environment
from explore_rl.experiments.tracking import make_tracker
from explore_rl.files import sees, write_atomic
from explore_rl.learner.learner import Learner
from explore_rl.models import load_model_config, load_tokenizer, resolve_model
from explore_rl.problems.templates import check as check_template
from explore_rl.problems.templates import check_lengths, load_template
from explore_rl.strategies import together
from explore_rl.strategies.base import Needs, Strategy, needs_of
from explore_rl.strategies.together import is_builtin
from explore_rl.training.actors import Actors, models_of
from explore_rl.training.trainer import Trainer
from explore_rl.types import Problem

log = logging.getLogger(__name__)


def output_folder(config: Config) -> Path:
    return Path(config.run.output)


@dataclass(frozen=True)
class Inputs:
    """What a run starts from, read and checked.

    training: the problems to train on.
    heldout: the problems of evaluations; empty where none are asked for.
    strategies: all of the run, in order.
    content: hashes of both sets of problems.
    """

    training: list[Problem]
    heldout: list[Problem]
    strategies: list[Strategy]
    content: dict[str, str]

    @property
    def names(self) -> str:
        return ", ".join(s.key for s in self.strategies if not is_builtin(s)) or "none (GRPO)"


def check(config: Config, resume: bool = False) -> Inputs:
    """Reads and checks everything that the user gave, and starts nothing. Raises InputError."""
    # Settings without effect under this config are told, not refused.
    chosen = strategies.of(config)
    device = placement.resolve(config) if config.devices.device == "auto" else config.devices.device
    for line in warnings(config, device, draws_from_base=needs_of(chosen, config).base_engine):
        log.warning("%s", line)

    # The model and its tokenizer, the problems, and whether they fit each other.
    resolve_model(config.model.path)
    tokenizer = load_tokenizer(config.model.path)
    training = problems.load_problems(config.problems.train, format=config.problems.format, limit=config.problems.limit)
    heldout = []
    if config.problems.heldout and config.run.evaluate_every:
        heldout = problems.load_problems(config.problems.heldout)
    if not training:
        raise InputError(f"{config.problems.train}: holds no problems")
    template = load_template(config.model.template)
    model_config = load_model_config(config.model.path)
    for line in check_template(
        tokenizer, template, model_config=model_config, max_tokens=config.rollout.max_new_tokens
    ):
        log.warning("%s", line)
    check_lengths(training + heldout, template, tokenizer=tokenizer, max_prompt_tokens=config.model.max_prompt_tokens)
    together.check(chosen, config, problems=training)
    if config.run.exact_every:
        problems.load_problems(config.run.exact_problems)  # read for the check alone

    # The folder: a resumed run goes on as it began, a new one needs an empty place.
    path = output_folder(config)
    content = {"train": content_hash(training), "heldout": content_hash(heldout)}
    if resume:
        refuse_other_settings(config, RunFolder.open(path))
        refuse_other_problems(path, content)
    else:
        RunFolder.refuse_existing(path)
    return Inputs(training, heldout, chosen, content)


def summary(config: Config, inputs: Inputs) -> str:
    """A few lines on what `run` would do, and what it takes. Raises InputError for a layout without meaning."""
    algorithm = config.algorithm
    needs = needs_of(inputs.strategies, config)
    drawn = algorithm.prompts_per_step * algorithm.group_size
    epochs = config.run.steps * algorithm.prompts_per_step / len(inputs.training)
    return "\n".join(
        [
            f"run:        {output_folder(config)}, {config.run.steps} steps, seed {config.seed}",
            f"model:      {config.model.path} in {config.model.dtype}",
            f"problems:   {len(inputs.training)} to train on ({epochs:.3g} times over), {len(inputs.heldout)} held out",
            f"strategies: {inputs.names}",
            f"a step:     {algorithm.prompts_per_step} prompts x {algorithm.group_size} = {drawn} completions of up to "
            f"{config.rollout.max_new_tokens} tokens, {algorithm.minibatches * algorithm.epochs} optimizer step(s)",
            f"takes:      {placement.demand(config, config.rollout.base_actors if needs.base_engine else 0)}",
        ]
    )


def run(config: Config, *, resume: bool = False, actors: Actors | None = None) -> Path:
    """Trains as `config` says, into its run folder, which it returns.

    Everything that the user gave is read and checked before any actor starts. Raises InputError, RunStopped and
    ActorFault, and KeyboardInterrupt after a clean stop by Ctrl-C.

    resume: whether to go on with the run that the folder holds.
    actors: those that an earlier run left, which are reset for this run and which the caller closes; None: own ones.
    """
    inputs = check(config, resume)
    path = output_folder(config)
    needs = needs_of(inputs.strategies, config)
    log.info(
        "run %s: %d problems, model %s, strategies: %s",
        path,
        len(inputs.training),
        resolve_model(config.model.path),
        inputs.names,
    )
    with own_or_given(actors, config, needs=needs) as used:
        # The folder is made only now, so that a layout or model that cannot start leaves none behind.
        if resume:
            folder = RunFolder.open(path)
            write_atomic(path / "config.yaml", to_yaml(config))
        else:
            facts = environment(config.seed, used.layout.kind)
            facts |= {"problems": inputs.content, "settings": settings_hash(config)}
            folder = RunFolder.create(path, to_yaml(config), facts)
        refuse_unshared(used.learner, folder, is_new=not resume)
        _run_with(used, config, inputs=inputs, folder=folder, resume=resume)
        return path


def _run_with(actors: Actors, config: Config, *, inputs: Inputs, folder: RunFolder, resume: bool) -> None:
    """Runs the steps that are left, with tracker and progress bar, and draws the curves."""
    trainer = Trainer(
        config,
        inputs.training,
        heldout=inputs.heldout,
        strategies=inputs.strategies,
        actors=actors,
        folder=folder,
    )
    begin = trainer.resume() if resume else 0
    if resume:
        log.info("resuming after %d of %d steps", begin, config.run.steps)
    tracker = make_tracker(config.run.tracker, folder, name=config.name, config=asdict(config))
    trainer.evaluations.report = tracker.log

    # Whatever ends the steps, the tracker is closed; a full disk becomes a stop that says how to go on.
    with (
        old_objects_left_alone(),
        interruptible() as asked_to_stop,
        tqdm(total=config.run.steps, initial=begin, desc=config.name, unit="step", dynamic_ncols=True) as progress,
    ):

        def on_step(number: int, metrics: dict[str, float]) -> None:
            tracker.log(number + 1, metrics)
            _show(progress, metrics)

        try:
            trainer.start()
            trainer.run(asked_to_stop.is_set, on_step)
        except (OSError, RayTaskError) as error:
            if disk_is_full(error):
                raise RunStopped(f"{folder.path}: the disk is full; free some room and go on with --resume") from error
            raise
        finally:
            tracker.close()

    # A run that was stopped has no final model and no curves; the command ends as Ctrl-C does.
    if asked_to_stop.is_set():
        log.warning(
            "stopped after %d of %d steps; the checkpoint is complete: go on with --resume",
            trainer.next_step,
            config.run.steps,
        )
        raise KeyboardInterrupt
    from explore_rl.experiments.curves import draw_curves

    draw_curves(folder)


def _show(progress: tqdm, metrics: dict[str, float]) -> None:
    """Moves the bar on by a step, with the few figures that say whether the run does well."""
    figures = {
        "pass@1": metrics.get("pass@1"),
        "entropy": metrics.get("entropy/token"),
        "s/step": metrics["seconds/step"],
    }
    progress.set_postfix({name: f"{value:.3f}" for name, value in figures.items() if value is not None}, refresh=False)
    progress.update()


def disk_is_full(error: Exception) -> bool:
    """Whether an error, of this process or of a rank, comes from a full disk.

    torch's archive writer reports a full disk without the reason, so its errors are taken as one.
    """
    cause = getattr(error, "cause", error)
    if isinstance(cause, OSError):
        return cause.errno in (errno.ENOSPC, errno.EDQUOT)
    return "inline_container" in str(cause) or "PytorchStreamWriter" in str(cause)


def refuse_unshared(learner: Learner, folder: RunFolder, *, is_new: bool) -> None:
    """Lets every rank look for a file that this process writes into the run folder.

    Each rank writes its own part of a checkpoint there. With a folder of its own on every node there would be a
    checkpoint nowhere. Raises InputError, and removes the folder if it is new.
    """
    mark = folder.path.resolve() / f".shared-{uuid.uuid4().hex}"
    mark.touch()
    try:
        seen = learner.apply(sees, mark)
    finally:
        mark.unlink()
    blind = [f"learner rank {i}" for i, sees_it in enumerate(seen) if not sees_it]
    if blind:
        if is_new:
            shutil.rmtree(folder.path)
        raise InputError(
            f"run.output={folder.path}: {', '.join(blind)} cannot see this folder; all ranks write their parts of a"
            " checkpoint into it, so it has to be on a file system that all nodes share"
        )


def refuse_other_settings(config: Config, folder: RunFolder) -> None:
    """A resumed run goes on under the settings it began with; only how far and how it is watched may change.

    Raises InputError.
    """
    began = asdict(load_config(folder.path / "config.yaml"))
    may_change = {"steps", "keep_checkpoints", "checkpoint_every", "tracker", "output"}  # of the section `run`
    for section, now in asdict(config).items():
        before = began[section]
        if section == "devices" or now == before:
            continue
        if not isinstance(now, dict):
            raise InputError(f"--resume: {section} was {before!r} and is now {now!r}; a run goes on as it began")
        changed = [key for key in now if now[key] != before[key] and not (section == "run" and key in may_change)]
        if changed:
            key = changed[0]
            raise InputError(
                f"--resume: {section}.{key} was {before[key]!r} and is now {now[key]!r}; a run goes on as it began"
            )
    refuse_another_schedule(load_config(folder.path / "config.yaml"), config, folder=folder)


def refuse_another_schedule(began: Config, now: Config, *, folder: RunFolder) -> None:
    """A schedule that falls over run.steps cannot be given another end on the way: the learning rate would jump.

    Raises InputError.
    """
    if now.learner.schedule == "constant" or began.run.steps == now.run.steps:
        return
    from explore_rl.learner.optimizer import learning_rate

    step = max(folder.checkpoints(), default=0)
    if not 0 < step < now.run.steps:
        return  # everything is done again, under the new schedule; or nothing is left to do
    updates = step * now.algorithm.minibatches * now.algorithm.epochs
    raise InputError(
        f"--resume: run.steps was {began.run.steps} and is now {now.run.steps}, but learner.schedule="
        f"{now.learner.schedule} was laid out to end with step {began.run.steps}: after step {step} the learning rate"
        f" would jump from {learning_rate(began, updates):.2g} to {learning_rate(now, updates):.2g}; go on with"
        f" run.steps={began.run.steps}, and train further, on a schedule of its own, in a new run with"
        f" model.path={folder.path / 'final'}"
    )


def content_hash(loaded: list[Problem]) -> str:
    """16 hex digits of ids, prompts and answers: a resumed run has to go on with the problems it began with."""
    digest = hashlib.sha256()
    for problem in loaded:
        digest.update(repr((problem.id, problem.prompt, problem.answer)).encode())
    return digest.hexdigest()[:16]


def refuse_other_problems(path: Path, content: dict[str, str]) -> None:
    """content: hashes by side, "train" and "heldout". Raises InputError if the run in `path` began with others."""
    began = json.loads((path / "environment.json").read_text()).get("problems", content)
    for side, now in content.items():
        if began.get(side) != now:
            raise InputError(
                f"--resume: the {side} problems are not those that the run in {path} began with; give it the same file"
            )


@contextmanager
def own_or_given(actors: Actors | None, config: Config, *, needs: Needs) -> Iterator[Actors]:
    """The actors that were given, reset for `config`; or own ones, closed at the end."""
    if actors is None:
        with Actors(config, base_engine=needs.base_engine, models=models_of(needs)) as own:
            yield own
    else:
        actors.reset(config, models_of(needs))
        yield actors


@contextmanager
def old_objects_left_alone() -> Iterator[None]:
    """Python looks for garbage among new objects only.

    A step makes thousands of objects, and each of them that is one too many would have all of torch and Ray looked
    through: most of the driver's time in a large step.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """The first Ctrl-C (or SIGTERM) asks for a stop after the current step; the second one stops at once."""
    asked = threading.Event()

    def ask(signum: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        log.warning("stopping after this step and saving a checkpoint; press Ctrl-C again to stop at once")

    # Only the main thread may set handlers; elsewhere nobody asks.
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
