"""What tests of several files share: one start of the real actors for the whole session."""

import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "scripts"))  # what a script and a test share
sys.path.insert(0, str(REPOSITORY / "tests" / "kits"))  # what tests of several files share: tests are not packages
SMALL = [
    "problems.train=lab:countdown?level=3&split=train&size=24", "problems.heldout=lab:countdown?level=3&split=heldout&size=8",
    "run.exact_problems=lab:countdown?level=3&split=audit&size=20", "algorithm.prompts_per_step=4", "algorithm.group_size=4",
    "run.steps=4", "run.checkpoint_every=2", "run.evaluate_every=0", "run.exact_every=0", "verifiers.workers=1", "devices.stall_timeout_s=60",
]  # fmt: skip


@pytest.fixture(scope="session")
def small_settings():
    """Overrides that make a laboratory recipe a few seconds long."""
    return SMALL


@pytest.fixture(scope="session")
def actors():
    """Ray, a DeepSpeed rank with the frozen base beside it, a policy engine and a base engine: started once, used by all."""
    from explore_rl.config.loading import load_config
    from explore_rl.training.actors import Actors

    with Actors(
        load_config(REPOSITORY / "configs" / "lab" / "grpo.yaml", SMALL), base_engine=True, base_model=True
    ) as started:
        yield started


@pytest.fixture(scope="session")
def disturb():
    import engine_kit
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(engine_kit)  # ranks, which run it, do not find it by name
    return engine_kit.disturb


def pytest_collection_modifyitems(items):
    """Tests that share the actors go last: a process has one Ray cluster at a time, and other tests start their own."""
    items.sort(key=lambda item: "actors" in getattr(item, "fixturenames", ()))
