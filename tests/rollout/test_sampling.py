"""Sampling and scoring on the real engine: no sample is lost or doubled on resuming, and log-probabilities agree."""

from contextlib import contextmanager

import numpy as np
import pyarrow.parquet as pq
import pytest

from analysis.errors import InputError
from explore_rl.config.loading import load_config
from explore_rl.learner.messages import POLICY_ALONE

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600)]
PROBLEMS = "lab:countdown?level=3&split=audit&size=6"


@pytest.fixture(scope="module")
def engines(actors, small_settings):
    """The shared engines with the base model's weights."""
    actors.reset(load_config("configs/lab/grpo.yaml", small_settings), POLICY_ALONE)
    actors.weights.send(0)
    return actors.engines


def settings(**changes):
    from explore_rl.rollout.sampling import SamplingSettings

    return SamplingSettings(
        **{"model": "lab:base", "problems": PROBLEMS, "n": 20, "max_tokens": 24, "part": 32} | changes
    )


@contextmanager
def dies_after(group, parts):
    """The engines, until they have drawn so many parts."""

    class Dying:
        left = parts

        def generate(self, requests):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return group.generate(requests)

    yield Dying()


@contextmanager
def alive(group):
    yield group


def test_a_killed_sampling_goes_on_with_no_sample_lost_or_doubled(engines, actors, tmp_path):
    from explore_rl.rollout.sampling import sample

    whole, broken = tmp_path / "whole.parquet", tmp_path / "broken.parquet"
    counts = sample(settings(), whole, drawing=alive(engines), pool=actors.verifiers)
    assert sum(counts.values()) == 120 and counts["correct"] > 0
    with pytest.raises(KeyboardInterrupt):
        sample(settings(), broken, drawing=dies_after(engines, 2), pool=actors.verifiers)
    assert not broken.exists()
    with pytest.raises(InputError, match="made with another seed"):
        sample(settings(seed=1), broken, drawing=alive(engines), pool=actors.verifiers)
    sample(settings(), broken, drawing=alive(engines), pool=actors.verifiers)
    a, b = pq.read_table(whole).to_pydict(), pq.read_table(broken).to_pydict()
    assert a == b
    assert len({(p, s) for p, s in zip(b["problem_id"], b["sample"], strict=True)}) == 120
    assert not broken.with_name("broken.parquet.parts").exists()
    with pytest.raises(InputError, match="is there already"):
        sample(settings(), whole, drawing=alive(engines), pool=actors.verifiers)


def test_another_seed_draws_others(engines, actors, tmp_path):
    from explore_rl.rollout.sampling import sample

    for seed in (0, 1):
        sample(settings(seed=seed), tmp_path / f"{seed}.parquet", drawing=alive(engines), pool=actors.verifiers)
    a, b = (pq.read_table(tmp_path / f"{seed}.parquet")["completion"].to_pylist() for seed in (0, 1))
    assert np.mean([x == y for x, y in zip(a, b, strict=True)]) < 0.9


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (1.5, 1.0), (0.8, 0.9)])
def test_scores_at_the_samples_own_settings_are_the_engines_log_probabilities(
    engines, actors, tmp_path, temperature, top_p
):
    from explore_rl.learner.messages import LearnerNeeds
    from explore_rl.learner.scoring import ScoringSettings, score
    from explore_rl.rollout.sampling import sample

    drawn = tmp_path / "drawn.parquet"
    sample(settings(temperature=temperature, top_p=top_p, n=8), drawn, drawing=alive(engines), pool=actors.verifiers)

    def scored(at):
        actors.learner.reset(actors.config, LearnerNeeds(policy=False, base=True))
        what = ScoringSettings("lab:base", PROBLEMS, drawn, at)
        score(what, tmp_path / f"{at}.parquet", reading=alive(actors.learner))
        return pq.read_table(tmp_path / f"{at}.parquet").to_pylist()

    own = scored("own")
    engine = pq.read_table(drawn)["logprob"].to_pylist()
    assert [r["logprob"] for r in own] == pytest.approx(engine, abs=2e-4)
    assert {(r["temperature"], r["top_p"]) for r in own} == {(temperature, top_p)}
    raw = scored("raw")
    if (temperature, top_p) != (1.0, 1.0):
        assert np.abs(np.array([r["logprob"] for r in raw]) - engine).max() > 1e-2
    for record in raw:
        assert record["perplexity"] == pytest.approx(np.exp(-record["logprob"] / record["num_tokens"]))


def test_the_audit_reads_what_sampling_wrote(engines, actors, tmp_path):
    from analysis import readers
    from explore_rl.rollout.sampling import sample

    sample(settings(), tmp_path / "s.parquet", drawing=alive(engines), pool=actors.verifiers)
    samples = readers.load([str(tmp_path / "s.parquet")])
    assert samples.n.tolist() == [20] * 6 and samples.settings["max_tokens"] == [24]
