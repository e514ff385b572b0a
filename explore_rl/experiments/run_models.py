"""Models by the run they come from: RUN is its final model, RUN@STEP a checkpoint, exported when it is first asked for.

How a run's model is prompted and drawn stands in the run's config, so that nobody has to copy it by hand.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from analysis.errors import InputError
from explore_rl.config.loading import load_config
from explore_rl.config.paths import of_home
from explore_rl.config.schema import Config
from explore_rl.experiments.run_folder import RunFolder

log = logging.getLogger(__name__)

CHECKPOINT = re.compile(r"^(?P<run>.+)/checkpoints/step-(?P<step>\d+)/?$")  # its folder, for RUN@STEP
NAME = re.compile(r"^(?P<run>.+)@(?P<step>\d+|final)$")


@dataclass(frozen=True)
class RunModel:
    """A model of a run.

    folder: the run's.
    step: after how many steps; None: the final model.
    config: the run's.
    """

    folder: Path
    step: int | None
    config: Config

    def path(self) -> Path:
        """The Hugging Face folder, made by `export` where it is not there. Raises InputError."""
        if self.step is None:
            return self.folder / "final"
        made = self.folder / "exported" / f"step-{self.step:06d}"
        if not made.exists():
            export_checkpoint(self, made)
        return made


def run_model(text: str) -> RunModel | None:
    """The model that RUN or RUN@STEP names; None where `text` is no run's folder.

    Raises InputError for a step without a checkpoint, and for a run that has no final model yet.
    """
    if checkpoint := CHECKPOINT.match(text):
        text = f"{checkpoint['run']}@{int(checkpoint['step'])}"
    found = NAME.match(text)
    folder = of_home(found["run"] if found else text)
    if not (folder / "config.yaml").is_file() or (folder / "config.json").exists():
        if found and not Path(text).exists():
            raise InputError(f"{text}: {folder} is no run's folder (no config.yaml)")
        return None
    config = load_config(folder / "config.yaml")
    steps = RunFolder(folder).checkpoints()
    if found and found["step"] != "final":
        step = int(found["step"])
        is_final = step == config.run.steps and (folder / "final" / "config.json").exists()
        if step not in steps and not is_final:
            kept = ", ".join(map(str, steps)) or "none"
            raise InputError(
                f"{text}: there is no checkpoint after {step} steps; kept are {kept} (run.checkpoint_every="
                f"{config.run.checkpoint_every}, run.keep_checkpoints={config.run.keep_checkpoints})"
            )
        return RunModel(folder, step if step in steps else None, config)
    if not (folder / "final" / "config.json").exists():
        kept = f"; a checkpoint can be had as {folder}@{steps[-1]}" if steps else ""
        raise InputError(f"{text}: the run has no final model yet{kept}")
    return RunModel(folder, None, config)


def export_checkpoint(model: RunModel, out: Path) -> None:
    """Writes a model of a run as a Hugging Face folder with a card. Needs neither Ray nor a GPU. Raises InputError."""
    from explore_rl.experiments.card import write_card
    from explore_rl.experiments.progress import before_and_after
    from explore_rl.learner.export import export

    folder = RunFolder(model.folder)
    if model.step is None:
        import shutil

        if out.exists():
            raise InputError(f"{out}: is there already; choose another folder, or remove it")
        shutil.copytree(model.folder / "final", out)
        write_card(out, model.config, found=before_and_after(folder))
        return
    log.info("exporting %s after %d steps to %s", model.folder, model.step, out)
    export(folder.checkpoint_path(model.step) / "learner", model.config.model.path, out=out)
    write_card(out, model.config, found=before_and_after(folder, model.step), step=model.step)
