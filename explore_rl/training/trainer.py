"""The training step, written out. Top to bottom this file is

    produce(n):  choose -> plan -> Request -> vLLM -> Rollout -> verify -> Verdict -> inject
                 -> columns -> reward -> advantage -> keep -> Group
    learn(n):    Group -> Row -> DeepSpeed -> after_update -> weights

and holds no algorithm: formulas are in objectives/, everything that chooses or weighs is a strategy.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.errors import InputError
from explore_rl.cluster.faults import ActorFault, RunStopped
from explore_rl.config.schema import Config
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.models import load_tokenizer
from explore_rl.problems.templates import load_template
from explore_rl.rollout.engines import DrawFault
from explore_rl.rollout.records import rollout_columns
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.strategies.base import StepContext, Strategy, needs_of
from explore_rl.strategies.together import terms_of
from explore_rl.training import metrics as metrics_of
from explore_rl.training import rows
from explore_rl.training.actors import Actors
from explore_rl.training.columns import fill_columns
from explore_rl.training.data_order import DataOrder
from explore_rl.training.drawing import Batch, base_reward, seeded
from explore_rl.training.evaluation import Evaluations, Means
from explore_rl.training.evaluation_sets import EvaluationSet
from explore_rl.training.parity import Parity
from explore_rl.types import Group, Problem, Request, Rollout, Sample, Verdict
from explore_rl.verifiers.pool import Item

log = logging.getLogger(__name__)

MAX_PLAN_ROUNDS = 16
MAX_DRAWS = 64  # of one step, whatever the strategies ask for
SILENT_WARNING = 3  # steps in a row without signal after which a run says so
ENGINE_RETRIES = 2  # how often a step is drawn again after an engine died


class Trainer:
    """One run. `run()` goes to the last step; `step(number)` is the algorithm.

    strategies: all of the run, as `explore_rl.strategies.of` gives them.
    """

    def __init__(
        self,
        config: Config,
        problems: list[Problem],
        *,
        evaluations: list[EvaluationSet],
        strategies: list[Strategy],
        actors: Actors,
        folder: RunFolder,
    ):
        self.config = config
        self.strategies = strategies
        self.actors = actors
        self.folder = folder
        self.data = DataOrder(problems, config.seed)
        self.tokenizer = load_tokenizer(config.model.path)
        self.template = load_template(config.model.template)
        self.needs = needs_of(strategies, config)
        self.terms, self.free_terms = terms_of(strategies, config)
        means = Means(
            tokenizer=self.tokenizer,
            encode_prompt=self.encode_prompt,
            generate=self.generate,
            verify=actors.verifiers.verify_all,
            read=actors.learner.read,
            append=folder.append,
            keep=folder.write_evaluation,
        )
        self.evaluations = Evaluations(config, evaluations, means=means)
        self.parity = Parity(actors)
        # What changes over the run. A checkpoint keeps all of it but the encoded prompts.
        self.prompts: dict[int, np.ndarray] = {}  # by identity: ids are unique within one file only
        self.next_step = 0  # steps done
        self.version = 0  # of the weights: optimizer batches applied
        self.bad_steps = 0  # in a row, with a loss or gradient that was not finite
        self.silent_steps = 0  # in a row, without a group that had any signal

    # --- one step -----------------------------------------------------------------------------------------------------

    def step(self, number: int) -> dict[str, float]:
        """Step `number`, from choosing problems to engines with new weights. Returns the step's metrics."""
        return self.learn(self.produce(number))

    def produce(self, number: int) -> Batch:
        """Verified groups with their columns, rewards and advantages; several draws, where a strategy asks for more."""
        batch = Batch(number, [(s, self.context(s, number)) for s in self.strategies])
        wanted = self.config.algorithm.prompts_per_step
        for attempt in range(MAX_DRAWS):
            problems = self.data.take(wanted)
            for strategy, context in batch.acting:
                problems = strategy.choose(problems, context)
            if not problems:
                raise RunStopped(f"step {number}: the strategies chose no problem to draw for")
            groups = self.draw(problems, batch, attempt=attempt)
            with batch.clock("read"):
                fill_columns(groups, self.needs.columns, learner=self.actors.learner, config=self.config)
            for strategy, context in batch.acting:
                strategy.reward(groups, context)
            for strategy, context in batch.acting:
                strategy.advantage(groups, context)
            wanted = batch.add(groups)
            if not wanted:
                break
        batch.groups = batch.groups or batch.last_draw()
        return batch

    def draw(self, problems: list[Problem], batch: Batch, *, attempt: int) -> list[Group]:
        """One group for each of `problems`: drawn as the strategies plan it, verified, and with what they inject.

        attempt: how often the step was drawn before; it enters the seeds.
        """
        groups = [Group(problem, []) for problem in problems]
        # The draft that strategies change in round 0; later rounds they plan from what came back.
        requests = [r for index, problem in enumerate(problems) for r in self.draft(problem, index)]
        for plan_round in range(MAX_PLAN_ROUNDS):
            for strategy, context in batch.acting:
                requests = strategy.plan(requests, groups, plan_round, context)
            if not requests:
                break
            requests = seeded(requests, self.config.seed, number=batch.number, attempt=attempt, plan_round=plan_round)
            with batch.clock("generate"):
                rollouts = self.generate(requests)
            with batch.clock("verify"):
                verdicts = self.verify(groups, rollouts)
            for rollout, verdict in zip(rollouts, verdicts, strict=True):
                sample = Sample(rollout, verdict, reward=base_reward(verdict, self.config.rewards))
                groups[rollout.request.group].samples.append(sample)
            requests = []
        else:
            log.warning(
                "step %d: strategies still asked for draws after %d rounds; going on without",
                batch.number,
                MAX_PLAN_ROUNDS,
            )
        for strategy, context in batch.acting:
            strategy.inject(groups, context)
        return groups

    def draft(self, problem: Problem, index: int) -> list[Request]:
        """group_size draws of a problem from the policy, without seeds. index: of its group."""
        rollout = self.config.rollout
        return [
            Request(
                problem=problem.id,
                group=index,
                prompt_ids=self.encode_prompt(problem),
                max_tokens=rollout.max_new_tokens,
                temperature=rollout.temperature,
            )
            for _ in range(self.config.algorithm.group_size)
        ]

    def learn(self, batch: Batch) -> dict[str, float]:
        """The groups' rows change the weights, and the engines get them. Returns the step's metrics."""
        minibatches = rows.make_minibatches(batch.groups, self.terms, config=self.config, step=batch.number)
        with batch.clock("train"):
            reports = self.actors.learner.update(minibatches, self.terms)
            for strategy, context in batch.acting:
                strategy.after_update(batch.groups, context)
        with batch.clock("parity"):
            self.parity.expect()
        with batch.clock("transfer"):
            self.version += 1
            sent = self.actors.weights.send(self.version)
        with batch.clock("parity"):
            gap = self.check_parity(batch.number)

        # Record.
        self.folder.write_rollouts(batch.number, rollout_columns(batch.groups, batch.dropped, step=batch.number))
        self.bad_steps = 0 if all(r.finite for r in reports) else self.bad_steps + 1
        metrics = metrics_of.of_groups(batch.groups, batch.dropped, free=self.free_terms)
        metrics |= metrics_of.of_updates(reports) | batch.clock.metrics()
        tokens = sum(len(s.rollout.tokens) for g in batch.groups + batch.dropped for s in g.samples)
        metrics["tokens_per_second"] = tokens / metrics["seconds/step"]
        metrics["transfer/gather_seconds"] = sent["gather_s"]
        metrics["transfer/send_seconds"] = sent["transfer_s"]
        metrics |= gap
        metrics["data/epoch"] = self.data.epoch
        for strategy, context in batch.acting:
            metrics |= {f"{strategy.key}/{key}": value for key, value in context.metrics.items()}
        return metrics

    # --- engines and verifiers ----------------------------------------------------------------------------------------

    def generate(self, requests: list[Request]) -> list[Rollout]:
        """Draws. If an engine dies, what was finished is kept and the rest is drawn again, which gives the same.

        For the seeds are in the requests. Raises ActorFault if an engine still dies after ENGINE_RETRIES more attempts,
        or if none can be replaced.
        """
        drawn: dict[int, Rollout] = {}  # by the request's index
        for retry in range(ENGINE_RETRIES + 1):
            left = [i for i in range(len(requests)) if i not in drawn]
            try:
                rollouts = self.actors.engines.generate([requests[i] for i in left])
            except DrawFault as fault:
                drawn |= {left[i]: rollout for i, rollout in fault.done.items()}
                self.replace_dead(fault, retry)
                self.check_parity(self.next_step)
            else:
                drawn |= dict(zip(left, rollouts, strict=True))
                return [drawn[i] for i in range(len(requests))]
        raise AssertionError("unreachable")

    def check_parity(self, step: int, **options: Any) -> dict[str, float]:
        """`Parity.check`, and again if an engine dies meanwhile. Raises ActorFault as `generate` does."""
        for retry in range(ENGINE_RETRIES + 1):
            try:
                return self.parity.check(step, **options)
            except ActorFault as fault:
                self.replace_dead(fault, retry)
        raise AssertionError("unreachable")

    def replace_dead(self, fault: ActorFault, retry: int) -> None:
        """Starts dead engines anew, with the present weights.

        Raises `fault` after ENGINE_RETRIES retries, or if nobody was replaced.
        """
        if retry == ENGINE_RETRIES:
            raise fault
        log.warning("%s; starting it anew and asking again", fault)
        if not self.actors.engines.restart_dead():
            raise fault
        self.actors.weights.send(self.version)

    def verify(self, groups: list[Group], rollouts: list[Rollout]) -> list[Verdict]:
        return self.actors.verifiers.verify_all(
            [Item(groups[r.request.group].problem, r.text, r.truncated) for r in rollouts]
        )

    # --- what the strategies may use ----------------------------------------------------------------------------------

    def context(self, strategy: Strategy, number: int) -> StepContext:
        """What `strategy` may use in step `number`, with a random stream of its own."""
        learner = self.actors.learner
        return StepContext(
            number=number,
            rng=np.random.default_rng(hashed_seed(self.config.seed, "strategy", strategy.key, number)),
            config=self.config,
            encode_prompt=self.encode_prompt,
            encode_completion=self.encode_completion,
            verify=self.verify_texts,
            read=learner.read,
            refresh_base=self.refresh_base,
            reset_optimizer=learner.reset_optimizer,
            problems=self.data.problems,
            terms={term.name: term for term in self.terms},
            free_terms=self.free_terms,
        )

    def encode_prompt(self, problem: Problem) -> np.ndarray:
        if id(problem) not in self.prompts:
            self.prompts[id(problem)] = np.array(self.template.encode(problem, self.tokenizer), dtype=np.int32)
        return self.prompts[id(problem)]

    def encode_completion(self, text: str) -> np.ndarray:
        return np.array(self.template.encode_completion(text, self.tokenizer), dtype=np.int32)

    def verify_texts(self, pairs: list[tuple[Problem, str]]) -> list[Verdict]:
        return self.actors.verifiers.verify_all([Item(problem, text, False) for problem, text in pairs])

    def refresh_base(self) -> None:
        """The frozen base becomes the present policy. Raises RunStopped where an engine draws from the initial one."""
        if self.needs.base_engine:
            raise RunStopped("the base cannot be refreshed in a run whose base engine draws from the initial model")
        self.actors.learner.refresh_base()

    # --- figures, and when to stop ------------------------------------------------------------------------------------

    def stop_if_hopeless(self, metrics: dict[str, float]) -> None:
        """Counts `silent_steps`. Raises RunStopped after too many bad or silent steps in a row."""
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

    # --- the run ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Sends the weights to the engines, and checks that both sides compute the same log-probabilities.

        The engines hold none of the run's weights before, so the check fails if the weights do not arrive: of what the
        engines draw, and of the fixed sequences that every later transfer is checked on. Raises ParityError. A new run
        is also evaluated before its first step.
        """
        self.actors.weights.send(self.version)
        drafts = [self.draft(problem, index)[:4] for index, problem in enumerate(self.data.problems[:8])]
        drawn = self.generate(seeded([request for draft in drafts for request in draft], self.config.seed, number=-1))
        self.actors.check_parity(drawn)
        if not self.parity.sequences:
            self.parity.choose(drawn)
        self.parity.expect()
        self.check_parity(self.next_step, patience=1)
        if self.next_step == 0:
            self.evaluations.run(0)

    def run(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        on_step: Callable[[int, dict[str, float]], None] = lambda number, metrics: None,
    ) -> None:
        """All steps that are left.

        A run that stops itself (RunStopped) saves its state first. One that is ended by a fault goes on from its last
        checkpoint.

        should_stop: asked after every step (Ctrl-C); the run then saves its state and returns.
        on_step: told the number and metrics of every step.
        """
        settings = self.config.run
        begin = self.next_step
        saved_at = time.monotonic()
        while self.next_step < settings.steps:
            metrics = self.step(self.next_step)
            # JSON knows no NaN and no infinity: what is not finite is null.
            finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
            self.folder.append("metrics.jsonl", {"step": self.next_step} | finite)
            self.next_step += 1
            on_step(self.next_step - 1, metrics)
            self.evaluations.run_if_due(self.next_step)

            # A run that ends here, for whatever reason, leaves a checkpoint, but none of a state that is ruined: it
            # would push out those that a run can go on from.
            stopping = should_stop()
            ruined = self.is_ruined(metrics)
            try:
                self.stop_if_hopeless(metrics)
            except RunStopped:
                if not ruined:
                    self.save()
                raise
            if stopping or self.is_checkpoint_due(time.monotonic() - saved_at):
                if ruined:
                    log.warning("step %d: no checkpoint of a state that is not finite", self.next_step)
                else:
                    self.save()
                    saved_at = time.monotonic()
            if stopping:
                return

        # A finished run that is resumed without a step left has its final model already.
        if self.next_step > begin or not (self.folder.path / "final" / "config.json").exists():
            self.save_final()

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def is_checkpoint_due(self, seconds: float) -> bool:
        """By steps, by the clock, or because the run is at its end. seconds: since the last one, or the start."""
        settings = self.config.run
        minutes = settings.checkpoint_minutes
        by_steps = self.next_step % settings.checkpoint_every == 0 or self.next_step == settings.steps
        return by_steps or (minutes is not None and seconds >= 60 * minutes)

    def is_ruined(self, metrics: dict[str, float]) -> bool:
        """Whether the weights that a step left are of no use: what it computed, or they compute, is not finite."""
        return self.bad_steps > 0 or math.isnan(metrics.get("engine/parity_mean", 0.0))

    def save(self) -> None:
        aside = self.folder.begin_checkpoint(self.next_step)
        self.actors.learner.save_checkpoint(aside / "learner")
        state = {
            "step": self.next_step,
            "version": self.version,
            "position": self.data.position,
            "bad_steps": self.bad_steps,
            "silent_steps": self.silent_steps,
            "parity": self.parity.state(),
            "strategies": {s.key: s.state() for s in self.strategies},
        }
        (aside / "state.json").write_text(json.dumps(state))
        self.folder.complete_checkpoint(self.next_step, aside, keep=self.config.run.keep_checkpoints)

    def resume(self) -> int:
        """Goes back to the last complete checkpoint, or to the beginning if there is none. Returns the next step."""
        complete = self.folder.checkpoints()
        step = complete[-1] if complete else 0
        self.folder.rewind(step)
        if complete:
            path = self.folder.checkpoint_path(step)
            state = json.loads((path / "state.json").read_text())
            self.actors.learner.load_checkpoint(path / "learner")
            self.next_step = state["step"]
            self.version = state["version"]
            self.data.position = state["position"]
            self.bad_steps = state["bad_steps"]
            self.silent_steps = state["silent_steps"]
            self.parity.load_state(state.get("parity", []))
            kept = state["strategies"]
            if not isinstance(kept, dict) or kept.keys() != {s.key for s in self.strategies}:
                raise InputError(
                    f"{path}: does not hold the state of these strategies; it is an older version's, or not ours"
                )
            for strategy in self.strategies:
                strategy.load_state(kept[strategy.key])
        return step

    def save_final(self) -> None:
        """Writes the final model, after removing what was derived from an earlier one."""
        for stale in (self.folder.path / "exact_final.json", *self.folder.path.glob("samples-*.parquet")):
            stale.unlink(missing_ok=True)
        self.actors.learner.save_pretrained(self.folder.path / "final")
