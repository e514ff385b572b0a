"""What a Trainer takes in place of `Actors`: learner, engine and verifiers in this process, over a table of logits."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from explore_rl.cluster.placement import Layout
from explore_rl.config.schema import Config
from explore_rl.learner.messages import POLICY_ALONE, LearnerNeeds
from explore_rl.testing.engines import InProcessVerifiers, TableEngines, TableStream, TableSync
from explore_rl.testing.learner import TableLearner
from explore_rl.testing.table import LogitTable
from explore_rl.training.actors import Actors
from explore_rl.verifiers.base import Verifier


class TableActors(Actors):
    """Nothing is started. `reset`, `serves` and `check_parity` are those of Actors.

    config: the run's.
    start: the base policy.
    base_engine: also draw from the base, as `Needs` asks for.
    models: what the learner holds besides the policy.
    verifiers: named as problems name them, besides the built-in ones.
    """

    def __init__(
        self,
        config: Config,
        start: LogitTable,
        *,
        base_engine: bool = False,
        models: LearnerNeeds = POLICY_ALONE,
        verifiers: Mapping[str, Verifier] | None = None,
    ):
        self.stack = ExitStack()
        self.config, self.base_engine, self.models = config, base_engine, models
        self.layout = Layout("cpu", [], [], [])
        self.verifiers = InProcessVerifiers(config.verifiers.options, verifiers or {})
        self.learner = TableLearner(config, start, needs=models)
        self.engines = TableEngines(config, start, needs_base=base_engine)
        self.weights = TableSync(self.learner, self.engines)
        self.stream = TableStream(self.engines)
