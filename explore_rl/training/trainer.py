"""The training step, written out. Top to bottom this file is

    Problem -> plan -> Request -> vLLM -> Rollout -> verify -> Verdict
            -> inject -> Group -> columns -> objective -> Row -> DeepSpeed -> weights

and holds no algorithm: advantages and losses are in objectives/, exploration in strategies/, rows in rows.py.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from explore_rl.cluster.faults import ActorFault, RunStopped
from explore_rl.config.schema import Config
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.models import load_tokenizer
from explore_rl.objectives import advantages, divergences
from explore_rl.problems.templates import load_template
from explore_rl.rollout.engines import DrawFault
from explore_rl.rollout.records import rollout_columns
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.strategies.base import Column, StepContext, Strategy, needs_of
from explore_rl.training import metrics as metrics_of
from explore_rl.training import rows
from explore_rl.training.actors import Actors
from explore_rl.training.data_order import DataOrder
from explore_rl.training.evaluation import Evaluations, Means
from explore_rl.training.parity import Parity
from explore_rl.types import Group, Problem, Request, Rollout, Sample, Status, Verdict
from explore_rl.verifiers.pool import Item

log = logging.getLogger(__name__)

MAX_PLAN_ROUNDS = 16
ENGINE_RETRIES = 2  # how often a step is drawn again after an engine died


class Trainer:
    """One run. `run()` goes to the last step; `step(number)` is the algorithm."""

    def __init__(
        self,
        config: Config,
        problems: list[Problem],
        *,
        heldout: list[Problem],
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
        # Columns to score and loss terms: GRPO's own, and those of the strategies.
        self.needs = needs_of(strategies, config)
        self.terms = rows.base_terms(config.algorithm) + [t for s in strategies for t in s.terms(config)]
        self.columns = {term.name: term.columns for term in self.terms}
        means = Means(
            tokenizer=self.tokenizer,
            encode_prompt=self.encode_prompt,
            generate=self.generate,
            verify=actors.verifiers.verify_all,
            logprobs=actors.learner.logprobs,
            append=folder.append,
        )
        self.evaluations = Evaluations(config, heldout, means=means)
        self.parity = Parity(actors)
        # What changes over the run. A checkpoint keeps all of it but the encoded prompts.
        self.prompts: dict[int, tuple[int, ...]] = {}  # by identity: ids are unique within one file only
        self.next_step = 0  # steps done
        self.version = 0  # of the weights: optimizer batches applied
        self.bad_steps = 0  # in a row, with a loss or gradient that was not finite
        self.silent_steps = 0  # in a row, without a group that had any signal

    # --- one step -----------------------------------------------------------------------------------------------------

    def step(self, number: int) -> dict[str, float]:
        """Step `number`, from choosing problems to engines with new weights. Returns the step's metrics."""
        clock = metrics_of.StageClock()
        contexts = {s: self.context(s, number) for s in self.strategies}

        # Produce: verified groups, with their columns, rewards and advantages.
        groups, dropped = self.draw_with_signal(number, contexts, clock=clock)
        with clock("score"):
            self.fill_columns(groups)
        self.reward(groups, contexts)
        self.advantage(groups, contexts)

        # Learn: the groups' rows change the weights, and the engines get them.
        minibatches = rows.make_minibatches(groups, self.terms, self.config, step=number)
        with clock("train"):
            reports = self.actors.learner.update(minibatches, self.terms)
        with clock("parity"):
            self.parity.expect()
        with clock("transfer"):
            self.version += 1
            sent = self.actors.weights.send(self.version)
        with clock("parity"):
            gap = self.check_parity(number)

        # Record.
        self.folder.write_rollouts(number, rollout_columns(groups, dropped, number))
        free = {term.name for term in self.terms if "advantage" not in term.columns}
        metrics = metrics_of.of_groups(groups, dropped, free=free) | self.update_metrics(reports) | clock.metrics()
        tokens = sum(len(s.rollout.tokens) for g in groups + dropped for s in g.samples)
        metrics["tokens_per_second"] = tokens / metrics["seconds/step"]
        metrics["transfer/gather_seconds"] = sent["gather_s"]
        metrics["transfer/send_seconds"] = sent["transfer_s"]
        metrics |= gap
        metrics["data/epoch"] = self.data.epoch
        for strategy, context in contexts.items():
            metrics |= {f"{strategy.name}/{key}": value for key, value in context.metrics.items()}
        return metrics

    # --- plan, draw, verify -------------------------------------------------------------------------------------------

    def draw_with_signal(
        self, number: int, contexts: dict[Strategy, StepContext], *, clock: metrics_of.StageClock
    ) -> tuple[list[Group], list[Group]]:
        """The step's groups, and those that were dropped.

        Dynamic sampling drops a group whose rewards are all equal (traces included), and draws the next problem in its
        place. Without dynamic sampling no group is dropped.
        """
        algorithm = self.config.algorithm
        kept: list[Group] = []
        dropped: list[Group] = []
        for attempt in range(algorithm.dynamic_sampling_rounds + 1):
            problems = self.data.take(algorithm.prompts_per_step - len(kept))
            groups = self.draw(problems, number, attempt=attempt, contexts=contexts, clock=clock)
            if algorithm.dynamic_sampling_rounds == 0:
                return groups, []
            for group in groups:
                has_signal = len({s.reward for s in group.samples if s.reward is not None}) > 1
                (kept if has_signal else dropped).append(group)
            if len(kept) == algorithm.prompts_per_step:
                break
        if kept:
            return kept, dropped
        # Without any signal it is still a step: the last draw stands for it, and too many such steps stop the run.
        return groups, [group for group in dropped if group not in groups]

    def draw(
        self,
        problems: list[Problem],
        number: int,
        *,
        attempt: int,
        contexts: dict[Strategy, StepContext],
        clock: metrics_of.StageClock,
    ) -> list[Group]:
        """One group for each of `problems`: drawn as the strategies plan it, verified, and with what they inject.

        attempt: how often the step was drawn before (dynamic sampling); it enters the seeds.
        """
        groups = [Group(problem, []) for problem in problems]
        # The draft that strategies change in round 0: group_size draws a problem, from the policy.
        requests = [
            self.request(problem, group, index=index, number=number, attempt=attempt)
            for group, problem in enumerate(problems)
            for index in range(self.config.algorithm.group_size)
        ]
        for plan_round in range(MAX_PLAN_ROUNDS):
            for strategy in self.strategies:
                requests = strategy.plan(requests, groups, plan_round, contexts[strategy])
            if not requests:
                break
            with clock("generate"):
                rollouts = self.generate(requests)
            with clock("verify"):
                verdicts = self.verify(groups, rollouts)
                for rollout, verdict in zip(rollouts, verdicts, strict=True):
                    sample = Sample(rollout, verdict, reward=self.base_reward(verdict))
                    groups[rollout.request.group].samples.append(sample)
            requests = []  # strategies plan the next round from what came back, not from a draft
        else:
            log.warning(
                "step %d: strategies still asked for draws after %d rounds; going on without", number, MAX_PLAN_ROUNDS
            )
        for strategy in self.strategies:
            strategy.inject(groups, contexts[strategy])
        return groups

    def request(self, problem: Problem, group: int, *, index: int, number: int, attempt: int) -> Request:
        """Draw `index` of a problem, from the policy. number: the step; attempt: as in `draw`."""
        rollout = self.config.rollout
        return Request(
            problem=problem.id,
            group=group,
            prompt_ids=self.encode_prompt(problem),
            seed=hashed_seed(self.config.seed, "draw", number, attempt, group, index),
            max_tokens=rollout.max_new_tokens,
            temperature=rollout.temperature,
        )

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

    def base_reward(self, verdict: Verdict) -> float | None:
        """A verdict's reward before any bonus.

        None leaves the sample out of its group: an error is never a reward of 0.
        """
        rewards = self.config.rewards
        special = {Status.NO_ANSWER: rewards.no_answer, Status.TIMEOUT: rewards.timeout, Status.ERROR: rewards.error}
        return special.get(verdict.status, verdict.score)

    # --- columns, reward, advantage -----------------------------------------------------------------------------------

    def fill_columns(self, groups: list[Group]) -> None:
        """Has the learner score every completion, and puts the answers into Sample.columns.

        The columns are the policy's log-probability and entropy at the start of the step, and those that the strategies
        and the config need.
        """
        samples = [s for g in groups for s in g.samples if len(s.rollout.tokens)]
        sequences = [rows.sequence_of(s.rollout) for s in samples]
        old = Column("old_logprob", model="policy", temperature=self.config.rollout.temperature)
        for column in (old, *self.needs.columns):
            scores = self.actors.learner.logprobs(
                [(tokens, prompt_length, column.temperature) for tokens, prompt_length in sequences],
                model=column.model,
                entropy=column.name == old.name,
            )
            for sample, score in zip(samples, scores, strict=True):
                sample.columns[column.name] = score.logprob
                if score.entropy is not None:
                    sample.columns["entropy"] = score.entropy

    def reward(self, groups: list[Group], contexts: dict[Strategy, StepContext]) -> None:
        """Changes the samples' rewards: first by the KL penalty, where the config puts it there, then by strategies."""
        algorithm = self.config.algorithm
        if algorithm.kl != "none" and algorithm.kl_place == "reward":
            for sample in (s for g in groups for s in g.samples):
                if sample.reward is not None and sample.rollout.request.source == "policy":
                    kl = divergences.in_reward(
                        algorithm.kl, sample.columns["old_logprob"], sample.columns["base_logprob"]
                    )
                    sample.reward -= algorithm.kl_coefficient * kl
        for strategy in self.strategies:
            strategy.reward(groups, contexts[strategy])

    def advantage(self, groups: list[Group], contexts: dict[Strategy, StepContext]) -> None:
        """Turns rewards into advantages, group by group; then strategies may change them."""
        algorithm = self.config.algorithm
        for group in groups:
            rewarded = [s for s in group.samples if s.reward is not None]
            in_baseline = np.array([s.rollout.request.in_baseline for s in rewarded])
            # With too few samples to compare with, only those stay whose terms need no comparison.
            if in_baseline.sum() < self.config.rewards.min_group:
                for sample in rewarded:
                    if any("advantage" in self.columns[name] for name in sample.terms):
                        sample.reward = None
                continue
            rewards = np.array([s.reward for s in rewarded])
            values = advantages.group_advantages(
                algorithm.advantage, rewards, in_baseline, divide_by_std=algorithm.divide_by_std
            )
            for sample, value in zip(rewarded, values, strict=True):
                sample.advantage = float(value)
        for strategy in self.strategies:
            strategy.advantage(groups, contexts[strategy])

    # --- what the strategies may use ----------------------------------------------------------------------------------

    def context(self, strategy: Strategy, number: int) -> StepContext:
        """What `strategy` may use in step `number`, with a random stream of its own."""
        return StepContext(
            number=number,
            rng=np.random.default_rng(hashed_seed(self.config.seed, "strategy", strategy.name, number)),
            config=self.config,
            encode_prompt=self.encode_prompt,
            encode_completion=self.encode_completion,
            verify=self.verify_texts,
            logprobs=self.actors.learner.logprobs,
        )

    def encode_prompt(self, problem: Problem) -> tuple[int, ...]:
        if id(problem) not in self.prompts:
            self.prompts[id(problem)] = tuple(self.template.encode(problem, self.tokenizer))
        return self.prompts[id(problem)]

    def encode_completion(self, text: str) -> tuple[int, ...]:
        return tuple(self.template.encode_completion(text, self.tokenizer))

    def verify_texts(self, pairs: list[tuple[Problem, str]]) -> list[Verdict]:
        return self.actors.verifiers.verify_all([Item(problem, text, False) for problem, text in pairs])

    # --- figures, and when to stop ------------------------------------------------------------------------------------

    def update_metrics(self, reports: list[Any]) -> dict[str, float]:
        """Means over the optimizer steps that were finite, and the number that was skipped. Counts `bad_steps`."""
        finite = [r for r in reports if r.finite]
        self.bad_steps = 0 if len(finite) == len(reports) else self.bad_steps + 1
        metrics = {
            "update/skipped": float(len(reports) - len(finite)),
            "update/learning_rate": reports[-1].learning_rate if reports else 0.0,
        }
        if finite:
            metrics["update/loss"] = float(np.mean([r.loss for r in finite]))
            metrics["update/gradient_norm"] = float(np.mean([r.grad_norm for r in finite]))
            metrics["update/padding"] = float(np.mean([r.padding_fraction for r in finite]))
            for key in sorted({key for r in finite for key in r.metrics}):
                metrics[f"update/{key}"] = float(np.mean([r.metrics[key] for r in finite if key in r.metrics]))
        return metrics

    def stop_if_hopeless(self, metrics: dict[str, float]) -> None:
        """Counts `silent_steps`. Raises RunStopped after too many bad or silent steps in a row."""
        run = self.config.run
        self.silent_steps = self.silent_steps + 1 if metrics["signal/groups_without"] == 1.0 else 0
        if self.bad_steps >= run.max_bad_steps:
            raise RunStopped(
                f"loss or gradient was not finite in {self.bad_steps} steps in a row (run.max_bad_steps);"
                " a smaller learning rate may help"
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
        requests = [
            self.request(problem, group, index=index, number=-1, attempt=0)
            for group, problem in enumerate(self.data.problems[:8])
            for index in range(4)
        ]
        drawn = self.generate(requests)
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
        while self.next_step < settings.steps:
            metrics = self.step(self.next_step)
            # JSON knows no NaN and no infinity: what is not finite is null.
            finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
            self.folder.append("metrics.jsonl", {"step": self.next_step} | finite)
            self.next_step += 1
            on_step(self.next_step - 1, metrics)
            self.evaluations.run_if_due(self.next_step)

            # A run that ends here, for whatever reason, leaves a checkpoint.
            stopping = should_stop()
            try:
                self.stop_if_hopeless(metrics)
            except RunStopped:
                self.save()
                raise
            is_due = self.next_step % settings.checkpoint_every == 0 or self.next_step == settings.steps
            if stopping or is_due:
                self.save()
            if stopping:
                return

        # A finished run that is resumed without a step left has its final model already.
        if self.next_step > begin or not (self.folder.path / "final" / "config.json").exists():
            self.save_final()

    # --- checkpoints --------------------------------------------------------------------------------------------------

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
            "strategies": [{"name": s.name, "state": s.state()} for s in self.strategies],
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
            for strategy, saved in zip(self.strategies, state["strategies"], strict=True):
                strategy.load_state(saved["state"])
        return step

    def save_final(self) -> None:
        """Writes the final model, after removing what was derived from an earlier one."""
        for stale in (self.folder.path / "exact_final.json", *self.folder.path.glob("samples-*.parquet")):
            stale.unlink(missing_ok=True)
        self.actors.learner.save_pretrained(self.folder.path / "final")
