"""Runs of the whole loop on the session's actors."""

import pytest


@pytest.fixture(scope="session")
def run(actors):
    from explore_rl.experiments.runs import run as run_once

    return lambda config, **options: run_once(config, **({"actors": actors} | options))


@pytest.fixture(scope="session")
def plain(run, tmp_path_factory):
    """Four steps of GRPO, evaluated and audited on the way: what the other tests compare with."""
    from small_runs import small

    return run(
        small(
            tmp_path_factory.mktemp("plain"),
            "plain",
            "run.evaluate_every=2",
            "run.evaluate_samples=4",
            "run.exact_every=2",
        )
    )
