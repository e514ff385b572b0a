"""Teacher-forced log-probability, entropy and perplexity of given texts under any model, as `analysis` reads them.

They are raw (temperature 1, top-p 1) or under each sample's own temperature and top-p; the records say which.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm
from transformers import AutoModelForCausalLM

from analysis.errors import InputError
from analysis.records import write_scores
from explore_rl.models import load_tokenizer, model_identity, resolve_model
from explore_rl.objectives.readouts import nucleus_logprob
from explore_rl.problems import load_problems, load_template
from explore_rl.problems.templates import template_hash
from explore_rl.types import Problem

log = logging.getLogger(__name__)


@dataclass
class Text:
    """One text to score.

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

    path: of the samples file.
    problems: those that its rows name.
    template: the prompt template, which also encodes completions.
    tokenizer: of the model that scores.
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


@torch.inference_mode()
def score(
    model_path: str, texts: list[Text], *, dtype: str, device: str, tokens_per_batch: int = 8192
) -> list[dict[str, Any]]:
    """One record a text (analysis.records.SCORE_COLUMNS), in order.

    It holds logprob (nats, of the whole text), the mean entropy of its tokens, and perplexity, exp(-logprob / tokens)
    (arXiv 2504.13837). Log-probabilities are taken in float64 from the logits at completion positions. A token that
    top-p cuts off makes the text's log-probability null in the record, and perplexity with it.

    model_path: a checkpoint folder, or a model by name.
    texts: to score.
    dtype, device: of the model.
    tokens_per_batch: with padding.
    """
    folder = resolve_model(model_path)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    model = model.to(device)
    identity = model_identity(folder)
    records: list[dict[str, Any]] = [{} for _ in texts]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    with tqdm(total=len(texts), desc="scoring", unit="text", dynamic_ncols=True) as bar:
        for batch in _batches(order, texts, tokens_per_batch=tokens_per_batch):
            # Padded on the right, which causal attention does not see.
            ids = torch.zeros((len(batch), max(len(texts[i]) for i in batch)), dtype=torch.long)
            for row, i in enumerate(batch):
                ids[row, : len(texts[i])] = torch.tensor(texts[i].prompt + texts[i].tokens)
            logits = model(ids.to(device), use_cache=False).logits
            # The logits before each of the completion's tokens predict it.
            for row, i in enumerate(batch):
                begin = len(texts[i].prompt)
                end = len(texts[i])
                predicting = logits[row, begin - 1 : end - 1].double().cpu()
                records[i] = _record(texts[i], predicting, tokens=ids[row, begin:end], identity=identity)
            bar.update(len(batch))
    return records


def _record(text: Text, logits: torch.Tensor, *, tokens: torch.Tensor, identity: str) -> dict[str, Any]:
    """A text's record.

    text: what was scored.
    logits: [T, V], those that predict its tokens.
    tokens: [T].
    identity: the model's.
    """
    # An empty text has probability 1, and no tokens to take a mean over.
    logprob = 0.0
    entropy = None
    if len(tokens):
        readout = nucleus_logprob(text.temperature, text.top_p)
        logprobs = readout.of(torch.log_softmax(logits, dim=-1), tokens)
        logprob = float(logprobs.sum())
        distribution = torch.log_softmax(logits / text.temperature, dim=-1)
        entropy = float(-(distribution.exp() * distribution).sum(-1).mean())
    possible = np.isfinite(logprob)
    return {
        "problem_id": text.problem_id,
        "model": identity,
        "logprob": logprob if possible else None,
        "num_tokens": len(tokens),
        "perplexity": float(np.exp(-logprob / len(tokens))) if possible and len(tokens) else None,
        "token_entropy": entropy,
        "temperature": text.temperature,
        "top_p": text.top_p,
        "sequence": hashlib.sha256(np.array(text.tokens, dtype=np.int64).tobytes()).hexdigest()[:16],
        **text.kept,
    }


def _batches(order: list[int], texts: list[Text], *, tokens_per_batch: int) -> Iterator[list[int]]:
    """`order` (indices of texts, short to long) cut into batches of at most tokens_per_batch tokens with padding."""
    batch: list[int] = []
    for i in order:
        if batch and (len(batch) + 1) * len(texts[i]) > tokens_per_batch:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def run(
    model: str,
    samples: Path | None,
    problems_path: str,
    at: str,
    template_name: str,
    out: Path,
    dtype: str,
    device: str,
) -> list[dict[str, Any]]:
    """Reads, scores and writes; returns the records. Raises InputError.

    model: a checkpoint folder, or a model by name.
    samples: a samples file; None: the traces of the problems are scored.
    problems_path: a file or a spec.
    at: "raw", or "own" for each sample's own temperature and top_p.
    template_name: of the prompt template.
    out: the Parquet file to write.
    dtype, device: of the model.
    """
    tokenizer = load_tokenizer(model)
    template = load_template(template_name)
    problems = load_problems(problems_path)
    if samples:
        texts = from_samples(samples, problems, template=template, tokenizer=tokenizer, settings=at)
    else:
        texts = from_traces(problems, template=template, tokenizer=tokenizer)
    records = score(model, texts, dtype=dtype, device=device)
    write_scores(out, records)
    return records
