"""Teacher-forced log-probability, entropy and perplexity of given texts under any model, as `analysis` reads them.

They are raw (temperature 1, top-p 1) or under each sample's own temperature and top-p; the records say which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from analysis.errors import InputError
from analysis.records import SCORE_COLUMNS, conform, write_scores
from explore_rl.cluster import placement
from explore_rl.config.schema import Config, DevicesConfig, LearnerConfig, ModelConfig
from explore_rl.learner.learner import Learner
from explore_rl.learner.messages import LearnerNeeds
from explore_rl.models import load_tokenizer, model_identity, resolve_model
from explore_rl.objectives.readouts import Readout, entropy, logprob, nucleus_logprob
from explore_rl.parts import Parts
from explore_rl.problems import load_problems, load_template
from explore_rl.problems.templates import template_hash
from explore_rl.types import Problem


@dataclass
class Text:
    """One text to score.

    problem_id: what it answers.
    prompt, tokens: token ids of the prompt and of the completion.
    temperature, top_p: what its log-probability is taken at.
    kept: columns that go into the record as they are.
    """

    problem_id: str
    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    temperature: float
    top_p: float
    kept: dict[str, Any]

    def __len__(self) -> int:
        """Tokens, the prompt's included."""
        return len(self.prompt) + len(self.tokens)


# Columns of samples that go into the records.
KEPT = ("benchmark", "sample", "answer", "mode", "correct", "completion", "finish_reason", "max_tokens")


def from_samples(path: Path, problems: list[Problem], *, template: Any, tokenizer: Any, settings: str) -> list[Text]:
    """The texts of a samples file.

    A row's own tokens are taken where it has them. Else its completion is encoded, with the end token if it stopped by
    itself. Raises InputError, also for samples drawn with another template.

    path: the samples file's.
    problems: those that its rows name.
    template: the prompt template, which also encodes completions.
    tokenizer: that of the model that scores.
    settings: "raw", or "own" for each row's temperature and top_p.
    """
    known = {p.id: p for p in problems}
    used = template_hash(template, tokenizer)
    texts = []
    for number, row in enumerate(_read_samples(path), start=1):
        # What is scored has to be what was drawn: the same problem under the same template.
        where = f"{path}: row {number}"
        problem = known.get(row["problem_id"])
        if problem is None:
            raise InputError(f"{where}: problem_id {row['problem_id']!r} is not in the problem file")
        if row.get("template") not in (None, used, template.name):
            raise InputError(
                f"{where}: was drawn with template {row['template']}, and {template.name} is {used}; "
                "give --template as it was drawn"
            )
        # Tokens as they were drawn; encoding can only guess how the text was cut into tokens.
        tokens = row.get("tokens")
        if tokens is None:
            if row.get("completion") is None:
                raise InputError(f"{where}: neither tokens nor completion; one of them is needed to score")
            tokens = template.encode_completion(row["completion"], tokenizer)
            tokens = tokens[:-1] if row.get("finish_reason") == "length" else tokens
        temperature, top_p = _own_settings(row, where) if settings == "own" else (1.0, 1.0)
        kept = {name: row.get(name) for name in KEPT} | {"written_by": row.get("model"), "template": used}
        texts.append(
            Text(problem.id, tuple(template.encode(problem, tokenizer)), tuple(tokens), temperature, top_p, kept)
        )
    return texts


def _read_samples(path: Path) -> list[dict[str, Any]]:
    """The rows of a samples file. Raises InputError if it is none, or is empty."""
    if not path.is_file():
        raise InputError(f"--samples {path}: no such file")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"--samples {path}: expected a Parquet file as explore-rl sample writes it: {' '.join(str(error).split())}"
        ) from None
    if "problem_id" not in table.column_names:
        raise InputError(f"--samples {path}: no column problem_id; it has {', '.join(table.column_names) or 'none'}")
    if not table.num_rows:
        raise InputError(f"--samples {path}: holds no rows")
    return table.to_pylist()


