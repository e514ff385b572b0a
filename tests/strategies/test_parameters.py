"""What a recipe gives to a strategy is checked before anything starts.

The line names the strategy, the parameter and what would be right.
"""

import pytest

from analysis.errors import InputError
from explore_rl.config.loading import load_config
from explore_rl.strategies import make


@pytest.mark.parametrize("name", ["trace_injection", "likelihood"])
@pytest.mark.parametrize(
    ("parameter", "value", "said"),
    [
        ("per_group", True, "whole number of at least 1"),
        ("per_group", "2", "whole number of at least 1"),
        ("per_group", 1.5, "whole number of at least 1"),
        ("per_group", 0, "whole number of at least 1"),
        ("rate", "half", "share between 0 and 1"),
        ("rate", float("nan"), "share between 0 and 1"),
        ("when", "never", "always, no_success"),
        ("when", ["always"], "always, no_success"),
        ("which", "best", "uniform, least_likely"),
        ("regions", "division", "list of names"),
        ("leave_out", [3], "list of names"),
        ("traces", 3, "text, or null"),
    ],
)
def test_parameters_of_traces(name, parameter, value, said):
    with pytest.raises(InputError, match=rf"strategies\[0\]: {name}: {parameter}=.*{said}"):
        make([{"name": name, parameter: value}])


@pytest.mark.parametrize(
    ("name", "parameter", "value", "said"),
    [
        ("trace_injection", "gamma", 0, "above 0"),
        ("trace_injection", "gamma", float("inf"), "finite"),
        ("trace_injection", "clip", "0.5", "finite number between 0 and 1"),
        ("trace_injection", "clip", 1, "finite number between 0 and 1"),
        ("trace_injection", "statistics", "some", "all, on_policy"),
        ("likelihood", "coefficient", float("nan"), "finite"),
        ("likelihood", "only", "yes", "true or false"),
        ("diversity_bonus", "coefficient", "0.2", "finite"),
        ("diversity_bonus", "coefficient", True, "finite"),
        ("diversity_bonus", "kind", "count", "ucb, ucb_constant, batch"),
        ("diversity_bonus", "b0", 2, "share between 0 and 1"),
    ],
)
def test_parameters_of_one_strategy(name, parameter, value, said):
    with pytest.raises(InputError, match=rf"strategies\[0\]: {name}: {parameter}=.*{said}"):
        make([{"name": name, parameter: value}])


def test_a_constant_that_the_kind_does_not_use_is_refused_even_at_its_default():
    with pytest.raises(InputError, match="b0=0.5 has no effect with kind=ucb"):
        make([{"name": "diversity_bonus", "kind": "ucb", "b0": 0.5}])


def test_likelihood_alone_has_nothing_to_draw_again(problems):
    (alone,) = make([{"name": "likelihood", "only": True}])
    with pytest.raises(InputError, match="dynamic_sampling_rounds=0"):
        alone.check(load_config(None, ["algorithm.dynamic_sampling_rounds=2"]), problems, [])
    alone.check(load_config(None), problems, [])
