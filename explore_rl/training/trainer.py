"""The training step, written out. Top to bottom this file is

    Problem -> plan -> Request -> vLLM -> Rollout -> verify -> Verdict -> inject -> Group -> columns -> objective -> Row -> DeepSpeed -> weights

and holds no algorithm: advantages and losses are in objectives/, exploration in strategies/, rows in rows.py.
"""

from __future__ import annotations

import json
import logging
import math
from typing import Any

import numpy as np

from explore_rl.cluster.faults import ActorFault, RunStopped
from explore_rl.config.schema import Config
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.models import load_tokenizer
from explore_rl.objectives import advantages, divergences
from explore_rl.problems.templates import load_template
from explore_rl.rollout.records import rollout_columns
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.strategies.base import Column, StepContext, Strategy, needs_of
from explore_rl.training import metrics as metrics_of
from explore_rl.training import rows
from explore_rl.training.actors import Actors
from explore_rl.training.data_order import DataOrder
from explore_rl.training.evaluation import Evaluations, Means
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
        heldout: list[Problem],
        strategies: list[Strategy],
        actors: Actors,
        folder: RunFolder,
    ):
        self.config, self.strategies, self.actors, self.folder = config, strategies, actors, folder
        self.data = DataOrder(problems, config.seed)
        self.tokenizer = load_tokenizer(config.model.path)
        self.template = load_template(config.model.template)
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
        self.evaluations = Evaluations(config, heldout, means)
        self.prompts: dict[int, tuple[int, ...]] = {}  # by identity: ids are unique within one file only
        self.next_step = 0  # steps done
        self.version = 0  # of the weights: optimizer batches applied
        self.bad_steps = self.silent_steps = 0

    # --- one step -----------------------------------------------------------------------------------------------------

    def step(self, number: int) -> dict[str, float]:
        clock = metrics_of.StageClock()
        contexts = {s: self.context(s, number) for s in self.strategies}

        groups, dropped = self.draw_with_signal(number, contexts, clock)
        with clock("score"):
            self.fill_columns(groups)
        self.reward(groups, contexts)
        self.advantage(groups, contexts)

        minibatches = rows.make_minibatches(groups, self.terms, self.config, number)
        with clock("train"):
            reports = self.actors.learner.update(minibatches, self.terms)
        with clock("transfer"):
            self.version += 1
            sent = self.actors.weights.send(self.version)

        self.folder.write_rollouts(number, rollout_columns(groups, dropped, number))
        free = {term.name for term in self.terms if "advantage" not in term.columns}
        metrics = metrics_of.of_groups(groups, dropped, free) | self.update_metrics(reports) | clock.metrics()
        metrics["tokens_per_second"] = (
            sum(len(s.rollout.tokens) for g in groups + dropped for s in g.samples) / metrics["seconds/step"]
        )
        metrics["transfer/gather_seconds"], metrics["transfer/send_seconds"] = sent["gather_s"], sent["transfer_s"]
        metrics["data/epoch"] = self.data.epoch
        for strategy, context in contexts.items():
            metrics |= {f"{strategy.name}/{key}": value for key, value in context.metrics.items()}
        return metrics

    # --- plan, draw, verify -------------------------------------------------------------------------------------------

    def draw_with_signal(
        self, number: int, contexts: dict[Strategy, StepContext], clock: metrics_of.StageClock
    ) -> tuple[list[Group], list[Group]]:
        """The step's groups, and those that were dropped. With dynamic sampling, groups whose rewards are all equal (traces included) are
        drawn again, with the next problems; without it none is dropped."""
        wanted, rounds = self.config.algorithm.prompts_per_step, self.config.algorithm.dynamic_sampling_rounds
        kept: list[Group] = []
        dropped: list[Group] = []
        for attempt in range(rounds + 1):
            groups = self.draw(self.data.take(wanted - len(kept)), number, attempt, contexts, clock)
            if rounds == 0:
                return groups, []
            for group in groups:
                has_signal = len({s.reward for s in group.samples if s.reward is not None}) > 1
                (kept if has_signal else dropped).append(group)
            if len(kept) == wanted:
                break
        if kept:
            return kept, dropped
        return groups, [
            g for g in dropped if g not in groups
        ]  # without any signal it is still a step: counted, and too many stop the run

    def draw(
        self, problems: list[Problem], number: int, attempt: int, contexts: dict, clock: metrics_of.StageClock
    ) -> list[Group]:
        groups = [Group(problem, []) for problem in problems]
        requests = [
            self.request(p, g, i, number, attempt)
            for g, p in enumerate(problems)
            for i in range(self.config.algorithm.group_size)
        ]
        for round in range(MAX_PLAN_ROUNDS):
            for strategy in self.strategies:
                requests = strategy.plan(requests, groups, round, contexts[strategy])
            if not requests:
                break
            with clock("generate"):
                rollouts = self.generate(requests)
            with clock("verify"):
                for rollout, verdict in zip(rollouts, self.verify(groups, rollouts), strict=True):
                    groups[rollout.request.group].samples.append(Sample(rollout, verdict, self.base_reward(verdict)))
            requests = []
        else:
            log.warning(
                "step %d: strategies still asked for draws after %d rounds; going on without", number, MAX_PLAN_ROUNDS
            )
        for strategy in self.strategies:
            strategy.inject(groups, contexts[strategy])
        return groups

    def request(self, problem: Problem, group: int, index: int, number: int, attempt: int) -> Request:
        rollout = self.config.rollout
        seed = hashed_seed(self.config.seed, "draw", number, attempt, group, index)
        return Request(
            problem=problem.id, group=group, prompt_ids=self.encode_prompt(problem), seed=seed, max_tokens=rollout.max_new_tokens,
            temperature=rollout.temperature,
        )  # fmt: skip

    def generate(self, requests: list[Request]) -> list[Rollout]:
        """Draws, again if an engine dies: the seeds are in the requests, so a second attempt draws the same."""
        for retry in range(ENGINE_RETRIES + 1):
            try:
                return self.actors.engines.generate(requests)
            except ActorFault as fault:
                if retry == ENGINE_RETRIES:
                    raise
                log.warning("%s; starting it anew and drawing the step again", fault)
                replaced = self.actors.engines.restart_dead()
                if not replaced:
                    raise
                self.actors.weights.send(self.version)
        raise AssertionError("unreachable")

    def verify(self, groups: list[Group], rollouts: list[Rollout]) -> list[Verdict]:
        return self.actors.verifiers.verify_all(
            [Item(groups[r.request.group].problem, r.text, r.truncated) for r in rollouts]
        )

    def base_reward(self, verdict: Verdict) -> float | None:
        """A verdict's reward before any bonus. None leaves the sample out of its group: an error is never a reward of 0."""
        rewards = self.config.rewards
        special = {Status.NO_ANSWER: rewards.no_answer, Status.TIMEOUT: rewards.timeout, Status.ERROR: rewards.error}
        return special.get(verdict.status, verdict.score)

    # --- columns, reward, advantage -----------------------------------------------------------------------------------

    def fill_columns(self, groups: list[Group]) -> None:
        """Fills the columns: the policy's log-probability and entropy at the start of the step, and what else was said to be needed."""
        samples = [s for g in groups for s in g.samples if len(s.rollout.tokens)]
        ids = [
            (
                np.array(s.rollout.request.prompt_ids + s.rollout.tokens, dtype=np.int32),
                len(s.rollout.request.prompt_ids),
            )
            for s in samples
        ]
        training = self.config.rollout.temperature
        for wanted in (Column("old_logprob", "policy", training), *self.needs.columns):
            is_old = wanted.name == "old_logprob"
            answers = self.actors.learner.logprobs(
                [(*pair, wanted.temperature) for pair in ids], model=wanted.model, entropy=is_old
            )
            for sample, found in zip(samples, answers, strict=True):
                sample.columns[wanted.name] = found.logprob
                if is_old:
                    sample.columns["entropy"] = found.entropy

    def reward(self, groups: list[Group], contexts: dict[Strategy, StepContext]) -> None:
        algorithm = self.config.algorithm
        if algorithm.kl != "none" and algorithm.kl_place == "reward":
            for sample in (
                s for g in groups for s in g.samples if s.reward is not None and s.rollout.request.source == "policy"
            ):
                sample.reward -= algorithm.kl_coefficient * divergences.in_reward(
                    algorithm.kl, sample.columns["old_logprob"], sample.columns["base_logprob"]
                )
        for strategy in self.strategies:
            strategy.reward(groups, contexts[strategy])

    def advantage(self, groups: list[Group], contexts: dict[Strategy, StepContext]) -> None:
        algorithm = self.config.algorithm
        for group in groups:
            rewarded = [s for s in group.samples if s.reward is not None]
            compared = [s for s in rewarded if s.rollout.request.in_baseline]
            if (
                len(compared) < self.config.rewards.min_group
            ):  # too few to compare with: only what needs no comparison stays
                for sample in rewarded:
                    if any("advantage" in self.columns[name] for name in sample.terms):
                        sample.reward = None
                continue
            rewards = np.array([s.reward for s in rewarded])
            counts = np.array([s.rollout.request.in_baseline for s in rewarded])
            values = advantages.group_advantages(algorithm.advantage, rewards, counts, algorithm.divide_by_std)
            for sample, value in zip(rewarded, values, strict=True):
                sample.advantage = float(value)
        for strategy in self.strategies:
            strategy.advantage(groups, contexts[strategy])

    # --- what the strategies may use ----------------------------------------------------------------------------------

    def context(self, strategy: Strategy, number: int) -> StepContext:
        rng = np.random.default_rng(hashed_seed(self.config.seed, "strategy", strategy.name, number))
        return StepContext(
            number,
            rng,
            self.config,
            self.encode_prompt,
            self.encode_completion,
            self.verify_texts,
            self.actors.learner.logprobs,
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
        run = self.config.run
        self.silent_steps = self.silent_steps + 1 if metrics["signal/groups_without"] == 1.0 else 0
        if self.bad_steps >= run.max_bad_steps:
            raise RunStopped(
                f"loss or gradient was not finite in {self.bad_steps} steps in a row (run.max_bad_steps); a smaller learning rate may help"
            )
        if self.silent_steps >= run.max_silent_steps:
            raise RunStopped(
                f"no group had any signal in {self.silent_steps} steps in a row (run.max_silent_steps): all answers right, or all wrong; "
                "the problems are too easy or too hard for this model, or the template and verifier do not fit it"
            )

    # --- the run ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Sends the weights to engines that hold none yet, and compares the two sides' log-probabilities so that the check can fail."""
        self.actors.weights.send(self.version)
        problems = self.data.problems[:8]
        requests = [self.request(p, g, i, -1, 0) for g, p in enumerate(problems) for i in range(4)]
        self.actors.check_parity(self.generate(requests))
        if self.next_step == 0:
            self.evaluations.run(0)

    def run(self, should_stop=lambda: False, on_step=lambda number, metrics: None) -> None:
        """All steps that are left. `should_stop()` is asked between steps (Ctrl-C). A run that stops itself saves its state first; one that is
        ended by a fault goes on from its last checkpoint."""
        config, begin = self.config.run, self.next_step
        while self.next_step < config.steps:
            metrics = self.step(self.next_step)
            self.folder.append(
                "metrics.jsonl",
                {"step": self.next_step} | {k: (v if math.isfinite(v) else None) for k, v in metrics.items()},
            )
            self.next_step += 1
            on_step(self.next_step - 1, metrics)
            self.evaluations.run_if_due(self.next_step)
            stopping = should_stop()
            try:
                self.stop_if_hopeless(metrics)
            except RunStopped:
                self.save()
                raise
            if stopping or self.next_step % config.checkpoint_every == 0 or self.next_step == config.steps:
                self.save()
            if stopping:
                return
        if self.next_step > begin or not (self.folder.path / "final" / "config.json").exists():
            self.save_final()

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def save(self) -> None:
        aside = self.folder.begin_checkpoint(self.next_step)
        self.actors.learner.save_checkpoint(aside / "learner")
        state = {
            "step": self.next_step, "version": self.version, "position": self.data.position,
            "bad_steps": self.bad_steps, "silent_steps": self.silent_steps,
            "strategies": [{"name": s.name, "state": s.state()} for s in self.strategies],
        }  # fmt: skip
        (aside / "state.json").write_text(json.dumps(state))
        self.folder.complete_checkpoint(self.next_step, aside, self.config.run.keep_checkpoints)

    def resume(self) -> int:
        """Goes back to the last complete checkpoint, or to the beginning if there is none. Returns the next step."""
        done = self.folder.checkpoints()
        step = done[-1] if done else 0
        self.folder.rewind(step)
        if done:
            path = self.folder.checkpoint_path(step)
            state = json.loads((path / "state.json").read_text())
            self.actors.learner.load_checkpoint(path / "learner")
            self.next_step, self.version, self.data.position = state["step"], state["version"], state["position"]
            self.bad_steps, self.silent_steps = state["bad_steps"], state["silent_steps"]
            for strategy, kept in zip(self.strategies, state["strategies"], strict=True):
                strategy.load_state(kept["state"])
        return step

    def save_final(self) -> None:
        """The final model; what was derived from an earlier one goes first."""
        for stale in (self.folder.path / "exact_final.json", *self.folder.path.glob("samples-*.parquet")):
            stale.unlink(missing_ok=True)
        self.actors.learner.save_pretrained(self.folder.path / "final")
