"""From a config to a finished run folder; used by `train`, `sweep` and the quick start alike."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import signal
import threading
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
from explore_rl.experiments.run_folder import RunFolder, environment
from explore_rl.experiments.tracking import make_tracker
from explore_rl.files import write_atomic
from explore_rl.models import load_model_config, load_tokenizer, resolve_model
from explore_rl.problems.templates import check as check_template
from explore_rl.problems.templates import check_lengths, load_template
from explore_rl.strategies.base import Strategy, needs_of
from explore_rl.training.actors import Actors
from explore_rl.training.trainer import Trainer
from explore_rl.types import Problem

log = logging.getLogger(__name__)


def output_folder(config: Config) -> Path:
    return Path(config.run.output)


@dataclass(frozen=True)
class Inputs:
    """What a run starts from, read and checked. content: the problems' hashes."""

    training: list[Problem]
    heldout: list[Problem]
    strategies: list[Strategy]
    content: dict[str, str]

    @property
    def names(self) -> str:
        return ", ".join(s.name for s in self.strategies) or "none (GRPO)"


def check(config: Config, resume: bool = False) -> Inputs:
    """Reads and checks everything that the user gave, and starts nothing. Raises InputError."""
    chosen = strategies.make(config.strategies)
    here = placement.resolve(config) if config.devices.device == "auto" else config.devices.device
    for line in warnings(config, here, needs_of(chosen, config).base_engine):
        log.warning("%s", line)
    resolve_model(config.model.path)
    tokenizer = load_tokenizer(config.model.path)
    training = problems.load_problems(config.problems.train, format=config.problems.format, limit=config.problems.limit)
    heldout = (
        problems.load_problems(config.problems.heldout) if config.problems.heldout and config.run.evaluate_every else []
    )
    if not training:
        raise InputError(f"{config.problems.train}: holds no problems")
    template = load_template(config.model.template)
    for line in check_template(
        tokenizer, template, load_model_config(config.model.path), max_tokens=config.rollout.max_new_tokens
    ):
        log.warning("%s", line)
    check_lengths(training + heldout, template, tokenizer, config.model.max_prompt_tokens)
    for strategy in chosen:
        strategy.check(config, training)
    if config.run.exact_every:
        problems.load_problems(config.run.exact_problems)  # read for the check alone
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
    algorithm, needs = config.algorithm, needs_of(inputs.strategies, config)
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


def run(config: Config, resume: bool = False, actors: Actors | None = None) -> Path:
    """Trains as `config` says, into its run folder. Everything that the user gave is read and checked before any actor starts.

    actors: ones left by an earlier run, re-used if they fit; the caller closes them. Returns the folder. Raises InputError, RunStopped,
    ActorFault; KeyboardInterrupt after a clean stop by Ctrl-C.
    """
    inputs = check(config, resume)
    path, needs = output_folder(config), needs_of(inputs.strategies, config)
    log.info(
        "run %s: %d problems, model %s, strategies: %s",
        path,
        len(inputs.training),
        resolve_model(config.model.path),
        inputs.names,
    )
    with own_or_given(actors, config, needs.base_engine, needs.base_model) as used:
        if resume:
            folder = RunFolder.open(path)
            write_atomic(path / "config.yaml", to_yaml(config))
        else:  # only now: a layout or model that cannot start leaves no folder behind
            folder = RunFolder.create(
                path, to_yaml(config), environment(config.seed, used.layout.kind) | {"problems": inputs.content}
            )
        return _run_with(used, config, inputs, folder, resume)


def _run_with(actors: Actors, config: Config, inputs: Inputs, folder: RunFolder, resume: bool) -> Path:
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
    tracker = make_tracker(config.run.tracker, folder, config.name, asdict(config))
    trainer.evaluations.report = tracker.log
    with (
        interruptible() as asked_to_stop,
        tqdm(total=config.run.steps, initial=begin, desc=config.name, unit="step", dynamic_ncols=True) as bar,
    ):

        def on_step(number: int, metrics: dict[str, float]) -> None:
            tracker.log(number + 1, metrics)
            shown = {
                "pass@1": metrics.get("pass@1"),
                "entropy": metrics.get("entropy/token"),
                "s/step": metrics["seconds/step"],
            }
            bar.set_postfix({k: f"{v:.3f}" for k, v in shown.items() if v is not None}, refresh=False)
            bar.update()

        try:
            trainer.start()
            trainer.run(asked_to_stop.is_set, on_step)
        except (OSError, RayTaskError) as error:
            if disk_is_full(error):
                raise RunStopped(f"{folder.path}: the disk is full; free some room and go on with --resume") from error
            raise
        finally:
            tracker.close()
    if asked_to_stop.is_set():
        log.warning(
            "stopped after %d of %d steps; the checkpoint is complete: go on with --resume",
            trainer.next_step,
            config.run.steps,
        )
        raise KeyboardInterrupt
    from explore_rl.experiments.curves import draw_curves

    draw_curves(folder)
    return folder.path


def disk_is_full(error: Exception) -> bool:
    """Whether an error, of this process or of a rank, comes from a full disk. torch's archive writer reports one without the reason."""
    cause = getattr(error, "cause", error)
    if isinstance(cause, OSError):
        return cause.errno in (errno.ENOSPC, errno.EDQUOT)
    return "inline_container" in str(cause) or "PytorchStreamWriter" in str(cause)


def refuse_other_settings(config: Config, folder: RunFolder) -> None:
    """A resumed run goes on under the settings it began with; only how far and how it is watched may change."""
    began = load_config(folder.path / "config.yaml")
    free = {"steps", "keep_checkpoints", "checkpoint_every", "tracker", "output"}
    for section, now in asdict(config).items():
        before = asdict(began)[section]
        if section == "devices" or now == before:
            continue
        if isinstance(now, dict):
            changed = [key for key in now if now[key] != before[key] and not (section == "run" and key in free)]
            if changed:
                raise InputError(
                    f"--resume: {section}.{changed[0]} was {before[changed[0]]!r} and is now {now[changed[0]]!r}; a run goes on as it began"
                )
        else:
            raise InputError(f"--resume: {section} was {before!r} and is now {now!r}; a run goes on as it began")


def content_hash(loaded: list[Problem]) -> str:
    """16 hex digits of ids, prompts and answers: a resumed run has to go on with the problems it began with."""
    digest = hashlib.sha256()
    for problem in loaded:
        digest.update(repr((problem.id, problem.prompt, problem.answer)).encode())
    return digest.hexdigest()[:16]


def refuse_other_problems(path: Path, content: dict[str, str]) -> None:
    began = json.loads((path / "environment.json").read_text()).get("problems", content)
    for side, now in content.items():
        if began.get(side) != now:
            raise InputError(
                f"--resume: the {side} problems are not those that the run in {path} began with; give it the same file"
            )


@contextmanager
def own_or_given(actors: Actors | None, config: Config, base_engine: bool, base_model: bool) -> Iterator[Actors]:
    if actors is None:
        with Actors(config, base_engine=base_engine, base_model=base_model) as own:
            yield own
    else:
        actors.reset(config, base_model)
        yield actors


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """The first Ctrl-C (or SIGTERM) asks for a stop after the current step; the second one stops at once."""
    asked = threading.Event()

    def ask(signum: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        log.warning("stopping after this step and saving a checkpoint; press Ctrl-C again to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
