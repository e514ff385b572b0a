import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    from learner_kit import make_model

    return make_model(tmp_path_factory.mktemp("model") / "tiny")


class Ranks:
    """ranks[1], ranks[2]: the session's learner and its pair, the latter started anew if it was ended."""

    def __init__(self, actors, pair):
        self.actors, self.pair = actors, pair

    def __getitem__(self, count):
        if count == 1:
            return self.actors.learner
        if self.pair.learner is None or not self.pair.learner.actors:
            from explore_rl.config.schema import Config

            config = Config()
            config.learner.ranks = 2
            self.pair.reset(config)
        return self.pair.learner


@pytest.fixture(scope="module")
def groups(actors, pair):
    """{ranks: learner}; each test resets the ranks in place."""
    import learner_kit
    import rank_kit
    from ray import cloudpickle

    for kit in (learner_kit, rank_kit):
        cloudpickle.register_pickle_by_value(kit)  # ranks, which run it, do not find it by name
    yield Ranks(actors, pair)
    for kit in (learner_kit, rank_kit):
        cloudpickle.unregister_pickle_by_value(kit)
