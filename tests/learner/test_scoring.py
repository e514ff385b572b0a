"""Scoring without ranks: a table of logits reads in their place (with ranks: tests/rollout/test_sampling.py)."""

from contextlib import contextmanager, nullcontext

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.learner.messages import LearnerNeeds
from explore_rl.learner.scoring import ScoringSettings, score
from explore_rl.models import load_tokenizer
from explore_rl.problems import load_problems, load_template
from explore_rl.testing import LogitTable, TableLearner

PROBLEMS = "lab:countdown?level=3&split=audit&size=6"


def table():
    table = LogitTable.by_last_token(len(load_tokenizer("lab:base")))
    table.logits[:] = np.random.default_rng(0).normal(size=table.logits.shape)
    return table


@pytest.fixture(scope="module")
def learner():
    return TableLearner(Config(), table(), needs=LearnerNeeds(base=True))


def samples(tmp_path):
    texts = ["1+2", "", "3*4-5", "9", "2*2+1", "7-1"]
    rows = {
        "problem_id": [problem.id for problem in load_problems(PROBLEMS)],
        "completion": texts,
        "tokens": [load_tokenizer("lab:base").encode(text) for text in texts],
        "temperature": [1.0, 0.5, 0.5, 2.0, 1.0, 1.0],
        "top_p": [1.0, 1.0, 0.6, 1.0, 0.9, None],
        "finish_reason": ["length"] * 6,
    }
    pq.write_table(pa.table(rows), tmp_path / "samples.parquet")
    return tmp_path / "samples.parquet", rows


def settings(path, **changes):
    fields = {"model": "lab:base", "problems": PROBLEMS, "samples": path, "at": "own", "part": 2}
    return ScoringSettings(**(fields | changes))


def by_hand(before, tokens, temperature, top_p):
    """Log-probability and mean entropy of tokens that follow the token `before`."""
    total, entropies = 0.0, []
    for row, token in zip([before, *tokens], tokens, strict=False):
        p = np.exp(table().logits[row] / temperature)
        p /= p.sum()
        entropies.append(-(p * np.log(p)).sum())
        order = np.argsort(-p)
        kept = order[: int((p[order].cumsum() < top_p).sum()) + 1]
        total += np.log(p[token] / p[kept].sum()) if token in kept else -np.inf
    return total, np.mean(entropies) if entropies else None


def test_a_record_is_what_the_model_says_at_the_samples_own_settings(learner, tmp_path):
    path, rows = samples(tmp_path)
    figures = score(settings(path), tmp_path / "out.parquet", reading=nullcontext(learner))
    records = pq.read_table(tmp_path / "out.parquet").to_pylist()
    prompt = load_template("none").encode(load_problems(PROBLEMS)[0], load_tokenizer("lab:base"))
    cut_off = 0
    for i, record in enumerate(records):
        logprob, entropy = by_hand(prompt[-1], rows["tokens"][i], rows["temperature"][i], rows["top_p"][i] or 1.0)
        cut_off += not np.isfinite(logprob)
        assert record["logprob"] == (pytest.approx(logprob, rel=1e-5) if np.isfinite(logprob) else None)
        assert record["token_entropy"] == (entropy if entropy is None else pytest.approx(entropy, rel=1e-5))
        assert record["num_tokens"] == len(rows["tokens"][i]) and record["problem_id"] == rows["problem_id"][i]
        has_one = record["logprob"] is not None and record["num_tokens"] > 0
        assert (record["perplexity"] is not None) == has_one
    assert 0 < cut_off < 3 and figures["texts"] == 6
    assert figures["logprob"] == pytest.approx(np.mean([r["logprob"] for r in records if r["logprob"] is not None]))


def test_a_killed_scoring_goes_on_where_it_was(learner, tmp_path):
    path, _ = samples(tmp_path)
    asked = []

    @contextmanager
    def dies_after(parts):
        class Dying:
            def read(self, sequences, readouts, *, model):
                asked.append(len(sequences))
                if parts is not None and len(asked) > parts:
                    raise KeyboardInterrupt
                return learner.read(sequences, readouts, model=model)

        yield Dying()

    score(settings(path, at="raw"), tmp_path / "whole.parquet", reading=dies_after(None))
    assert asked == [1, 2, 2]  # an empty text is not asked for
    broken = tmp_path / "broken.parquet"
    asked.clear()
    with pytest.raises(KeyboardInterrupt):
        score(settings(path, at="raw"), broken, reading=dies_after(2))
    assert not broken.exists()
    with pytest.raises(InputError, match="made with another at"):
        score(settings(path), broken, reading=dies_after(None))
    asked.clear()
    score(settings(path, at="raw"), broken, reading=dies_after(None))
    assert asked == [2]
    assert pq.read_table(broken).equals(pq.read_table(tmp_path / "whole.parquet"))
    assert not broken.with_name("broken.parquet.parts").exists()
    with pytest.raises(InputError, match="is there already"):
        score(settings(path, at="raw"), broken, reading=dies_after(None))


def test_traces_are_scored_with_their_end_token(learner, tmp_path):
    traced = "lab:countdown?level=3&split=train&size=6"
    score(settings(None, part=7, problems=traced), tmp_path / "out.parquet", reading=nullcontext(learner))
    records = pq.read_table(tmp_path / "out.parquet").to_pylist()
    traces = [trace for problem in load_problems(traced) for trace in problem.traces]
    assert [r["completion"] for r in records] == [trace.text for trace in traces]
    assert [r["num_tokens"] for r in records] == [len(trace.text) + 1 for trace in traces]
    assert {r["temperature"] for r in records} == {1.0}
