"""What a recipe passes on to DeepSpeed is found in the engine that was built."""

import pytest
from learner_kit import (
    learner_config,
)
from rank_kit import (
    sub_groups,
)

pytestmark = [pytest.mark.slow, pytest.mark.engine]


def test_a_setting_of_the_recipe_is_found_in_the_built_engine(groups, tiny_model):
    config = learner_config(tiny_model, ranks=1, zero_stage=3)
    config.learner.deepspeed = {"zero_optimization": {"sub_group_size": 20_000}}
    groups[1].reset(config)
    ((size, count),) = groups[1].apply(sub_groups)
    assert size == 20_000 and count > 3  # and it is heeded: without it there is one group
