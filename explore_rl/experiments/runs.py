"""From a config to a finished run folder; used by `train`, `sweep` and the quick start alike."""

from __future__ import annotations

import errno
import gc
import logging
import os
import shutil
import signal
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

from ray.exceptions import RayTaskError

from analysis.errors import InputError
from explore_rl.cluster.faults import RunStopped
from explore_rl.cluster.starts import loading
from explore_rl.config.loading import to_yaml
from explore_rl.config.schema import Config
from explore_rl.experiments.card import write_card
from explore_rl.experiments.identity import settings_hash
from explore_rl.experiments.preflight import Inputs, check, output_folder
from explore_rl.experiments.progress import before_and_after, progress
from explore_rl.experiments.resuming import CHANGES
from explore_rl.experiments.run_folder import RunFolder, environment
from explore_rl.experiments.tracking import make_tracker, rollouts_of
from explore_rl.fetching import hub
from explore_rl.files import held, sees, write_atomic
from explore_rl.learner.learner import Learner
from explore_rl.models import model_identity, resolve_model
from explore_rl.strategies.base import Needs, needs_of
from explore_rl.training.actors import Actors, models_of
from explore_rl.training.trainer import Trainer

log = logging.getLogger(__name__)


def run(
    config: Config,
    *,
    resume: bool = False,
    actors: Actors | None = None,
    allowed: Sequence[str] = (),
) -> Path:
    """Trains as `config` says, into its run folder, which it returns.

    Everything that the user gave is read and checked before any actor starts, and no other process may have the run.
    Raises InputError, RunStopped and ActorFault, and KeyboardInterrupt after a clean stop by Ctrl-C.

    config: complete and checked for what each setting may be.
    resume: whether to go on with the run that the folder holds.
    actors: those that an earlier run left, which are reset for this run and which the caller closes; None: own ones.
    allowed: settings that may have changed since a resumed run began, as in `resuming.refuse_other_settings`.
    """
    path = output_folder(config)
    # A resumed run is taken before it is looked at: what is read here must not change under another process.
    with held(path, "run") if resume and path.is_dir() else nullcontext():
        with loading():
            inputs = check(config, resume=resume, allowed=allowed)
        log.info(
            "run %s: %d problems, model %s, strategies: %s",
            path,
            len(inputs.training),
            resolve_model(config.model.path),
            inputs.names,
        )
        with own_or_given(actors, config, needs=needs_of(inputs.strategies, config)) as used, ExitStack() as stack:
            # The folder is made only now, so that a layout or model that cannot start leaves none behind.
            if resume:
                folder = RunFolder.open(path)
                if inputs.changed:
                    folder.append(CHANGES, {"step": max(folder.checkpoints(), default=0), "changed": inputs.changed})
                write_atomic(path / "config.yaml", to_yaml(config))
            else:
                path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(held(path, "run"))
                facts = environment(config.seed, used.layout.kind)
                facts |= {"problems": inputs.content, "settings": settings_hash(config)}
                facts |= {"model": model_identity(resolve_model(config.model.path)), "hub": hub.revisions()}
                folder = RunFolder.create(path, to_yaml(config), environment=facts)
            refuse_unshared(used.learner, folder, is_new=not resume)
            _run_with(used, config, inputs=inputs, folder=folder, resume=resume)
    return path


def _run_with(actors: Actors, config: Config, *, inputs: Inputs, folder: RunFolder, resume: bool) -> None:
    """Runs the steps that are left, with tracker and progress, and draws the curves."""
    trainer = Trainer(
        config,
        inputs.training,
        evaluations=inputs.evaluations,
        strategies=inputs.strategies,
        actors=actors,
        folder=folder,
    )
    begin = trainer.resume() if resume else 0
    if resume:
        log.info("resuming after %d of %d steps", begin, config.run.steps)
    tracker = make_tracker(config, folder)
    shown_rollouts = config.tracking.rollouts

    # Whatever ends the steps, the tracker is closed; a folder that cannot be written becomes a stop.
    with (
        old_objects_left_alone(),
        interruptible() as asked_to_stop,
        progress(config.name, config.run.steps, begin=begin) as shown,
    ):

        def on_step(number: int, metrics: dict[str, float]) -> None:
            tracker.log(number + 1, metrics)
            if shown_rollouts and (number + 1) % config.run.checkpoint_every == 0:
                tracker.table(number + 1, rollouts_of(folder, number, most=shown_rollouts))
            shown.step(number, metrics)

        def on_state(done: int, metrics: dict[str, float]) -> None:
            tracker.log(done, metrics)
            shown.state(done, metrics)

        trainer.evaluations.report = on_state
        try:
            trainer.start()
            trainer.run(asked_to_stop.is_set, on_step)
        except (OSError, RayTaskError) as error:
            if why := cannot_write(error, folder.path):
                raise RunStopped(why) from error
            raise
        finally:
            tracker.close()

    # A run that was stopped has no final model and no curves; the command ends as Ctrl-C does.
    if asked_to_stop.is_set():
        log.warning("stopped after %d of %d steps; the checkpoint is complete", trainer.next_step, config.run.steps)
        raise KeyboardInterrupt
    from explore_rl.experiments.curves import draw_curves

    draw_curves(folder)
    write_card(folder.path / "final", config, found=before_and_after(folder))


def how_to_go_on(path: Path) -> str:
    """What to do with a run folder after its run has ended early."""
    if not (path / "config.yaml").exists():
        return "nothing was begun; the same command begins it"
    folder = RunFolder.open(path)
    if folder.never_began():
        return f"{path}: no step was made; the same command begins anew"
    if not folder.checkpoints():
        return f"{path}: there is no checkpoint yet; explore-rl resume {path} begins again from step 0"
    step = folder.checkpoints()[-1]
    return f"{path}: what was done by step {step} is kept; go on with explore-rl resume {path}"


PROBE = 1 << 20  # bytes that are tried where a writer does not say why it failed


def cannot_write(error: Exception, folder: Path) -> str | None:
    """Why the run folder cannot be written, if that is what an error of this process or of a rank says; else None.

    torch's archive writer hides the reason. Whether the disk is full is then tried, and not guessed.
    """
    cause = getattr(error, "cause", error)
    said = " ".join(str(cause).split())
    hides_reason = "inline_container" in said or "PytorchStreamWriter" in said
    if isinstance(cause, OSError):
        name = getattr(cause, "filename", None)
        inside = isinstance(name, str) and Path(name).absolute().is_relative_to(folder.absolute())
        if cause.errno in FULL:
            return f"{name if isinstance(name, str) and not inside else folder}: the disk is full; free some room"
        return f"{folder}: cannot be written any more ({cause.strerror}: {name})" if inside else None
    if not hides_reason:
        return None
    return f"{folder}: the disk is full; free some room" if _is_full(folder) else f"{folder}: cannot be written: {said}"


def _is_full(folder: Path) -> bool:
    probe = folder / f".probe-{uuid.uuid4().hex}"
    try:
        with open(probe, "wb") as file:
            file.write(b"\0" * PROBE)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno in FULL
    finally:
        with suppress(OSError):
            probe.unlink()
    return False


FULL = (errno.ENOSPC, errno.EDQUOT)


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
