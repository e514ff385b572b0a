"""Engines that draw from tables, the way of weights to them, and verifiers without processes.

Each has the interface of the real one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch

from explore_rl.cluster.faults import ActorFault
from explore_rl.config.schema import Config
from explore_rl.models import load_tokenizer
from explore_rl.problems.templates import load_template
from explore_rl.rollout.answers import EndedText, check_answers
from explore_rl.rollout.engines import DrawFault
from explore_rl.rollout.mixing import flatten
from explore_rl.testing.learner import TableLearner
from explore_rl.testing.table import LogitTable
from explore_rl.types import Request, Rollout, Verdict
from explore_rl.verifiers.base import Verifier, failed, make_verifier
from explore_rl.verifiers.pool import Item


class Completion:
    """One that is being drawn.

    places: (token, version) from where on the weights are of that version.
    """

    def __init__(self, request: Request):
        self.request = request
        self.prompt = tuple(request.prompt_ids.tolist())
        self.rng = np.random.default_rng(request.seed)
        self.tokens = tuple(request.prefix_ids.tolist())
        self.logprobs = [0.0] * len(self.tokens)  # given, not drawn
        self.places: list[tuple[int, int]] = []


class TableEngines:
    """A policy engine, which draws nothing until weights were sent to it, and a base engine with the first table.

    needs_base: start the base engine too; without it a request for one is refused, as it would be in a run.
    """

    def __init__(self, config: Config, start: LogitTable, *, needs_base: bool = False):
        if config.rollout.stop:
            raise ValueError("rollout.stop: engines over a table know no stop strings, only the end token")
        self.tokenizer = load_tokenizer(config.model.path)
        self.end = load_template(config.model.template).end_id(self.tokenizer)
        self.policy: LogitTable | None = None
        self.base = start.copy() if needs_base else None
        self.version = -1
        self.dead = False
        self.last_draws: int | None = None  # completions that it still finishes before it dies

    def receive(self, table: LogitTable, version: int) -> None:
        self.policy = table.copy()
        self.version = version

    def generate(
        self, requests: list[Request], on_texts: Callable[[list[EndedText]], None] | None = None
    ) -> list[Rollout]:
        """One completion for each request, in order, each from its own seed. Raises DrawFault after `kill`.

        on_texts: as in `Engines.generate`; it is called once, with every text.
        """
        if requests and (self.dead or self.last_draws is not None):
            finished = [] if self.dead else self._rollouts(requests[: self.last_draws])
            self.dead = True
            self.last_draws = None
            fault = ActorFault("rollout engine 0", f"draw {len(requests)} completions", "died")
            raise DrawFault(fault, dict(enumerate(finished)))
        rollouts = self._rollouts(requests)
        if on_texts is not None:
            on_texts([EndedText(i, r.text, r.finish_reason) for i, r in enumerate(rollouts)])
        return rollouts

    def _rollouts(self, requests: list[Request]) -> list[Rollout]:
        return self.finish([Completion(request) for request in requests])

    def finish(self, completions: list[Completion]) -> list[Rollout]:
        """Draws what is left of them."""
        for completion in completions:
            self._table(completion.request)
            while not self.has_ended(completion):
                self.step(completion)
        texts = self.tokenizer.batch_decode([c.tokens for c in completions], skip_special_tokens=True)
        rollouts = []
        for c, text in zip(completions, texts, strict=True):
            reason = "stop" if c.tokens[-1] == self.end else "length"
            logprobs = np.array(c.logprobs, dtype=np.float32)
            (_, began), *changes = c.places
            rollout = Rollout(c.request, np.array(c.tokens), text, reason, logprobs, began, changes=tuple(changes))
            rollouts.append(rollout)
        return check_answers(rollouts)

    def logprobs_of(self, sequences: list[tuple[np.ndarray, int]]) -> dict[str, list[np.ndarray]]:
        """What the policy engine says of (token ids [L], prompt length) each, as `Engines.logprobs_of`."""
        if self.dead:
            raise ActorFault("rollout engine 0", f"score {len(sequences)} sequences", "died")
        if self.policy is None:
            raise RuntimeError("the policy engine holds no weights: send the learner's first (actors.weights.send)")
        scores = []
        for tokens, prompt_length in sequences:
            ids = tuple(tokens.tolist())
            rows = self.policy.rows(ids[:prompt_length], ids[prompt_length:])
            log_p = self.policy.log_probabilities(rows)
            scores.append(log_p[np.arange(len(rows)), tokens[prompt_length:]].astype(np.float32))
        return {"rollout engine 0": scores}

    def version_of(self, request: Request) -> int:
        return self.version if request.engine == "policy" else -1

    def step(self, completion: Completion) -> None:
        """Draws its next token."""
        request = completion.request
        table = self._table(request)
        row = np.array([table.row_of(completion.prompt, completion.tokens)])
        (log_p,) = table.log_probabilities(row, request.temperature or 1.0)
        log_p = _flat(log_p, request, drawn=len(completion.tokens) - len(request.prefix_ids))
        reached = np.exp(log_p).cumsum()
        token = int(np.searchsorted(reached, completion.rng.random() * reached[-1], side="right"))
        token = min(token, len(log_p) - 1)  # a row of NaN is past the end; an engine draws something all the same
        token = token if request.temperature else int(log_p.argmax())  # 0: greedy
        version = self.version_of(request)
        if not completion.places or completion.places[-1][1] != version:
            completion.places.append((len(completion.tokens), version))
        completion.tokens = (*completion.tokens, token)
        completion.logprobs.append(log_p[token])

    def has_ended(self, completion: Completion) -> bool:
        drawn = len(completion.tokens) - len(completion.request.prefix_ids)
        ended = drawn > 0 and completion.tokens[-1] == self.end
        return ended or len(completion.tokens) >= completion.request.max_tokens

    def _table(self, request: Request) -> LogitTable:
        if request.top_p != 1.0:
            raise ValueError(
                f"problem {request.problem}: top_p={request.top_p}: engines over a table draw from all of it"
            )
        if len(request.prefix_ids) >= request.max_tokens:
            raise ValueError(f"problem {request.problem}: the given prefix leaves nothing to draw")
        if request.engine == "policy":
            if self.policy is None:
                raise RuntimeError("the policy engine holds no weights: send the learner's first (actors.weights.send)")
            return self.policy
        if request.engine != "base" or self.base is None:
            raise ValueError(f"asked of the {request.engine!r} engines, but none was started: say so in Strategy.needs")
        return self.base

    # --- faults -------------------------------------------------------------------------------------------------------

    def kill(self, after: int | None = None) -> None:
        """As if the policy engine's process had died: now, or in the next draw with `after` completions finished."""
        self.dead = after is None
        self.last_draws = after

    def restart_dead(self) -> list[str]:
        """Replaces a killed policy engine by one without weights; the names of those replaced."""
        if not self.dead:
            return []
        self.dead = False
        self.policy = None
        return ["rollout engine 0"]

    def sleep(self) -> None:
        """There is no memory to leave to the learner."""

    def close(self) -> None:
        """There is nothing to end."""


