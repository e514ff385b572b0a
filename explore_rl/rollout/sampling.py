"""Drawing many completions from any checkpoint, verified, sharded and resumable: the records that `analysis` reads.

The work is cut into parts that depend on the settings alone. A part is written when it is complete, aside and then
renamed. A kill loses at most the parts under way, and what is drawn again is the same, since every completion has a
seed of its own.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from analysis.errors import InputError
from analysis.records import SAMPLE_COLUMNS, conform
from explore_rl.cluster import placement
from explore_rl.config.schema import LEAST_TEMPERATURE, Config, DevicesConfig, ModelConfig, RolloutConfig
from explore_rl.models import load_tokenizer, model_identity, resolve_model
from explore_rl.parts import Parts
from explore_rl.problems import load_problems, load_template
from explore_rl.problems.template_checks import check_lengths
from explore_rl.problems.templates import template_hash
from explore_rl.rollout.engines import Engines
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.types import Problem, Request, Rollout, Status, Verdict
from explore_rl.verifiers.pool import Item, VerifierPool

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SamplingSettings:
    """What decides the samples. Two files whose settings are equal hold the same draws.

    model: checkpoint folder or "lab:base".
    problems: file or spec.
    n: completions a problem.
    temperature: 0: greedy.
    top_p: nucleus mass, above 0.
    max_tokens: response budget.
    seed: every completion's own seed is a hash of it, the model's identity, the problem and the index of the draw, so
        that two models are drawn from independently. The records' column `seed` holds the seed given here.
    template: the prompt's template, by name.
    stop: strings that end a completion.
    dtype: of the weights.
    format: the problem file's form, where its name does not tell.
    limit: problems that are taken of the file; None: all.
    verifier_options: verifier name -> its options.
    part: completions of a part.
    """

    model: str
    problems: str
    n: int
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 1024
    seed: int = 0
    template: str = "none"
    stop: tuple[str, ...] = ()
    dtype: str = "float32"
    format: str | None = None
    limit: int | None = None
    verifier_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    part: int = 4096

    def __post_init__(self) -> None:
        for name in ("n", "max_tokens", "part"):
            at_least_1(name, getattr(self, name))
        if not 0 <= self.temperature < math.inf:
            raise InputError(f"--temperature={self.temperature}: expected at least 0 (0: greedy)")
        if 0 < self.temperature < LEAST_TEMPERATURE:
            raise InputError(
                f"--temperature={self.temperature}: expected 0 (greedy) or at least {LEAST_TEMPERATURE}, at which vLLM"
                " draws where less is asked for"
            )
        if not 0 < self.top_p <= 1:
            raise InputError(f"--top-p={self.top_p}: expected above 0 and at most 1")

    def digest(self) -> str:
        """8 hex digits of everything that decides the samples.

        The model counts by its identity and not by its place; the size of parts does not count.
        """
        decides = {k: v for k, v in asdict(self).items() if k not in ("model", "part")}
        decides["model"] = model_identity(resolve_model(self.model))
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:8]


def at_least_1(name: str, value: float) -> None:
    """Raises InputError for a value below 1 of the option `name`."""
    if value < 1:
        raise InputError(f"--{name.replace('_', '-')}={value}: expected at least 1")


def engine_config(
    settings: SamplingSettings, *, actors: int, tensor_parallel: int, stall_timeout_s: float, **devices: Any
) -> Config:
    """A config with engines alone, no learner.

    settings: what is sampled, and how.
    actors: engines.
    tensor_parallel: GPUs of an engine.
    stall_timeout_s: after which an engine without progress is stuck; a pass over long prompts shows none.
    devices: `device` and `ray_address`, as in `devices`.
    """
    config = Config(name="sample", seed=settings.seed)
    config.model = ModelConfig(path=settings.model, dtype=settings.dtype, template=settings.template)
    config.devices = DevicesConfig(stall_timeout_s=stall_timeout_s, **devices)
    config.rollout = RolloutConfig(
        actors=actors,
        tensor_parallel=tensor_parallel,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_new_tokens=settings.max_tokens,
        stop=list(settings.stop),
    )
    config.learner.ranks = 0
    return config


@contextmanager
def engines(
    settings: SamplingSettings,
    *,
    actors: int = 1,
    tensor_parallel: int = 1,
    device: str = "auto",
    ray_address: str = "local",
    stall_timeout_s: float = DevicesConfig.stall_timeout_s,
) -> Iterator[Engines]:
    """Engines that hold the settings' model, for as long as the block lasts.

    settings: what is sampled, and how.
    actors, tensor_parallel, stall_timeout_s: as in `engine_config`.
    device, ray_address: as in `devices`.
    """
    config = engine_config(
        settings,
        actors=actors,
        tensor_parallel=tensor_parallel,
        stall_timeout_s=stall_timeout_s,
        device=device,
        ray_address=ray_address,
    )
    layout = placement.start(config, 0)
    try:
        group = Engines(config, layout, needs_base=False, load_format="auto")
        yield group
        group.close()
    finally:
        layout.close()


@dataclass(frozen=True)
class _Draws:
    """All draws of a file, by position: `settings.n` for the first problem, then those for the second, and so on.

    settings: what is sampled, and how.
    problems: all of them.
    prompts: token ids of each problem's prompt.
    identity: the model's.
    template: the prompt template's hash.
    """

    settings: SamplingSettings
    problems: list[Problem]
    prompts: list[np.ndarray]
    identity: str
    template: str

    def request(self, position: int) -> Request:
        index, draw = divmod(position, self.settings.n)
        problem = self.problems[index]
        return Request(
            problem=problem.id,
            group=index,
            prompt_ids=self.prompts[index],
            seed=hashed_seed(self.settings.seed, "sample", self.identity, problem.benchmark, problem.id, draw),
            max_tokens=self.settings.max_tokens,
            temperature=self.settings.temperature,
            top_p=self.settings.top_p,
        )

    def row(self, position: int, rollout: Rollout, *, verdict: Verdict) -> dict[str, Any]:
        """The record of a draw: analysis.records.SAMPLE_COLUMNS, and ROW_SCHEMA_EXTRA."""
        index, draw = divmod(position, self.settings.n)
        no_evidence = verdict.status in (Status.TIMEOUT, Status.ERROR)
        logprobs = rollout.logprobs
        return {
            "problem_id": self.problems[index].id,
            "correct": None if no_evidence else verdict.status is Status.CORRECT,
            "benchmark": self.problems[index].benchmark,
            "sample": draw,
            "answer": verdict.answer,
            "mode": verdict.mode,
            "verdict": verdict.status.value,
            "completion": rollout.text,
            "logprob": None if logprobs is None else float(logprobs.sum(dtype="float64")),
            "num_tokens": len(rollout.tokens),
            "model": self.identity,
            "temperature": self.settings.temperature,
            "top_p": self.settings.top_p,
            "max_tokens": self.settings.max_tokens,
            "template": self.template,
            "finish_reason": rollout.finish_reason,
            "seed": self.settings.seed,
            "tokens": rollout.tokens.tolist(),
            "reason": verdict.reason,
        }


def sample(
    settings: SamplingSettings, out: Path, *, drawing: AbstractContextManager[Engines], pool: VerifierPool
) -> dict[str, int]:
    """Draws what is missing of `settings` into `out` (Parquet). Returns counts by verdict.

    Raises InputError, ActorFault.

    settings: what is sampled, and how.
    out: must not be there yet; its parts may.
    drawing: gives the engines that hold the model (`engines`, or ones that a training run keeps up). It is entered only
        if something is missing.
    pool: verifies what was drawn.
    """
    # What is to be drawn.
    tokenizer = load_tokenizer(settings.model)
    template = load_template(settings.template)
    problems = load_problems(settings.problems, format=settings.format, limit=settings.limit)
    check_lengths(problems, template, tokenizer=tokenizer, max_prompt_tokens=1 << 30)
    draws = _Draws(
        settings,
        problems,
        prompts=[np.array(template.encode(p, tokenizer), dtype=np.int32) for p in problems],
        identity=model_identity(resolve_model(settings.model)),
        template=template_hash(template, tokenizer),
    )
    # What of it is missing.
    parts = Parts(out, asdict(settings) | {"model": draws.identity})
    total = len(problems) * settings.n
    spans = [range(start, min(start + settings.part, total)) for start in range(0, total, settings.part)]
    missing = parts.missing(len(spans))
    # Part by part: draw, verify, write.
    if missing:
        done = total - sum(len(spans[i]) for i in missing)
        with (
            drawing as group,
            tqdm(total=total, initial=done, desc=f"sampling {out.stem}", unit="completion", dynamic_ncols=True) as bar,
        ):
            for i in missing:
                drawn = group.generate([draws.request(position) for position in spans[i]])
                verdicts = pool.verify_all([Item(problems[r.request.group], r.text, r.truncated) for r in drawn])
                rows = [
                    draws.row(position, rollout, verdict=verdict)
                    for position, rollout, verdict in zip(spans[i], drawn, verdicts, strict=True)
                ]
                parts.write(i, _table(rows))
                bar.update(len(rows))
    return _merge(parts, len(spans))


# --- parts on disk ----------------------------------------------------------------------------------------------------


ROW_SCHEMA_EXTRA = {"tokens": pa.list_(pa.int32()), "reason": pa.string()}


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    kinds = {**{name: kind for name, (kind, _) in SAMPLE_COLUMNS.items()}, **ROW_SCHEMA_EXTRA}
    table = pa.table({name: pa.array([row[name] for row in rows], type=kinds[name]) for name in rows[0]})
    return conform(table, SAMPLE_COLUMNS)


def _merge(parts: Parts, count: int) -> dict[str, int]:
    """Puts `count` parts into one file, one in memory at a time. Returns counts by verdict.

    The parts are removed when the file is there.
    """
    aside = parts.out.with_name(parts.out.name + ".tmp")
    verdicts: dict[str, int] = {}
    writer: Any = None
    for table in parts.tables(count):
        writer = writer or pq.ParquetWriter(aside, table.schema, compression="zstd")
        writer.write_table(table)
        for verdict in table["verdict"].to_pylist():
            verdicts[verdict] = verdicts.get(verdict, 0) + 1
    writer.close()
    aside.replace(parts.out)
    parts.remove()
    return verdicts
