"""The rollout engines as one: requests go in, completions come out in the same order, whoever drew them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from analysis.errors import InputError
from explore_rl.cluster.faults import ActorFault, gather, kill
from explore_rl.cluster.placement import Layout, with_environment
from explore_rl.cluster.starts import count
from explore_rl.config.schema import Config
from explore_rl.models import end_token_ids, load_tokenizer, resolve_model
from explore_rl.problems.templates import load_template
from explore_rl.rollout.answers import BadAnswer, check_answers
from explore_rl.rollout.dealing import EndedTexts, OnTexts, by_request, split
from explore_rl.rollout.engine import RolloutActor
from explore_rl.rollout.settings import engine_environment, engine_settings, own_seeds, transfer_backend
from explore_rl.types import Request, Rollout

log = logging.getLogger(__name__)

ANSWER_S = 10.0  # an engine that does not say how it is within so long is taken for stuck


@dataclass
class Engine:
    """One engine, and what it takes to start it again.

    name: in messages.
    options: what Ray starts its actor with.
    settings: what the actor starts with (`vllm_compat.EngineSettings`).
    handle: the actor.
    pid, node: where its process runs.
    context: tokens that a sequence may have, prompt included.
    """

    name: str
    options: dict[str, Any]
    settings: dict[str, Any]
    handle: Any = None
    pid: int = 0
    node: str = ""
    context: int = 0


class DrawFault(ActorFault):
    """An engine died or got stuck while completions were drawn.

    done: what was finished all the same, by the request's index.
    """

    def __init__(self, fault: ActorFault, done: dict[int, Rollout]):
        super().__init__(fault.who, fault.doing, fault.why)
        self.done = done


class Engines:
    """Starts the engines of `layout` and draws from them.

    Raises InputError, and ActorFault if an engine does not start within devices.start_timeout_s.

    config: the run's.
    layout: where the engines go.
    needs_base: also start engines with the frozen weights of the checkpoint.
    model_path: instead of config.model.path.
    load_format: "dummy" starts the policy engines with random weights, and they refuse to draw until weights were sent;
        "auto" loads the checkpoint's.
    """

    def __init__(
        self,
        config: Config,
        layout: Layout,
        *,
        needs_base: bool = False,
        model_path: str | Path | None = None,
        load_format: str = "dummy",
    ):
        self.config, self.layout = config, layout
        self.transfer = transfer_backend(config, layout.kind)
        # What engines of both families are told. A base model's config often names another end than its turns have.
        model = str(resolve_model(str(model_path or config.model.path)))
        turn_end = load_template(config.model.template).end_id(load_tokenizer(model))
        common = {
            "model": model,
            "dtype": config.model.dtype,
            "max_num_seqs": config.rollout.max_num_seqs,
            "stop": tuple(config.rollout.stop),
            "end_tokens": tuple(dict.fromkeys((*end_token_ids(model), turn_end))),
            "device": engine_settings(config, layout.kind, model=model),
            "own_seeds": own_seeds(layout.kind),
        }
        policy = common | {"load_format": load_format, "transfer": self.transfer}
        base = common | {"load_format": "auto"}
        if layout.kind == "cuda":  # base engines have their GPUs to themselves
            base["device"] = common["device"] | {"enable_sleep_mode": False}
        # The engines by family.
        environment = engine_environment(config, layout.kind)
        self.families = {
            "policy": [
                Engine(f"rollout engine {i}", with_environment(options, environment), policy)
                for i, options in enumerate(layout.policy)
            ],
            "base": [
                Engine(f"base engine {i}", with_environment(options, environment), base)
                for i, options in enumerate(layout.base if needs_base else [])
            ],
        }
        # Grows when an engine is replaced: whoever holds a connection to the engines has to make it anew.
        self.membership = 0
        self.draws = itertools.count()
        self.awaits_weights = load_format == "dummy"
        self.suspects: set[str] = set()
        self.asleep: set[str] = set()
        try:
            self._start(self.engines)
            self.sleep()
        except BaseException:
            self.close()
            raise

    @property
    def engines(self) -> list[Engine]:
        return self.families["policy"] + self.families["base"]

    @property
    def context(self) -> int:
        """Tokens that a sequence may have, prompt included."""
        return min(e.context for e in self.engines)

    def _start(self, engines: list[Engine]) -> None:
        """Gives engines their actors, and waits until all have loaded the model."""
        count("engine", len(engines))
        for engine in engines:
            engine.handle = RolloutActor.options(**engine.options).remote(engine.settings)
        refs = [e.handle.load.remote() for e in engines]
        doing = "load the model"
        try:
            loaded = gather(_named(engines), refs, doing=doing, timeout_s=self.config.devices.start_timeout_s)
        except RayTaskError as error:
            raise ActorFault.of_error("a rollout engine", doing, error) from error
        for engine, answer in zip(engines, loaded, strict=True):
            engine.pid = answer["pid"]
            engine.node = answer["node"]
            engine.context = answer["context"]

    # --- drawing ------------------------------------------------------------------------------------------------------

    def generate(self, requests: list[Request], on_texts: OnTexts | None = None) -> list[Rollout]:
        """One completion for each request, in order.

        On the CPU every request brings its own seed. So what is drawn does not depend on how the requests are split
        over engines or batched. On GPUs an engine draws all its share from the seed of the first. A rollout's tokens
        are the given prefix and what was drawn, the end token or stop string included; max_tokens at most. Raises
        InputError for a request that does not fit the model's context, DrawFault for an engine that died or got stuck.

        on_texts: told every MEANWHILE_S which completions have ended, while others go on; the last ones it is not told.
        """
        if not requests:
            return []
        self.check(requests)
        self.wake(["weights", "kv_cache"])
        shares = self.deal(requests)
        draw = next(self.draws)
        refs = [engine.handle.generate.remote([requests[i] for i in share], draw) for engine, share in shares]
        handles = [(engine.handle, share) for engine, share in shares]
        tell = EndedTexts(handles, draw, on_texts=on_texts).tell if on_texts is not None else None
        doing = f"draw {len(requests)} completions"
        try:
            answers = self.gather([engine for engine, _ in shares], refs, doing=doing, meanwhile=tell)
        except ActorFault as fault:
            answers = [_whatever_came(ref) for ref in refs]
            raise DrawFault(fault, self.checked(requests, shares, answers=answers)) from fault
        self.sleep()
        # Back into the order of the requests.
        rollouts = self.checked(requests, shares, answers=answers)
        return [rollouts[i] for i in range(len(requests))]

    def deal(self, requests: list[Request]) -> list[tuple[Engine, list[int]]]:
        """Engines with the indices of the requests that each is to draw; each family's go to its own."""
        shares: list[tuple[Engine, list[int]]] = []
        for family, engines in self.families.items():
            members = [i for i, r in enumerate(requests) if r.engine == family]
            dealt = split(requests, members, engines=len(engines))
            shares += [(engine, share) for engine, share in zip(engines, dealt, strict=True) if share]
        return shares

    def checked(
        self, requests: list[Request], shares: list[tuple[Engine, list[int]]], *, answers: list[list[Any]]
    ) -> dict[int, Rollout]:
        """As `by_request`. Raises BadAnswer for what cannot be learnt from.

        What gave it is replaced before it draws again: on the CPU a NaN stays behind in the key-value cache.
        """
        rollouts = by_request(requests, shares, answers=answers)
        bad: BadAnswer | None = None
        for engine, share in shares:
            try:
                check_answers([rollouts[i] for i in share if i in rollouts])
            except BadAnswer as error:
                self.suspects.add(engine.name)
                bad = bad or error
        if bad is not None:
            raise bad
        return rollouts

    def logprobs_of(self, sequences: list[tuple[np.ndarray, int]]) -> dict[str, list[np.ndarray]]:
        """What every policy engine says of the same sequences, by the engine's name.

        Each answer is the log-probability of every token behind the prompt, float32 [L - P], at temperature 1 and by a
        prefill. On shared GPUs the engines stay awake, since what comes next is a draw. Raises ActorFault for an engine
        that died or got stuck, RuntimeError before the first weights were sent.

        sequences: (token ids int32 [L], prompt length P) each.
        """
        self._refuse_random_weights()
        self.wake(["weights", "kv_cache"])
        engines = self.families["policy"]
        refs = [engine.handle.logprobs_of.remote(sequences) for engine in engines]
        answers = self.gather(engines, refs, doing=f"score {len(sequences)} sequences")
        return {engine.name: answer for engine, answer in zip(engines, answers, strict=True)}

    def _refuse_random_weights(self) -> None:
        if self.awaits_weights:
            raise RuntimeError("the policy engines hold random weights: send the learner's first (WeightSync.send)")

    def check(self, requests: list[Request]) -> None:
        """Raises InputError for requests that cannot be drawn, RuntimeError before the first weights were sent."""
        for r in requests:
            # A request that vLLM would wait for, cut short or refuse in words of its own.
            if not self.families.get(r.engine):
                raise InputError(f"problem {r.problem}: asked of the {r.engine!r} engines, but none was started")
            room = self.context - len(r.prompt_ids)
            if r.max_tokens > room:
                raise InputError(
                    f"problem {r.problem}: a prompt of {len(r.prompt_ids)} tokens and "
                    f"rollout.max_new_tokens={r.max_tokens} exceed the model's context of {self.context} tokens; "
                    f"lower it (--max-tokens of sample and answer) to at most {room}, or shorten the prompt"
                )
            if len(r.prefix_ids) >= r.max_tokens:
                raise InputError(
                    f"problem {r.problem}: a given prefix of {len(r.prefix_ids)} tokens leaves nothing to draw "
                    f"of max_tokens={r.max_tokens}"
                )
        if any(r.engine == "policy" for r in requests):
            self._refuse_random_weights()

    def gather(
        self,
        engines: list[Engine],
        refs: list[Any],
        *,
        doing: str,
        meanwhile: Callable[[], None] | None = None,
        together: bool = True,
    ) -> list[Any]:
        """The results of `refs`, in order. Raises ActorFault.

        engines: who makes the result of the same index.
        refs: what is waited for.
        doing: what the engines were asked to do, for the message.
        meanwhile: as in `cluster.faults.gather`.
        together: at an ActorFault the other engines are told to give up, so that they are free for the next attempt,
            and have ANSWER_S to hand over what they finished.
        """
        waits = self.config.devices
        try:
            return gather(
                _named(engines),
                refs,
                doing=doing,
                timeout_s=waits.step_timeout_s,
                stall_s=waits.stall_timeout_s,
                meanwhile=meanwhile,
            )
        except ActorFault as fault:
            # The message names those at fault; `restart_dead` replaces them.
            self.suspects |= set(fault.who.split(", "))
            if not together:
                raise
            well = [engine.name not in self.suspects for engine in engines]
            told = [e.handle.abort.remote() for e in self.engines if e.name not in self.suspects]
            told += list(itertools.compress(refs, well))
            if told:
                ray.wait(told, num_returns=len(told), timeout=ANSWER_S)
            raise
        except RayTaskError as error:
            raise ActorFault.of_error("a rollout engine", doing, error) from error

    # --- faults -------------------------------------------------------------------------------------------------------

    def restart_dead(self) -> list[str]:
        """Replaces engines that died, got stuck, do not answer, or were left between old and new weights.

        Returns their names. New policy engines hold no weights yet: the caller sends them before the next draw. Raises
        ActorFault if there is no place for them.
        """
        # What is left of them ends, so that its place is free.
        silent = self.silent()
        gone = [e for e in self.engines if e.name in self.suspects or e.name in silent]
        for engine in gone:
            log.warning("%s is replaced", engine.name)
            _end(engine)
        self.suspects.clear()
        if not gone:
            return []
        # New ones start where the layout has room, on another node if need be.
        if not self.layout.whole():
            why = "the node is lost, and no other has room; join one and resume, or lower rollout.actors"
            raise ActorFault(", ".join(e.name for e in gone), "start anew", why)
        self._start(gone)
        # Connections are made anew; sleep and weights are as the others have them.
        self.membership += 1
        self._as_the_others([e for e in gone if e in self.families["policy"]])
        self.awaits_weights |= any(e.settings["load_format"] == "dummy" for e in gone)
        return [e.name for e in gone]

    def silent(self) -> list[str]:
        """Names of the engines that do not say that they hold whole weights: dead, stuck, or left in mid-update."""
        states = [(e.name, e.handle.state.remote()) for e in self.engines]
        return [name for name, ref in states if not _says_whole(ref)]

    def weights_arrived(self) -> None:
        self.awaits_weights = False

    # --- shared GPUs --------------------------------------------------------------------------------------------------

    def sleep(self) -> None:
        """Leaves the GPUs to the learner; nothing to do unless GPUs are shared.

        `generate` and `WeightSync.send` wake what they need.
        """
        if self.layout.colocated and self.asleep != {"weights", "kv_cache"}:
            self.wake(["weights", "kv_cache"])  # vLLM puts a whole engine to sleep, never a half-woken one
            self._ask(self.families["policy"], "sleep", doing="sleep")
            self.asleep = {"weights", "kv_cache"}

    def wake(self, tags: list[str]) -> None:
        """Takes back GPU memory for what is asleep of `tags`: "weights", "kv_cache"."""
        tags = [t for t in tags if t in self.asleep]
        if tags:
            self._ask(self.families["policy"], "wake", tags, doing=f"wake up {' and '.join(tags)}")
            self.asleep -= set(tags)

    def _as_the_others(self, new: list[Engine]) -> None:
        """Puts new policy engines to sleep as far as the others sleep."""
        if self.asleep and new:
            self._ask(new, "sleep", doing="sleep")
            awake = [t for t in ("weights", "kv_cache") if t not in self.asleep]
            self._ask(new, "wake", awake, doing="wake up")

    def _ask(self, engines: list[Engine], method: str, *args: Any, doing: str) -> None:
        """Calls a method of the engines' actors, and waits for all of them."""
        refs = [getattr(e.handle, method).remote(*args) for e in engines]
        gather(_named(engines), refs, doing=doing, timeout_s=self.config.devices.start_timeout_s)

    def close(self) -> None:
        for engine in self.engines:
            _end(engine)


def _named(engines: list[Engine]) -> list[tuple[str, Any]]:
    """Engines as `gather` takes actors."""
    return [(e.name, e.handle) for e in engines]


def _whatever_came(ref: Any) -> list[Any]:
    """An engine's answer if it is there; empty if it is late, or the engine was lost."""
    try:
        return ray.get(ref, timeout=0)
    except (RayActorError, RayTaskError, GetTimeoutError):
        return []


def _says_whole(ref: Any) -> bool:
    """Whether an engine's state comes in time, and says that the engine holds whole weights."""
    try:
        state: dict[str, Any] = ray.get(ref, timeout=ANSWER_S)
        return state["whole"]
    except (RayActorError, GetTimeoutError):
        return False


def _end(engine: Engine) -> None:
    if engine.handle is not None:
        kill(engine.handle, engine.pid, node=engine.node)