def _own_settings(row: dict[str, Any], where: str) -> tuple[float, float]:
    """The temperature and top_p that a row was drawn at. Raises InputError, which begins with `where`."""
    temperature = row.get("temperature")
    top_p = row.get("top_p")
    if temperature is None:
        raise InputError(f"{where}: no temperature; score it with --at raw")
    if not temperature > 0:
        raise InputError(
            f"{where}: temperature {temperature:g}: a greedy text has no log-probability at its own temperature; "
            "score it with --at raw"
        )
    if top_p is not None and not 0 < top_p <= 1:
        raise InputError(f"{where}: top_p {top_p:g}: expected above 0 and at most 1")
    return temperature, 1.0 if top_p is None else top_p


def from_traces(problems: list[Problem], *, template: Any, tokenizer: Any) -> list[Text]:
    """The texts of the traces that the problems carry, with their end tokens, at temperature 1.

    Raises InputError if none carries any.
    """
    texts = []
    used = template_hash(template, tokenizer)
    for problem in problems:
        # A trace takes the place of a sample; whoever wrote it stands in `written_by`.
        prompt = tuple(template.encode(problem, tokenizer))
        for index, trace in enumerate(problem.traces):
            tokens = tuple(template.encode_completion(trace.text, tokenizer))
            kept = {
                "benchmark": problem.benchmark,
                "sample": index,
                "completion": trace.text,
                "written_by": trace.source,
                "region": trace.region,
                "template": used,
            }
            texts.append(Text(problem.id, prompt, tokens, temperature=1.0, top_p=1.0, kept=kept))
    if not texts:
        raise InputError("none of the problems carries a trace; give --samples, or problems with traces")
    return texts


# --- scoring ----------------------------------------------------------------------------------------------------------


class Reader(Protocol):
    """What scoring uses of a learner."""

    def read(
        self, sequences: list[tuple[np.ndarray, int]], readouts: tuple[Readout, ...], *, model: str
    ) -> list[tuple[np.ndarray, ...]]: ...


@dataclass(frozen=True)
class ScoringSettings:
    """What is scored.

    model: a checkpoint folder, or a model by name.
    problems: a file or a spec.
    samples: a samples file; None: the traces of the problems are scored.
    at: "raw", or "own" for each sample's own temperature and top_p.
    template: the prompts'.
    dtype: the model's.
    part: texts that are written at a time.
    """

    model: str
    problems: str
    samples: Path | None = None
    at: str = "raw"
    template: str = "none"
    dtype: str = "float32"
    part: int = 256


@contextmanager
def reader(
    settings: ScoringSettings,
    *,
    ranks: int = 1,
    zero_stage: int = 0,
    micro_batch_tokens: int = 8192,
    device: str = "auto",
    ray_address: str = "local",
) -> Iterator[Learner]:
    """Learner ranks that hold the settings' model without an optimizer, as long as the block lasts.

    settings: what is scored, and under which model.
    ranks, zero_stage, micro_batch_tokens: as in `learner`; at stage 3 the ranks share the model's weights.
    device, ray_address: as in `devices`.
    """
    config = Config(name="score")
    config.model = ModelConfig(path=settings.model, dtype=settings.dtype)
    config.devices = DevicesConfig(device=device, ray_address=ray_address)
    config.learner = LearnerConfig(ranks=ranks, zero_stage=zero_stage, micro_batch_tokens=micro_batch_tokens)
    config.rollout.actors = 0
    layout = placement.start(config, 0)
    try:
        learner = Learner(config, layout, needs=LearnerNeeds(policy=False, base=True))
        yield learner
        learner.close()
    finally:
        layout.close()


