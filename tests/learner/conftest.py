import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    from learner_kit import make_model

    return make_model(tmp_path_factory.mktemp("model") / "tiny")