class TableStream:
    """`Stream` over a table.

    Between `begin` and `finish` each draw gets on by one token whenever the engines stop for new weights, so that every
    completion of two tokens or more that is begun before has a change inside.
    """

    def __init__(self, engines: TableEngines):
        self.engines = engines
        self.draws: dict[int, tuple[list[Completion], Callable[[list[EndedText]], None]]] = {}
        self.numbers = itertools.count()

    def begin(self, requests: list[Request], on_texts: Callable[[list[EndedText]], None]) -> int:
        number = next(self.numbers)
        self.draws[number] = [Completion(request) for request in requests], on_texts
        return number

    def mend(self) -> None:
        """Engines that were replaced draw from the beginning."""
        if self.engines.dead:
            raise ActorFault("rollout engine 0", "take requests", "died")

    def tell(self) -> None:
        """Nothing ends before `finish`."""

    def finish(self, number: int) -> list[Rollout]:
        if self.engines.dead:
            completions, on_texts = self.draws[number]
            self.draws[number] = [Completion(c.request) for c in completions], on_texts
            raise ActorFault("rollout engine 0", "draw", "died")
        completions, on_texts = self.draws.pop(number)
        rollouts = self.engines.finish(completions)
        on_texts([EndedText(i, r.text, r.finish_reason) for i, r in enumerate(rollouts)])
        return rollouts

    @contextmanager
    def held(self) -> Iterator[None]:
        for completions, _ in self.draws.values():
            for completion in completions:
                if not self.engines.has_ended(completion):
                    self.engines.step(completion)
        yield

    def drop(self) -> None:
        self.draws.clear()


def _flat(log_p: np.ndarray, request: Request, *, drawn: int) -> np.ndarray:
    """Of the next token, [V]: as `rollout.flat` has it, where the request asks for that."""
    if request.flat is None or drawn < request.flat.plain:
        return log_p
    return flatten(torch.from_numpy(log_p[None]), top=request.flat.top, least=request.flat.least)[0].numpy()


class TableSync:
    """The learner's present table to the policy engine."""

    def __init__(self, learner: TableLearner, engines: TableEngines):
        self.learner, self.engines = learner, engines

    def send(self, version: int) -> dict[str, float]:
        self.engines.receive(self.learner.policy, version)
        return {"gather_s": 0.0, "transfer_s": 0.0}


class InProcessVerifiers:
    """The verifiers themselves in place of the pool: no limits, but an exception is a verdict of ERROR all the same.

    options: as verifiers.options of a config.
    own: verifiers by a name that the problems use, before those of `make_verifier`.
    """

    def __init__(self, options: Mapping[str, dict], own: Mapping[str, Verifier]):
        self.options = options
        self.made = dict(own)

    def verify_all(self, items: list[Item]) -> list[Verdict]:
        return [self._verify(item) for item in items]

    def begin(self, items: list[Item]) -> Callable[[], list[Verdict]]:
        """As `VerifierPool.begin`, but nothing goes on beside."""
        verdicts = self.verify_all(items)
        return lambda: verdicts

    def _verify(self, item: Item) -> Verdict:
        name = item.verifier_name
        if name not in self.made:
            self.made[name] = make_verifier(name, self.options.get(name, {}))
        try:
            return self.made[name](item.completion, item.problem, truncated=item.truncated)
        except Exception as error:  # a verifier may raise anything; the pool says the same of it
            return failed(f"{type(error).__name__}: {error}")
