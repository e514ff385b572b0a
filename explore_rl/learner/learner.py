"""The learner as one: batches go in, are planned and sharded once for all ranks, and come back in order."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from analysis.errors import InputError
from explore_rl.cluster.faults import ActorFault, RunStopped, gather, kill
from explore_rl.cluster.placement import Layout, with_environment
from explore_rl.cluster.starts import absent, count, loading
from explore_rl.config.schema import Config
from explore_rl.learner.device import learner_environment
from explore_rl.learner.messages import (
    POLICY_ALONE,
    TRAINED,
    LearnerNeeds,
    Part,
    UpdateReport,
    check_readouts,
    check_row,
    check_terms,
)
from explore_rl.learner.packing import Shard, bundle_length, bundles, plan, shards
from explore_rl.models import load_transformers
from explore_rl.objectives.readouts import Readout
from explore_rl.objectives.terms import LossTerm
from explore_rl.types import Row

DEATH_S = 10.0  # how long Ray may take to notice that a process is gone


# Ray's types know neither concurrency groups nor `options` of an actor class.
_as_actor: Any = ray.remote(**cast(Any, {"concurrency_groups": {"watch": 1}}))


@_as_actor
class RankActor:
    """A process with one LearnerRank.

    `progress` is answered beside the work, so that a stuck rank can be told from a slow one.
    """

    def __init__(self) -> None:
        self.rank: Any = None
        self.listening: socket.socket | None = None

    def address(self) -> tuple[str, int]:
        """Host and port where rank 0 listens from now on: a port that was given back could be taken before `start`."""
        address = ray.util.get_node_ip_address()
        self.listening = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.listening.bind(("", 0))
        self.listening.listen()
        return address, self.listening.getsockname()[1]

    def start(
        self, index: int, *, ranks: int, kind: str, address: tuple[str, int], timeout_s: float
    ) -> tuple[int, str]:
        """Joins the other ranks. Returns process id and node.

        index: this rank's place among `ranks`.
        ranks: how many there are.
        kind: "cpu" or "cuda".
        address: host and port where rank 0 listens.
        timeout_s: how long a rank waits for a partner, now and in every later exchange.
        """
        with loading(), absent("scipy"):
            load_transformers()
            from explore_rl.learner.rank import LearnerRank

            self.rank = LearnerRank(index, ranks=ranks, kind=kind)
            self.rank.connect(*address, timeout_s=timeout_s, listening=self.listening)  # imports DeepSpeed: seconds
        self.listening = None  # it belongs to the store now
        return os.getpid(), ray.get_runtime_context().get_node_id()

    def call(self, method: str, *args: Any) -> Any:
        if method != "offload":
            self.rank.reload()
        return getattr(self.rank, method)(*args)

    def apply(self, function: Callable, *args: Any) -> Any:
        self.rank.reload()
        return function(self.rank, *args)

    @ray.method(concurrency_group="watch")
    def progress(self) -> int:
        return self.rank.progress if self.rank is not None else 0


class Learner:
    """config.learner.ranks DeepSpeed ranks, placed by `layout`.

    A rank that fails ends all of them, because the others would wait for it. Raises InputError, or ActorFault if the
    ranks do not start within devices.start_timeout_s.

    needs: the models that it holds.
    """

    def __init__(self, config: Config, layout: Layout, *, needs: LearnerNeeds = POLICY_ALONE):
        self.config, self.kind = config, layout.kind
        self.processes: list[tuple[int, str]] = [(0, "")] * len(layout.learner)
        environment = learner_environment(config, layout.kind)
        self.actors = [
            (f"learner rank {i}", RankActor.options(**with_environment(options, environment)).remote())
            for i, options in enumerate(layout.learner)
        ]
        count("rank", len(self.actors))
        start_s = config.devices.start_timeout_s
        try:
            # Only the node that rank 0 runs on can say where rank 0 is able to listen.
            first = self.actors[0][1].address.remote()
            [address] = self._gather(self.actors[:1], [first], doing="find a port", timeout_s=start_s, stall=False)
            # Every rank joins before any of them loads the model.
            meeting = {
                "ranks": len(self.actors),
                "kind": layout.kind,
                "address": address,
                "timeout_s": config.devices.step_timeout_s,
            }
            starts = [actor.start.remote(i, **meeting) for i, (_, actor) in enumerate(self.actors)]
            doing = "join the other ranks"
            self.processes = self._gather(self.actors, starts, doing=doing, timeout_s=start_s, stall=False)
            self.reset(config, needs)
        except BaseException:
            self.close()
            raise

    def reset(self, config: Config, needs: LearnerNeeds = POLICY_ALONE) -> None:
        """The same ranks with the models of config.model.path and new optimizers, as if they had just started."""
        if config.learner.ranks != len(self.actors):
            raise ValueError(f"reset to learner.ranks={config.learner.ranks}, but {len(self.actors)} ranks are running")
        self.config = config
        self.needs = needs
        answers = self._all(
            "reset",
            [(config, needs)] * len(self.actors),
            doing="load the model",
            timeout_s=config.devices.start_timeout_s,
            stall=False,
        )
        self.hidden_size: int | None = answers[0]  # None: sequences cannot share a prompt

    # --- work ---------------------------------------------------------------------------------------------------------

    def read(
        self, sequences: list[tuple[np.ndarray, int]], readouts: tuple[Readout, ...], *, model: str = "policy"
    ) -> list[tuple[np.ndarray, ...]]:
        """What a model says of every completion token: for each sequence, for each readout float32 [T], [T, k] or [h].

        One forward pass gives all readouts. Order is kept. What else is in the batch changes a result only by float
        rounding. Raises ValueError for a model or head that the learner does not hold.

        sequences: (token ids [L], prompt length) each.
        readouts: what is read (objectives/readouts.py).
        model: "policy" or "critic", as it is now, or "base".
        """
        from explore_rl.learner.collate import Sequence

        readouts = tuple(readouts)
        check_readouts(readouts, model, needs=self.needs)
        if not sequences:
            return []
        items = [Sequence(np.asarray(tokens, dtype=np.int32), prompt) for tokens, prompt in sequences]
        for item in items:
            if item.prompt_length < 1:
                raise ValueError("a sequence needs at least one prompt token before the first that is read")
        parts = self._shards(items)
        doing = f"read {len(items)} sequences"
        answers = self._all("read", [(part, model, readouts) for part in parts], doing=doing)
        # Back from each rank's own list into the order of the question.
        in_order: list[Any] = [None] * len(items)
        for part, answer in zip(parts, answers, strict=True):
            for place, values in zip(part.places, answer, strict=True):
                in_order[place] = values
        return in_order

    def update(
        self, minibatches: list[list[Row]], terms: list[LossTerm], *, readouts: tuple[Readout, ...] = ()
    ) -> list[UpdateReport]:
        """One optimizer step for each mini-batch, in order, of each model that its rows feed a term of.

        No step is made for a mini-batch as soon as its loss or gradient is not finite on at least one rank. Raises
        ValueError for a row that names an unknown term, lacks a column, or has columns that differ in length.

        readouts: what is read of the policy, token by token, in each step's forward pass; see UpdateReport.read.
        """
        check_terms(terms, self.needs)
        by_name = {term.name: term for term in terms}
        for rows in minibatches:
            for row in rows:
                check_row(row, by_name)
        by_minibatch = [self._parts(rows, by_name) for rows in minibatches]
        by_rank = [[parts[rank] for parts in by_minibatch] for rank in range(len(self.actors))]
        doing = f"make {len(minibatches)} optimizer steps"
        answers = self._all("update", [(parts, terms, readouts) for parts in by_rank], doing=doing)
        reports = answers[0]
        if readouts:
            for number, (rows, parts) in enumerate(zip(minibatches, by_minibatch, strict=True)):
                own = [answer[number].read for answer in answers]
                reports[number].read = _read_by_row(
                    rows, parts, read=own, terms={t.name for t in terms if t.model == "policy"}
                )
        return reports

    def refresh_base(self) -> None:
        """The frozen base model becomes the policy as it is now."""
        check_readouts((), "base", needs=self.needs)
        self._all("refresh_base", [()] * len(self.actors), doing="refresh the base model")

    def reset_optimizer(self) -> None:
        """The policy's optimizer as it was before the first step; weights and schedule stay where they are."""
        self._all("reset_optimizer", [()] * len(self.actors), doing="reset the optimizer")

    def offload(self) -> None:
        """With devices.offload_learner the ranks leave their GPUs until they are asked for anything."""
        if self.config.devices.offload_learner:
            self._all("offload", [()] * len(self.actors), doing="move to CPU memory", stall=False)

    def _parts(self, rows: list[Row], terms: dict[str, LossTerm]) -> list[list[Part]]:
        """Of each rank its parts of the mini-batch `rows`, the policy's first."""
        by_rank: list[list[Part]] = [[] for _ in self.actors]
        for model in TRAINED:
            own = {name: term for name, term in terms.items() if term.model == model}
            feeding = [_read_columns_of(row, own) for row in rows if row.terms.keys() & own.keys()]
            if not feeding:
                continue
            fed = tuple(sorted({name for row in feeding for name in row.terms}))
            for parts, shard in zip(by_rank, self._shards(feeding), strict=True):
                parts.append(Part(model, fed, shard))
        return by_rank

    def _shards(self, items: list[Any]) -> list[Shard]:
        """One part for each rank. items: Sequence or Row, with `tokens` and `prompt_length`."""
        learner = self.config.learner
        # Bundles of sequences with the same prompt where the model can share it, else of one sequence each.
        lengths = [len(item.tokens) for item in items]
        together = [[i] for i in range(len(items))]
        if learner.share_prompts and self.hidden_size is not None:
            prompts = [item.tokens[: item.prompt_length].tobytes() for item in items]
            together = bundles(
                prompts,
                [item.prompt_length for item in items],
                lengths=lengths,
                hidden_size=self.hidden_size,
                budget=learner.micro_batch_tokens,
            )
            lengths = [bundle_length(bundle, items) for bundle in together]
        # Variable-length attention wants all of a micro-batch on one line.
        plans = plan(
            lengths,
            learner.micro_batch_tokens,
            ranks=len(self.actors),
            packing=learner.packing,
            single_line=self.config.model.attention == "flash_attention_2",
        )
        return shards(items, together, plans=plans, lengths=lengths)

    def apply(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """function(rank, *args) on every LearnerRank; the answers in the order of the ranks."""
        refs = [actor.apply.remote(function, *args) for _, actor in self.actors]
        doing = getattr(function, "__name__", "a function")
        return self._gather(self.actors, refs, doing=doing, timeout_s=self.config.devices.step_timeout_s)

    # --- states -------------------------------------------------------------------------------------------------------

    def save_checkpoint(self, folder: Path) -> None:
        """Weights, optimizer, schedule and random states of all ranks. All of them have to see the folder.

        Raises RunStopped if a part of it is missing afterwards.
        """
        self._all_in("save_checkpoint", folder, doing="save a checkpoint")
        if missing := self._missing_parts(folder):
            raise RunStopped(
                f"{folder}: parts of this checkpoint are missing: {', '.join(missing)}; it does not count. All ranks"
                " have to write into one folder: is run.output on a file system that they share?"
            )

    def load_checkpoint(self, folder: Path) -> None:
        """Goes on as at `save_checkpoint`, bit for bit on the CPU.

        Raises InputError for a checkpoint of another layout or with a part missing, and for a folder without one.
        """
        self._all_in("load_checkpoint", folder, doing="load a checkpoint")

    def _missing_parts(self, folder: Path) -> list[str]:
        from explore_rl.learner.checkpoints import missing_parts

        return missing_parts(folder, ranks=len(self.actors), zero_stage=self.config.learner.zero_stage)

    def save_pretrained(self, folder: Path) -> None:
        """A Hugging Face checkpoint with its tokenizer, in place of what was there."""
        Path(folder).resolve().parent.mkdir(parents=True, exist_ok=True)
        self._all_in("save_pretrained", folder, doing="save the model")

    def close(self) -> None:
        for (_, actor), (pid, node) in zip(self.actors, self.processes, strict=True):
            kill(actor, pid, node=node)
        self.actors = []
        self.processes = []

    # --- asking -------------------------------------------------------------------------------------------------------

    def _all_in(self, method: str, folder: Path, *, doing: str) -> None:
        """A method of every LearnerRank that takes a folder. Reading and writing a large model shows no progress."""
        self._all(method, [(Path(folder).resolve(),)] * len(self.actors), doing=doing, stall=False)

    def _all(
        self, method: str, arguments: list[tuple], *, doing: str, timeout_s: float | None = None, stall: bool = True
    ) -> list[Any]:
        """What a method of LearnerRank returns on every rank.

        method: its name.
        arguments: one list a rank.
        doing, timeout_s, stall: as in `_gather`.
        """
        refs = [actor.call.remote(method, *args) for (_, actor), args in zip(self.actors, arguments, strict=True)]
        return self._gather(self.actors, refs, doing=doing, timeout_s=timeout_s, stall=stall)

    def _gather(
        self, actors: list, refs: list, *, doing: str, timeout_s: float | None = None, stall: bool = True
    ) -> list[Any]:
        """The results of `refs`; all ranks end if one of them fails.

        actors: (name, handle) of each result.
        refs: what is waited for.
        doing: what was asked, for the message.
        timeout_s: devices.step_timeout_s unless given.
        stall: whether a rank that makes no progress is taken for stuck.
        """
        waits = self.config.devices
        try:
            return gather(
                actors,
                refs,
                doing=doing,
                timeout_s=timeout_s or waits.step_timeout_s,
                stall_s=waits.stall_timeout_s if stall else None,
            )
        except ActorFault:
            self.close()
            raise
        except RayTaskError as error:
            if isinstance(error.cause, InputError):  # every rank says so, none is left waiting
                raise InputError(str(error.cause)) from None
            dead = self._dead(actors)
            self.close()
            if dead:  # what its partners say is only that the connection broke
                raise ActorFault(dead, doing, "died") from error
            raise

    def _dead(self, actors: list) -> str:
        """Names of the actors whose process is gone."""
        names = []
        for name, actor in actors:
            try:
                ray.get(actor.progress.remote(), timeout=DEATH_S)
            except RayActorError:
                names.append(name)
            except GetTimeoutError:
                pass
        return ", ".join(names)


def _read_by_row(
    rows: list[Row], parts: list[list[Part]], *, read: list[list[Any]], terms: set[str]
) -> list[tuple[np.ndarray, ...] | None]:
    """What the ranks read of the policy, in the order of the rows.

    parts: one a rank.
    read: one list a rank, in the order of its part's rows.
    terms: names of the policy's.
    """
    if not any(read):
        return [None] * len(rows)
    feeding = [i for i, row in enumerate(rows) if row.terms.keys() & terms]
    found: list[tuple[np.ndarray, ...] | None] = [None] * len(rows)
    for own, values in zip(parts, read, strict=True):
        for part in own:
            if part.model == "policy":
                for place, value in zip(part.shard.places, values, strict=True):
                    found[feeding[place]] = value
    return found


def _read_columns_of(row: Row, terms: dict[str, LossTerm]) -> Row:
    """The row as the ranks of one model need it: its part in `terms`, and the columns that these read."""
    fed = {name: weight for name, weight in row.terms.items() if name in terms}
    read = {column for name in fed for column in terms[name].row_columns}
    return replace(row, terms=fed, columns={name: row.columns[name] for name in sorted(read)})