def score(settings: ScoringSettings, out: Path, *, reading: AbstractContextManager[Reader]) -> dict[str, Any]:
    """Scores what is missing of `settings` into `out`, a record a text (analysis.records.SCORE_COLUMNS), in order.

    A record holds logprob (nats, of the whole text), the mean entropy of its tokens, and perplexity, exp(-logprob /
    tokens) (arXiv 2504.13837). A token that top-p cuts off makes the text's log-probability null, and perplexity with
    it. Returns the number of texts, the model's identity, and the figures that a person looks at first. Raises
    InputError, ActorFault.

    settings: what is scored.
    out: must not be there yet; its parts may.
    reading: gives the learner that reads the model as "base". It is entered only if something is missing.
    """
    tokenizer = load_tokenizer(settings.model)
    template = load_template(settings.template)
    problems = load_problems(settings.problems)
    if settings.samples:
        texts = from_samples(settings.samples, problems, template=template, tokenizer=tokenizer, settings=settings.at)
    else:
        texts = from_traces(problems, template=template, tokenizer=tokenizer)
    # Parts of another model, of other settings or other texts are refused; those that fit are not scored again.
    identity = model_identity(resolve_model(settings.model))
    decides = {"model": identity, "at": settings.at, "dtype": settings.dtype, "part": settings.part}
    parts = Parts(out, decides | {"content of the texts": _hash_of(texts)})
    spans = [texts[start : start + settings.part] for start in range(0, len(texts), settings.part)]
    missing = parts.missing(len(spans))
    if missing:
        done = len(texts) - sum(len(spans[i]) for i in missing)
        with (
            reading as learner,
            tqdm(total=len(texts), initial=done, desc="scoring", unit="text", dynamic_ncols=True) as bar,
        ):
            for i in missing:
                records = [
                    _record(text, values, identity=identity)
                    for text, values in zip(spans[i], _read(learner, spans[i]), strict=True)
                ]
                parts.write(i, conform(_table(records), SCORE_COLUMNS))
                bar.update(len(records))
    # Only now is there a file under the name that was asked for.
    whole = pa.concat_tables(parts.tables(len(spans)), promote_options="permissive")
    write_scores(out, whole)
    parts.remove()
    figures = {name: whole[name].drop_null().to_numpy() for name in ("logprob", "perplexity")}
    return {
        "texts": len(texts),
        "model": identity,
        "logprob": float(figures["logprob"].mean()) if len(figures["logprob"]) else None,
        "perplexity": float(np.median(figures["perplexity"])) if len(figures["perplexity"]) else None,
    }


def _read(learner: Reader, texts: list[Text]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Log-probability and entropy of each text's tokens, [T] each, at the text's own settings."""
    nothing = np.empty(0, dtype=np.float32)
    found: list[tuple[np.ndarray, np.ndarray]] = [(nothing, nothing)] * len(texts)
    by_settings: dict[tuple[float, float], list[int]] = {}
    for i, text in enumerate(texts):
        if text.tokens:  # an empty text has probability 1
            by_settings.setdefault((text.temperature, text.top_p), []).append(i)
    for (temperature, top_p), places in by_settings.items():
        chosen = logprob(temperature) if top_p == 1 else nucleus_logprob(temperature, top_p)
        sequences = [
            (np.array(texts[i].prompt + texts[i].tokens, dtype=np.int32), len(texts[i].prompt)) for i in places
        ]
        for i, values in zip(
            places, learner.read(sequences, (chosen, entropy(temperature)), model="base"), strict=True
        ):
            found[i] = values[0], values[1]
    return found


def _record(text: Text, values: tuple[np.ndarray, np.ndarray], *, identity: str) -> dict[str, Any]:
    """A text's record. values: as `_read` gives them. identity: the model's."""
    logprobs, entropies = (value.astype(np.float64) for value in values)
    total = float(logprobs.sum())
    possible = bool(np.isfinite(total))
    tokens = len(logprobs)
    return {
        "problem_id": text.problem_id,
        "model": identity,
        "logprob": total if possible else None,
        "num_tokens": tokens,
        "perplexity": float(np.exp(-total / tokens)) if possible and tokens else None,
        "token_entropy": float(entropies.mean()) if tokens else None,
        "temperature": text.temperature,
        "top_p": text.top_p,
        "sequence": hashlib.sha256(np.array(text.tokens, dtype=np.int64).tobytes()).hexdigest()[:16],
        **text.kept,
    }


EXTRA_COLUMNS = {
    "perplexity": pa.float64(),
    "finish_reason": pa.string(),
    "max_tokens": pa.int64(),
    "template": pa.string(),
    "region": pa.string(),
}


def _table(records: list[dict[str, Any]]) -> pa.Table:
    kinds = {name: kind for name, (kind, _) in SCORE_COLUMNS.items()} | EXTRA_COLUMNS
    return pa.table({name: pa.array([r[name] for r in records], type=kinds[name]) for name in records[0]})


def _hash_of(texts: list[Text]) -> str:
    """16 hex digits of the texts and what they are scored at."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(repr((text.problem_id, text.prompt, text.tokens, text.temperature, text.top_p)).encode())
    return digest.hexdigest()[:16]
