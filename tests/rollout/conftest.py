import sys
from pathlib import Path

import pytest
from ray import cloudpickle

sys.path.insert(0, str(Path(__file__).parent))  # tests are not packages; engine_kit is what they share
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))  # rehearse_gpu_layout


@pytest.fixture(scope="session")
def disturb():
    import engine_kit

    cloudpickle.register_pickle_by_value(engine_kit)  # ranks, which run it, do not find it by name
    return engine_kit.disturb
