"""Whether a run is worth going on with: steps in a row that were not finite, or in which no group had any signal."""

from __future__ import annotations

import logging
import math

from explore_rl.cluster.faults import RunStopped
from explore_rl.config.schema import Config
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.learner.messages import UpdateReport

log = logging.getLogger(__name__)

SILENT_WARNING = 3  # steps in a row without signal after which a run says so


class Health:
    """Counts; a checkpoint keeps what it counted.

    bad_steps: in a row, with a loss or gradient that was not finite.
    silent_steps: in a row, without a group that had any signal.
    """

    def __init__(self, config: Config, folder: RunFolder):
        self.config, self.folder = config, folder
        self.bad_steps = 0
        self.silent_steps = 0

    def count(self, reports: list[UpdateReport]) -> None:
        """reports: of the updates of a step."""
        self.bad_steps = 0 if all(r.finite for r in reports) else self.bad_steps + 1

    def is_ruined(self, metrics: dict[str, float]) -> bool:
        """Whether the weights that a step left are of no use: what it computed, or they compute, is not finite."""
        return self.bad_steps > 0 or math.isnan(metrics.get("engine/parity_mean", 0.0))

    def stop_if_hopeless(self, metrics: dict[str, float]) -> None:
        """Counts `silent_steps`. Raises RunStopped after too many bad or silent steps in a row.

        metrics: the step's.
        """
        run = self.config.run
        self.silent_steps = self.silent_steps + 1 if metrics["signal/groups_without"] == 1.0 else 0
        if self.silent_steps == SILENT_WARNING and run.max_silent_steps > SILENT_WARNING:
            log.warning(
                "no group had any signal in %d steps in a row (pass@1 %.3g): look at the rollouts; it stops after %d",
                self.silent_steps,
                metrics.get("pass@1", math.nan),
                run.max_silent_steps,
            )
        if self.bad_steps >= run.max_bad_steps:
            kept = self.folder.checkpoints()
            begin = (
                f"explore-rl export {self.folder.path}@{kept[-1]} DIR, and a new run with model.path=DIR"
                if kept
                else "a new run, since there is no checkpoint from before"
            )
            raise RunStopped(
                f"loss or gradient was not finite in {self.bad_steps} steps in a row (run.max_bad_steps), and the state"
                f" is of no use; a smaller learner.learning_rate may help: {begin}"
            )
        if self.silent_steps >= run.max_silent_steps:
            raise RunStopped(
                f"no group had any signal in {self.silent_steps} steps in a row (run.max_silent_steps):"
                " all answers right, or all wrong; the problems are too easy or too hard for this model,"
                " or the template and verifier do not fit it"
            )
