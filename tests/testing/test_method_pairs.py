"""Every method beside a representative of every family: both act, and each switched off leaves the other bit for bit.

What a pair claims in figures is in test_pairs.py, for the methods that have claims there. The whole matrix runs by
`python scripts/check_pairs.py`.
"""

import itertools
import re
from pathlib import Path

import pytest
from pairs import BUILTIN, NAMES, check_pair, refusal

from explore_rl import strategies
from explore_rl.strategies.checks import check_strategy
from explore_rl.strategies.old_logprob import READS, reads_policy
from explore_rl.training.columns import OWN

REPOSITORY = Path(__file__).resolve().parents[2]
OLD = (
    "trace_injection", "diversity_bonus", "likelihood", "mixture_policy", "soft_overlong", "remax", "reinforce_pp",
    "rs_grpo", "simko", "prorl", "ppo", "flow_rl",
)  # fmt: skip
# One of each family: traces, prefixes, replays, bonuses, factors on advantages, mixtures, what makes advantages,
# balances, anchors, and what the settings do.
REPRESENTATIVES = (
    "trace_injection", "prefix_rl", "ex_grpo", "diversity_bonus", "f_grpo", "mixture_policy", "ppo", "flow_rl",
    "kl in the loss", "dynamic_sampling",
)  # fmt: skip
NEW = [name for name in strategies.STRATEGIES if name not in OLD]
PAIRS = [
    (one, other)
    for one, other in itertools.product(NEW, REPRESENTATIVES)
    if one != other and not (one in REPRESENTATIVES and other in NEW and one > other)
]


class Watched(dict):
    """Columns of a sample that note who looks for the policy's, while a place of the watched strategy runs."""

    inside = False
    looked: set[str] = set()

    def note(self, key):
        if self.inside and key in OWN:
            self.looked.add(key)

    def __contains__(self, key):
        self.note(key)
        return super().__contains__(key)

    def __getitem__(self, key):
        self.note(key)
        return super().__getitem__(key)

    def get(self, key, default=None):
        self.note(key)
        return super().get(key, default)


def watch(kind, monkeypatch):
    """What the places of `kind` look for of the policy's columns, filled as steps are made."""

    class Columns(Watched):
        looked = set()

    def watched(place):
        def call(self, groups, context):
            for sample in (sample for group in groups for sample in group.samples):
                sample.columns = Columns(sample.columns)
            Columns.inside = True
            try:
                return place(self, groups, context)
            finally:
                Columns.inside = False

        return call

    for place in READS:
        monkeypatch.setattr(kind, place, watched(getattr(kind, place)))
    return Columns.looked


@pytest.mark.parametrize("name", strategies.STRATEGIES)
def test_each_acts_rests_repeats_resumes_and_says_whether_it_reads_the_policy(name, monkeypatch):
    from pairs import OFF, ON

    kind = strategies.class_of(name)
    on = {**kind.trial.on, **ON.get(name, {})}
    off = {**on, **OFF[name]} if name in OFF else {**on, **(kind.trial.off or {})}
    says, looked = reads_policy(kind(**on)), watch(kind, monkeypatch)
    report = check_strategy(kind, on=on, off=off)
    assert report.ok, report
    assert bool(looked) == says, f"reads_policy is {says}, and it looked at {looked or 'neither column'}"


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_both_act_and_each_switched_off_leaves_the_other(one, other):
    if not refusal(one, other):
        check_pair(one, other)


def rules():
    """What the page says is refused: pairs of names, each with its reason."""
    page = (REPOSITORY / "docs" / "strategies.md").read_text()
    section = page[page.index("## What does not go together") :].split("\n## ")[0]
    found = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 3 and cells[0] not in ("one", "---"):
            for pair in itertools.product(*(re.split(r", ", cell) for cell in cells[:2])):
                if pair[0] != pair[1]:
                    found[frozenset(pair)] = cells[2]
    return found, section


@pytest.mark.parametrize("one", NAMES)
def test_the_page_has_what_is_refused_beside(one):
    refused = {other for other in NAMES[NAMES.index(one) + 1 :] if refusal(one, other)}
    told, _ = rules()
    assert refused == {other for other in NAMES[NAMES.index(one) + 1 :] if frozenset((one, other)) in told}


def test_at_most_one_pair_in_ten_is_refused():
    every = {frozenset(pair) for pair in itertools.combinations(NAMES, 2)}
    told, section = rules()
    assert told.keys() <= every
    assert len(told) <= len(every) / 10
    assert f"{len(told)} of {len(every)} are refused" in section


def test_the_names_are_all_that_is_shipped():
    assert set(NAMES) == {*strategies.STRATEGIES, *BUILTIN} and set(OLD) < set(NAMES)
