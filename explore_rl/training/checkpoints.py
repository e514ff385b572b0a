"""What changes over a run, into a checkpoint and back: complete, or not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from analysis.errors import InputError
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.strategies.base import StepContext, Strategy
from explore_rl.training import ahead
from explore_rl.training.data_order import DataOrder
from explore_rl.training.drawing import Batch
from explore_rl.training.health import Health
from explore_rl.training.learning import Learning
from explore_rl.training.parity import Parity


class Checkpoints:
    """Of a run.

    folder: the run's, where they stand.
    learning, data, health, parity, strategies: whose state it is.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        learning: Learning,
        data: DataOrder,
        health: Health,
        parity: Parity,
        strategies: list[Strategy],
    ):
        self.folder, self.learning, self.data = folder, learning, data
        self.health, self.parity, self.strategies = health, parity, strategies

    def save(self, step: int, admitted: list[Batch], *, keep: int) -> None:
        """Raises RunStopped for a batch that cannot be saved.

        step: how many are done.
        admitted: batches of later steps, of which nothing is being drawn.
        keep: how many checkpoints stay, the last ones.
        """
        aside = self.folder.begin_checkpoint(step)
        self.learning.learner.save_checkpoint(aside / "learner")
        state = {
            "step": step,
            "version": self.learning.version,
            "position": self.data.position,
            "bad_steps": self.health.bad_steps,
            "silent_steps": self.health.silent_steps,
            "parity": self.parity.state(),
            "strategies": {s.key: s.state() for s in self.strategies},
        }
        (aside / "state.json").write_text(json.dumps(state))
        if admitted:
            ahead.save(aside, admitted, problems=self.data.problems)
        self.folder.complete_checkpoint(step, aside, keep=keep)

    def load(self, context_of: Callable[[Strategy, int], StepContext]) -> tuple[int, list[Batch]]:
        """Goes back to the last complete one, or to the beginning if there is none.

        Returns how many steps are done, and the batches that were admitted then. Raises InputError for a checkpoint of
        other strategies.

        context_of: a fresh context of a strategy in a step.
        """
        complete = self.folder.checkpoints()
        step = complete[-1] if complete else 0
        self.folder.rewind(step)
        if not complete:
            return 0, []
        path = self.folder.checkpoint_path(step)
        state: dict[str, Any] = json.loads((path / "state.json").read_text())
        self.learning.learner.load_checkpoint(path / "learner")
        self.learning.version = state["version"]
        self.data.position = state["position"]
        self.health.bad_steps = state["bad_steps"]
        self.health.silent_steps = state["silent_steps"]
        self.parity.load_state(state.get("parity", []))
        kept = state["strategies"]
        if not isinstance(kept, dict) or kept.keys() != {s.key for s in self.strategies}:
            raise InputError(
                f"{path}: does not hold the state of these strategies; it is an older version's, or not ours"
            )
        for strategy in self.strategies:
            strategy.load_state(kept[strategy.key])
        admitted = ahead.load(path, self.data.problems, strategies=self.strategies, context_of=context_of)
        return state["step"], admitted
