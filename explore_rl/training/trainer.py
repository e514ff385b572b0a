"""The training step, written out. Top to bottom this file is

    produce(n):  choose -> plan -> Request -> vLLM -> Rollout -> verify -> Verdict -> inject -> Group
    learn(n):    Group -> columns -> reward -> advantage -> keep -> Row -> DeepSpeed -> after_update -> weights

and holds no algorithm: formulas are in objectives/, everything that chooses or weighs is a strategy.

With run.ahead=1 produce(n + 1) goes on beside the update of learn(n), with the weights that the engines hold
meanwhile: those before it. Strategies are called on this one thread and in the same order as ever, but for one thing:
after_update(n) comes behind the inject of n + 1. What plan or inject of n + 1 ask the learner is answered by the
weights after the update.

With rollout.streaming a batch is admitted, which is choose, plan and Request, up to run.max_staleness steps before it
is learnt. The engines draw what is admitted without a pause, and get new weights in between.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

import numpy as np

from explore_rl.cluster.faults import RunStopped
from explore_rl.config.schema import Config
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.learner.messages import UpdateReport
from explore_rl.models import load_tokenizer
from explore_rl.problems.templates import load_template
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.strategies.base import StepContext, Strategy, needs_of
from explore_rl.strategies.old_logprob import choose_old_logprob, terms_for
from explore_rl.strategies.together import terms_of
from explore_rl.training import metrics as metrics_of
from explore_rl.training import rows
from explore_rl.training.actors import Actors
from explore_rl.training.checkpoints import Checkpoints
from explore_rl.training.columns import fill_columns, fill_from_update, own_readouts
from explore_rl.training.data_order import DataOrder
from explore_rl.training.drawing import Batch, Plans, base_reward, draft, seeded
from explore_rl.training.evaluation import Evaluations, Means
from explore_rl.training.evaluation_sets import EvaluationSet
from explore_rl.training.health import Health
from explore_rl.training.learning import Learning
from explore_rl.training.metrics import StageClock
from explore_rl.training.parity import Parity
from explore_rl.training.recorder import Recorder
from explore_rl.training.serving import Serving
from explore_rl.types import Group, Problem, Request, Sample, Verdict
from explore_rl.verifiers.pool import Item

log = logging.getLogger(__name__)

MAX_PLAN_ROUNDS = 16
MAX_DRAWS = 64  # of one step, whatever the strategies ask for


class Trainer:
    """One run. `run()` goes to the last step; `step(number)` is the algorithm.

    config, problems, evaluations, actors, folder: the run's.
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
        self.old_logprob, why = choose_old_logprob(strategies, self.terms, config=config)
        log.info("old log-probabilities: %s (%s)", self.old_logprob, why)
        self.learnt_terms = terms_for(self.old_logprob, self.terms, config=config)
        means = Means(
            tokenizer=self.tokenizer,
            encode_prompt=self.encode_prompt,
            generate=lambda requests: self.serving.generate(requests, self.next_step),
            verify=actors.verifiers.verify_all,
            read=actors.learner.read,
            critic=self.needs.critic,
            append=folder.append,
            keep=folder.write_evaluation,
        )
        self.evaluations = Evaluations(config, evaluations, means=means)
        self.parity = Parity(actors)
        self.learning = Learning(actors.learner, beside=config.rollout.streaming or bool(config.run.ahead))
        self.serving = Serving(actors, self.parity, learning=self.learning, streaming=config.rollout.streaming)
        self.recorder = Recorder(folder)
        self.clock = StageClock()
        # What changes over the run. A checkpoint keeps all of it but the encoded prompts.
        self.prompts: dict[int, np.ndarray] = {}  # by identity: ids are unique within one file only
        self.next_step = 0  # steps done
        self.admitted: list[Batch] = []  # the next steps', which are not learnt yet
        self.health = Health(config, folder)
        self.checkpoints = Checkpoints(
            folder,
            learning=self.learning,
            data=self.data,
            health=self.health,
            parity=self.parity,
            strategies=strategies,
        )

    # --- one step -----------------------------------------------------------------------------------------------------

    def step(self, number: int) -> dict[str, float]:
        """Step `number`, from choosing problems to engines with new weights. Returns the step's metrics."""
        self.clock = StageClock()
        latest = number + (self.config.run.max_staleness if self.serving.streaming else 0)
        for later in range(number + len(self.admitted), min(latest + 1, self.config.run.steps)):
            self.admitted.append(self.admit(later))
        return self.learn(self.complete(self.admitted.pop(0)))

    def produce(self, number: int) -> Batch:
        """A first draw for step `number`: groups that were drawn as the strategies plan it, and verified."""
        return self.complete(self.admit(number))

    def admit(self, number: int) -> Batch:
        """The batch of step `number`, with a first draw of it asked for."""
        batch = Batch(number, [(s, self.context(s, number)) for s in self.strategies])
        self.begin_draw(batch, self.config.algorithm.prompts_per_step)
        return batch

    def begin_draw(self, batch: Batch, wanted: int) -> None:
        """Asks for a group for each of the next `wanted` problems, as the strategies plan it in their first round."""
        problems = self.data.take(wanted)
        batch.epoch = self.data.epoch
        for strategy, context in batch.acting:
            problems = strategy.choose(problems, context)
        if not problems:
            raise RunStopped(f"step {batch.number}: the strategies chose no problem to draw for")
        groups = [Group(problem, []) for problem in problems]
        batch.plans = Plans(groups)
        # The draft that strategies change in round 0; later rounds they plan from what came back.
        self.plan(batch, [r for index, problem in enumerate(problems) for r in self.draft(problem, index)])

    def plan(self, batch: Batch, requests: list[Request]) -> None:
        """The strategies plan a round of the draw that is on its way, and what they ask for is begun."""
        plans = batch.plans
        assert plans is not None
        for strategy, context in batch.acting:
            requests = strategy.plan(requests, plans.groups, plans.round, context)
        plans.asked = bool(requests)
        if requests:
            attempt = len(batch.drawn)  # how often the step was drawn before
            when = {"number": batch.number, "attempt": attempt, "plan_round": plans.round}
            requests = seeded(requests, self.config.seed, **when)
            plans.drawing = self.serving.begin(plans.groups, requests, step=batch.number)
        plans.round += 1

    def collect(self, batch: Batch) -> None:
        """What was begun of a draw comes back, verified, into its groups."""
        plans = batch.plans
        if plans is None or plans.drawing is None:
            return
        for rollout, verdict in self.serving.finish(plans.drawing, step=batch.number, clock=self.clock):
            sample = Sample(rollout, verdict, reward=base_reward(verdict, self.config.rewards))
            plans.groups[rollout.request.group].samples.append(sample)
        plans.drawing = None

    def complete(self, batch: Batch) -> Batch:
        """The draw that is on its way, to its last round and with what strategies inject."""
        plans = batch.plans
        if plans is None:
            return batch
        while plans.asked:
            self.collect(batch)
            if plans.round == MAX_PLAN_ROUNDS:
                still = "step %d: strategies still asked for draws after %d rounds; going on without"
                log.warning(still, batch.number, MAX_PLAN_ROUNDS)
                break
            self.plan(batch, [])
        for strategy, context in batch.acting:
            strategy.inject(plans.groups, context)
        batch.drawn.append(plans.groups)
        batch.plans = None
        return batch

    def learn(self, batch: Batch) -> dict[str, float]:
        """What the groups are worth changes the weights, and the engines get them. Returns the step's metrics.

        At run.ahead=1 the next batch is drawn meanwhile; with rollout.streaming whatever was admitted.
        """
        self.settle(batch)
        minibatches = rows.make_minibatches(batch.groups, self.learnt_terms, config=self.config, step=batch.number)
        batch.idle = sum(m.idle for m in minibatches) / max(1, sum(m.idle + len(m.rows) for m in minibatches))
        reads = own_readouts(self.config) if self.old_logprob == "none" else ()
        self.learning.begin([m.rows for m in minibatches], self.learnt_terms, readouts=reads, clock=self.clock)
        if self.config.run.ahead and batch.number + 1 < self.config.run.steps:
            try:
                self.admitted.append(self.produce(batch.number + 1))
            finally:
                self.learning.wait()  # nobody finds the learner at work on what is given up
        if self.serving.streaming:
            self.serving.verify_until_learnt()
        reports = self.learning.end()
        if reads and reports[0].read:
            batch.entropies = fill_from_update(minibatches[0], reports[0])
        with self.clock("train"):
            for strategy, context in batch.acting:
                strategy.after_update(batch.groups, context)
        sent = self.serving.send(batch.number, self.clock)
        figures = self.record(batch, reports) | sent  # while engines and learner score the fixed sequences
        return figures | self.serving.check_sent(batch.number, self.clock) | self.timing(batch)

    def settle(self, batch: Batch) -> None:
        """Which groups count, and what they are worth; with further draws, where a strategy asks for them."""
        wanted = self.judge(batch)
        while wanted and len(batch.drawn) < MAX_DRAWS:
            self.begin_draw(batch, wanted)
            wanted = self.judge(self.complete(batch))
        batch.close()

    def judge(self, batch: Batch) -> int:
        """Columns, rewards and advantages of the last draw. Returns for how many problems more the strategies ask."""
        groups = batch.drawn[-1]
        learner, columns = self.actors.learner, self.needs.columns
        with self.clock("read"):
            fill_columns(groups, columns, learner=learner, config=self.config, old_logprob=self.old_logprob)
        for strategy, context in batch.acting:
            strategy.reward(groups, context)
        for strategy, context in batch.acting:
            strategy.advantage(groups, context)
        return batch.judge_last_draw()

    def record(self, batch: Batch, reports: list[UpdateReport]) -> dict[str, float]:
        """Every sample goes into the run folder. Returns figures of the batch and of its updates."""
        self.recorder.write(batch.groups, batch.dropped, step=batch.number)
        self.health.count(reports)
        metrics = metrics_of.of_groups(batch.groups, batch.dropped, free=self.free_terms, entropies=batch.entropies)
        metrics |= metrics_of.of_updates(reports)
        metrics |= metrics_of.of_versions(batch.groups, batch.number) if self.serving.streaming else {}
        metrics["data/epoch"] = batch.epoch
        metrics["update/rows_idle"] = batch.idle
        for strategy, context in batch.acting:
            metrics |= {f"{strategy.key}/{key}": value for key, value in context.metrics.items()}
        return metrics

    def timing(self, batch: Batch) -> dict[str, float]:
        """Figures of the step's time, which ends here."""
        seconds = self.clock.metrics()
        tokens = sum(len(s.rollout.tokens) for g in batch.groups + batch.dropped for s in g.samples)
        return seconds | {"tokens_per_second": tokens / seconds["seconds/step"]}

    def draft(self, problem: Problem, index: int) -> list[Request]:
        """group_size draws of a problem from the policy, without seeds. index: of its group."""
        return draft(problem, index, prompt_ids=self.encode_prompt(problem), config=self.config)

    # --- what the strategies may use ----------------------------------------------------------------------------------

    def context(self, strategy: Strategy, number: int) -> StepContext:
        """What `strategy` may use in step `number`, with a random stream of its own."""
        return StepContext(
            number=number,
            rng=np.random.default_rng(hashed_seed(self.config.seed, "strategy", strategy.key, number)),
            config=self.config,
            encode_prompt=self.encode_prompt,
            encode_completion=self.encode_completion,
            verify=self.verify_texts,
            read=self.learning.read,
            refresh_base=self.refresh_base,
            reset_optimizer=self.learning.reset_optimizer,
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
        self.learning.refresh_base()

    # --- the run ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Sends the weights to the engines, and checks that both sides compute the same log-probabilities.

        The engines hold none of the run's weights before, so the check fails if the weights do not arrive: of what the
        engines draw, and of the fixed sequences that every later transfer is checked on. Raises ParityError. A new run
        is also evaluated before its first step.
        """
        self.serving.version = self.learning.version
        self.actors.weights.send(self.serving.version)
        drafts = [self.draft(problem, index)[:4] for index, problem in enumerate(self.data.problems[:8])]
        requests = seeded([request for draft in drafts for request in draft], self.config.seed, number=-1)
        drawn = self.serving.generate(requests, self.next_step)
        self.actors.check_parity(drawn)
        if not self.parity.sequences:
            self.parity.choose(drawn)
        self.parity.expect()
        self.serving.check_parity(self.next_step, patience=1)
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
        begin = self.next_step
        with self.recorder:
            to_the_end = self.run_steps(should_stop, on_step)
        # A finished run that is resumed without a step left has its final model already.
        if to_the_end and (self.next_step > begin or not (self.folder.path / "final" / "config.json").exists()):
            self.save_final()

    def run_steps(self, should_stop: Callable[[], bool], on_step: Callable[[int, dict[str, float]], None]) -> bool:
        """The steps that are left, until `should_stop`. Returns whether all were made."""
        settings = self.config.run
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
            ruined = self.health.is_ruined(metrics)
            try:
                self.health.stop_if_hopeless(metrics)
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
                return False
        return True

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def is_checkpoint_due(self, seconds: float) -> bool:
        """By steps, by the clock, or because the run is at its end. seconds: since the last one, or the start."""
        settings = self.config.run
        minutes = settings.checkpoint_minutes
        by_steps = self.next_step % settings.checkpoint_every == 0 or self.next_step == settings.steps
        return by_steps or (minutes is not None and seconds >= 60 * minutes)

    def save(self) -> None:
        """A checkpoint. What was admitted is drawn to its end first: half a completion could not go on elsewhere."""
        for batch in self.admitted:
            self.collect(batch)
        self.recorder.flush()
        self.checkpoints.save(self.next_step, self.admitted, keep=self.config.run.keep_checkpoints)

    def resume(self) -> int:
        """Goes back to the last complete checkpoint, or to the beginning if there is none. Returns the next step."""
        self.next_step, self.admitted = self.checkpoints.load(self.context)
        return self.next_step

    def save_final(self) -> None:
        """Writes the final model, after removing what was derived from an earlier one."""
        for stale in (self.folder.path / "exact_final.json", *self.folder.path.glob("samples-*.parquet")):
            stale.unlink(missing_ok=True)
        self.actors.learner.save_pretrained(self.folder.path / "final")
