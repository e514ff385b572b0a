import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))  # tests are not packages; learner_kit is what they share


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    from learner_kit import make_model

    return make_model(tmp_path_factory.mktemp("model") / "tiny")
