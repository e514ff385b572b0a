"""The rules of the verdict, all of them. A verdict is about one checkpoint against its base.

gain: E, the number of problems solved by the tuned model only, is above what one model drawn twice would show (exact
null): one-sided p <= level.
loss: the same of S, the number of problems solved by the base only.

expanded: gain and no loss. shrank: loss and no gain. traded: both.
held: no gain, no loss, and for both S and E: max(bound(observed) - expected / M, bound(0)) < margin, where bound is
the one-sided 95 % upper bound (Clopper-Pearson) of a share of the M problems.
inconclusive: none of these.

Over several benchmarks the p-values of each direction are adjusted by Holm. The pooled problems ("all") are one
question and are not adjusted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.counts import Counts
from analysis.errors import InputError
from analysis.intervals import clopper_pearson
from analysis.null import Null, exact_null
from analysis.significance import holm

VERDICTS = ("expanded", "shrank", "traded", "held", "inconclusive")


@dataclass(frozen=True)
class Rules:
    """level: one-sided error of gain and of loss. margin: share of problems below which a change does not matter.

    bound: confidence of the upper bounds.
    """

    level: float = 0.025
    margin: float = 0.02
    bound: float = 0.95

    def __post_init__(self) -> None:
        for name, value in (("level", self.level), ("margin", self.margin), ("bound", self.bound)):
            if not 0 < value < 1:
                raise InputError(f"{name} = {value}; it must lie between 0 and 1")


@dataclass(frozen=True)
class Judgement:
    """verdict: one of VERDICTS. p_gain, p_loss: as compared with the level (Holm-adjusted where several benchmarks
    are). upper_*: upper bounds of the rates."""

    verdict: str
    p_gain: float
    p_loss: float
    upper_gain: float
    upper_loss: float


def judge(
    null: Null, problems: int, *, rules: Rules = Rules(), p_gain: float | None = None, p_loss: float | None = None
) -> Judgement:
    """Verdict of one table of `problems` problems. p_gain, p_loss replace the null's own where they were adjusted."""
    p_gain = null.p_expanded if p_gain is None else p_gain
    p_loss = null.p_shrunk if p_loss is None else p_loss
    upper = [
        upper_rate(x, e, problems, rules)
        for x, e in ((null.observed_expanded, null.expected_expanded), (null.observed_shrunk, null.expected_shrunk))
    ]
    gain = p_gain <= rules.level
    loss = p_loss <= rules.level
    if gain or loss:
        verdict = "traded" if gain and loss else "expanded" if gain else "shrank"
    else:
        verdict = "held" if max(upper) < rules.margin else "inconclusive"
    return Judgement(verdict, p_gain, p_loss, *upper)


def upper_rate(observed: int, expected: float, problems: int, rules: Rules) -> float:
    """Upper bound of the share of problems that changed sides beyond the null: Clopper-Pearson's of the observed count,
    less the expected share.

    Never below the bound that no change in `problems` problems would give (about 3 / M): fewer changes than expected
    are luck, not knowledge.
    """
    bound = clopper_pearson(np.array([observed, 0]), problems, confidence=2 * rules.bound - 1)[1]
    return float(max(bound[0] - expected / problems, bound[1]))


def judge_all(nulls: list[Null], problems: list[int], *, rules: Rules = Rules()) -> list[Judgement]:
    """Verdicts of several benchmarks, p-values adjusted over them by Holm."""
    gains = holm(np.array([n.p_expanded for n in nulls]))
    losses = holm(np.array([n.p_shrunk for n in nulls]))
    adjusted = zip(nulls, problems, gains.tolist(), losses.tolist(), strict=True)
    return [judge(null, m, rules=rules, p_gain=gain, p_loss=loss) for null, m, gain, loss in adjusted]


def judge_counts(base: Counts, tuned: Counts, *, rules: Rules = Rules()) -> Judgement:
    """Verdict straight from (n, c) of both sides, one table."""
    return judge(exact_null(*base, *tuned), len(base[0]), rules=rules)


def evidence(
    null: Null, judgement: Judgement, *, problems: int, rules: Rules, adjusted: bool, others: dict[str, str]
) -> str:
    """The verdict in sentences that a person can check. others: label -> verdict under another reading ("without the 1
    suspicious flip": "shrank")."""
    holm_note = " after Holm" if adjusted else ""
    text = (
        f"Of {problems} problem{'s' * (problems != 1)}, {null.observed_shrunk} "
        f"{'was' if null.observed_shrunk == 1 else 'were'} solved "
        f"by the base only, "
        f"where one model drawn twice would show {null.expected_shrunk:.3g} "
        f"(p = {judgement.p_loss:.2g}{holm_note}), and {null.observed_expanded} by the tuned model "
        "only, where it would show "
        f"{null.expected_expanded:.3g} (p = {judgement.p_gain:.2g}{holm_note}). "
    )
    gain = judgement.p_gain <= rules.level
    loss = judgement.p_loss <= rules.level
    text += {
        (True, True): "Both gain and loss are above chance: traded.",
        (True, False): "The gain is above chance and the loss is not: expanded.",
        (False, True): "The loss is above chance and the gain is not: shrank.",
        (False, False): (
            f"Neither is above chance; at {rules.bound:.0%} confidence no more than "
            f"{judgement.upper_loss:.1%} of problems were lost "
            f"and {judgement.upper_gain:.1%} gained beyond chance, "
            f"{'both below' if judgement.verdict == 'held' else 'not both below'} "
            f"the margin of {100 * rules.margin:g}%: {judgement.verdict}."
        ),
    }[gain, loss]
    for label, verdict in others.items():
        text += f" {label[0].upper()}{label[1:]}: {'the same' if verdict == judgement.verdict else verdict}."
    return text
