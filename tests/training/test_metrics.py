"""Every figure is of one population: what was drawn, or what is learnt from."""

import re
from pathlib import Path

import numpy as np
import pytest

from explore_rl.experiments.curves import PANELS
from explore_rl.strategies.base import Strategy
from explore_rl.testing import digits_config, run_steps
from explore_rl.training import metrics as metrics_of
from explore_rl.types import Group, Problem, Request, Rollout, Sample, Status, Verdict

PROBLEM = Problem(id="p", prompt="", answer=None, verifier="digits")
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def sample(verdict, reward, *, prefix=0, entropy=1.0, base=-2.0):
    """Five tokens, of which the first `prefix` were given; columns are 9 away on those."""
    request = Request("p", 0, (1, 2), max_tokens=8, prefix_ids=(7,) * prefix)
    drawn = np.arange(5) >= prefix
    logprobs = np.where(drawn, -1.0, 0.0).astype(np.float32)
    made = Sample(Rollout(request, (7,) * 5, "", "stop", logprobs), Verdict(verdict, reward), reward=reward)
    made.columns = {
        "old_logprob": np.where(drawn, -1.0, -10.0),
        "base_logprob": np.where(drawn, base, -1.0),
        "entropy": np.where(drawn, entropy, 9.0),
    }
    return made


def test_a_given_prefix_is_in_no_figure_of_tokens():
    group = Group(PROBLEM, [sample(Status.CORRECT, 1.0, prefix=2), sample(Status.WRONG, 0.0)])
    found = metrics_of.of_groups([group], [], free=set())
    assert found["entropy/token"] == pytest.approx(1.0)
    assert found["kl/base"] == pytest.approx(np.exp(-1.0) + 1 - 1)
    assert found["engine/logprob_difference_max"] == 0


def test_what_is_learnt_from_and_what_was_drawn_are_not_mixed():
    kept = [Group(PROBLEM, [sample(Status.CORRECT, 1.5), sample(Status.WRONG, 0.5)])]
    dropped = [Group(PROBLEM, [sample(Status.CORRECT, 3.0, entropy=5.0, base=-7.0) for _ in range(2)])]
    dropped[0].samples[0].reward = None
    found = metrics_of.of_groups(kept, dropped, free=set())
    assert found["pass@1"] == 0.75 and found["pass@group"] == 1.0  # drawn
    assert found["reward/mean"] == 1.0 and found["entropy/token"] == 1.0  # learnt
    assert found["kl/base"] == pytest.approx(np.exp(-1.0)) and found["signal/samples_left_out"] == 0
    assert found["signal/groups_dropped"] == 1


class Hints(Strategy):
    """Gives the first digit."""

    name = "hints"

    def plan(self, requests, groups, round, context):
        from dataclasses import replace

        given = context.encode_completion("1")[:1]
        return [replace(request, prefix_ids=given) for request in requests]


def test_a_given_prefix_is_in_no_entropy_that_the_update_read(tmp_path):
    read = {}
    for mode in ("score", "none"):
        config = digits_config("run.steps=1", f"algorithm.old_logprob={mode}")
        read[mode] = run_steps(tmp_path / mode, [Hints()], config=config).metrics[0]["entropy/token"]
    # The update reads the rows that pull alone, three of four here.
    assert read["none"] == pytest.approx(read["score"], rel=0.05)


def documented():
    """Figure -> population, of the table in docs/metrics.md."""
    of = {}
    for line in DOCS.read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        names = re.findall(r"`([^`]+)`", cells[1]) if len(cells) == 5 and cells[1].startswith("`") else []
        for name in names:
            room = names[0].rpartition("/")[0]
            of[name if "/" in name or "@" in name or not room else f"{room}/{name}"] = cells[2]
    return of


def test_every_figure_of_a_step_is_documented_with_its_population(tmp_path):
    config = digits_config("algorithm.dynamic_sampling_rounds=2", "algorithm.kl=k3", "algorithm.kl_coefficient=0.1")
    (step, _) = run_steps(tmp_path, [Hints()], config=config).metrics
    known = documented()
    assert set(known.values()) == {"drawn", "learnt", "learnt*", "all", "kept", ""}
    rooms = {name.partition("/")[0] for name in known if name.endswith(("/*", "TERM/*"))}
    unknown = {n for n in step.keys() - known.keys() - {"step"} if n.partition("/")[0] not in rooms}
    assert unknown == set()


def test_a_panel_of_the_curves_shows_one_population():
    known = documented()
    for title, names in PANELS:
        populations = {known[name] for name in names if not name.endswith("parity_mean")}
        assert len(populations) == 1, title
