"""The rules of the verdict, all of them. A verdict is about one checkpoint against its base, and about n draws.

gain: E, the number of problems solved by the tuned model only, is above what one model drawn twice would show (exact
null, over all problems and over the clear ones together, analysis.null): one-sided p <= level.
loss: the same of S, the number of problems solved by the base only.

expanded: gain and no loss. shrank: loss and no gain. traded: both.
held: no gain, no loss, and for both S and E: max(bound(observed) - expected / M, bound(0)) < margin, where bound is
the one-sided 95 % upper bound (Clopper-Pearson) of a share of the M problems. bound(0) is about 3 / M, so fewer than
3 / margin problems (149 at 2 %) can never be called held.
inconclusive: none of these.

Faster is not wider: a model that only raises every problem's odds of a correct draw also reaches more problems within
n draws. So a gain (and a loss) has a reach: the largest F for which "no problem's odds rose more than F-fold" is
refuted too (closed testing over FOLDS: it stops at the first that is not). F = 1 is the gain itself; a gain that holds
at the rules' `fold` is said to be beyond a speed-up of that size.

Over several benchmarks the p-values of each direction and fold are adjusted by Holm. The pooled problems ("all") are
one question and are not adjusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.counts import Counts
from analysis.errors import InputError
from analysis.intervals import clopper_pearson
from analysis.null import CLEAR, FoldTest, Null, Tier, exact_null
from analysis.significance import holm

VERDICTS = ("expanded", "shrank", "traded", "held", "inconclusive")
FOLDS = (1.0, 2.0, 4.0, 10.0, 100.0)


@dataclass(frozen=True)
class Rules:
    """The numbers that the rules need.

    level: one-sided error of gain and of loss.
    margin: share of problems below which a change does not matter.
    bound: confidence of the upper bounds behind "held".
    fold: speed-up (ratio of odds) beyond which a gain is said to be more than a speed-up.
    """

    level: float = 0.025
    margin: float = 0.02
    bound: float = 0.95
    fold: float = 4.0

    def __post_init__(self) -> None:
        for name, value in (("level", self.level), ("margin", self.margin), ("bound", self.bound)):
            if not 0 < value < 1:
                raise InputError(f"{name} = {value}; it must lie between 0 and 1")
        if not 1 <= self.fold < np.inf:
            raise InputError(f"fold = {self.fold}; it is a ratio of odds, at least 1")

    @property
    def folds(self) -> tuple[float, ...]:
        """The folds that are tested, ascending, the rules' own among them."""
        return tuple(sorted({*FOLDS, float(self.fold)}))


DEFAULT_RULES = Rules()


@dataclass(frozen=True)
class Judgement:
    """What the rules say.

    verdict: one of VERDICTS.
    p_gain, p_loss: as compared with the level (Holm-adjusted where several benchmarks are).
    upper_gain, upper_loss: upper bounds of the shares of problems that changed sides beyond the null.
    gain_fold, loss_fold: largest fold that is refuted; None where not even 1 is, or folds were not tested.
    folds: the tests behind them, adjusted in the same way.
    """

    verdict: str
    p_gain: float
    p_loss: float
    upper_gain: float
    upper_loss: float
    gain_fold: float | None = None
    loss_fold: float | None = None
    folds: tuple[FoldTest, ...] = ()


def judge(
    null: Null,
    problems: int,
    *,
    rules: Rules = DEFAULT_RULES,
    p_gain: float | None = None,
    p_loss: float | None = None,
    folds: Sequence[FoldTest] | None = None,
) -> Judgement:
    """Verdict of one table of problems.

    null: what one model drawn twice would show.
    problems: how many there are.
    rules: of the verdict.
    p_gain, p_loss, folds: in place of the null's own, where they were adjusted.
    """
    p_gain = null.expanded.p if p_gain is None else p_gain
    p_loss = null.shrunk.p if p_loss is None else p_loss
    tests = tuple(null.folds if folds is None else folds)
    single = null.by_draw or null
    upper_gain = upper_rate(single.expanded.all, problems, rules=rules)
    upper_loss = upper_rate(single.shrunk.all, problems, rules=rules)
    verdict = word(p_gain, p_loss, level=rules.level)
    if verdict == "inconclusive" and max(upper_gain, upper_loss) < rules.margin:
        verdict = "held"
    return Judgement(
        verdict,
        p_gain,
        p_loss,
        upper_gain,
        upper_loss,
        gain_fold=_reach([(test.fold, test.p_gain) for test in tests], rules.level),
        loss_fold=_reach([(test.fold, test.p_loss) for test in tests], rules.level),
        folds=tests,
    )


def word(p_gain: float, p_loss: float, *, level: float) -> str:
    """expanded, shrank, traded, or inconclusive where neither direction stands out.

    >>> word(0.001, 0.6, level=0.025)
    'expanded'
    """
    gain = p_gain <= level
    loss = p_loss <= level
    if gain and loss:
        return "traded"
    return "expanded" if gain else "shrank" if loss else "inconclusive"


def _reach(tests: list[tuple[float, float]], level: float) -> float | None:
    """The largest fold before the first whose hypothesis is not refuted."""
    reach = None
    for fold, p in tests:
        if p > level:
            break
        reach = fold
    return reach


def upper_rate(tier: Tier, problems: int, *, rules: Rules) -> float:
    """Upper bound of the share of problems that changed sides beyond the null: Clopper-Pearson's of the observed count,
    less the expected share.

    Never below the bound that no change in `problems` problems would give (about 3 / M): fewer changes than expected
    are luck, not knowledge.
    """
    bound = clopper_pearson(np.array([tier.observed, 0]), problems, confidence=2 * rules.bound - 1)[1]
    return float(max(bound[0] - tier.expected / problems, bound[1]))


def judge_all(nulls: list[Null], problems: list[int], *, rules: Rules = DEFAULT_RULES) -> list[Judgement]:
    """Verdicts of several benchmarks, p-values adjusted over them by Holm, fold by fold."""
    gains = holm(np.array([null.expanded.p for null in nulls])).tolist()
    losses = holm(np.array([null.shrunk.p for null in nulls])).tolist()
    folds = _holm_by_fold(nulls)
    return [
        judge(null, m, rules=rules, p_gain=gain, p_loss=loss, folds=tests)
        for null, m, gain, loss, tests in zip(nulls, problems, gains, losses, folds, strict=True)
    ]


def _holm_by_fold(nulls: list[Null]) -> list[list[FoldTest]]:
    adjusted: list[list[FoldTest]] = [[] for _ in nulls]
    for tests in zip(*(null.folds for null in nulls), strict=True):
        gains = holm(np.array([test.p_gain for test in tests])).tolist()
        losses = holm(np.array([test.p_loss for test in tests])).tolist()
        for one, test, gain, loss in zip(adjusted, tests, gains, losses, strict=True):
            one.append(FoldTest(test.fold, p_gain=gain, p_loss=loss))
    return adjusted


def judge_counts(base: Counts, tuned: Counts, *, rules: Rules = DEFAULT_RULES) -> Judgement:
    """Verdict straight from the counts of both sides, one table, without the folds (rules.folds need more time)."""
    return judge(exact_null(base, tuned), len(base.n), rules=rules)


def judge_folds(base: Counts, tuned: Counts, *, rules: Rules = DEFAULT_RULES) -> Judgement:
    """The same with the folds."""
    return judge(exact_null(base, tuned, folds=rules.folds), len(base.n), rules=rules)


# --- the sentences, beside the rules that they put into words ---------------------------------------------------------

MEANING = {
    "expanded": "Within these draws it solves problems that a second draw of the base would not explain; no loss stands"
    " out from chance.",
    "shrank": "Within these draws it fails on problems that the base solves, more than chance explains; no gain stands"
    " out from chance.",
    "traded": "Within these draws it both lost and gained problems, each more than chance explains.",
    "held": "Neither a loss nor a gain stands out from chance within these draws, and both are bounded below the"
    " margin.",
    "inconclusive": "Neither a loss nor a gain stands out from chance, and the data are too few to rule them out.",
}


def meaning(verdict: str, *, certified_gains: int = 0, certified_losses: int = 0) -> str:
    """What a verdict says, and what is certified problem by problem although the count does not stand out."""
    text = MEANING[verdict]
    if certified_gains and verdict in ("shrank", "held", "inconclusive"):
        text += f" Yet {_problems(certified_gains)} certified as gained, each on its own."
    if certified_losses and verdict in ("expanded", "held", "inconclusive"):
        text += f" Yet {_problems(certified_losses)} certified as lost, each on its own."
    return text


def _problems(count: int) -> str:
    return f"{count} problem{'s are' if count > 1 else ' is'}"


def beyond(judgement: Judgement, rules: Rules = DEFAULT_RULES) -> str:
    """How much more than a speed-up the change is: one sentence, empty without a change or without folds."""
    parts = []
    for name, fold, p in (
        ("gain", judgement.gain_fold, judgement.p_gain),
        ("loss", judgement.loss_fold, judgement.p_loss),
    ):
        if p > rules.level or fold is None:
            continue
        change = "a speed-up" if name == "gain" else "a slow-down"
        if fold >= rules.fold:
            parts.append(f"The {name} is beyond {change} of {fold:g} (odds of a correct draw).")
            continue
        first = next(test.fold for test in judgement.folds if test.fold > fold)
        parts.append(
            f"The {name} is not beyond {change} by its count: as many could come of odds that changed {first:g}-fold "
            "everywhere."
        )
    return " ".join(parts)


@dataclass(frozen=True)
class Spans:
    """Draws a problem of base and tuned, as sentences name them.

    >>> draws = Spans.of(Counts(np.array([64, 64]), np.zeros(2)), Counts(np.array([57, 64]), np.zeros(2)))
    >>> draws.within
    'within 64 (base) and 57 to 64 (tuned) draws'
    """

    base: str
    tuned: str

    @staticmethod
    def of(base: Counts, tuned: Counts) -> Spans:
        ends = [(int(np.min(side.n)), int(np.max(side.n))) for side in (base, tuned)]
        return Spans(*(f"{low:,}" if low == high else f"{low:,} to {high:,}" for low, high in ends))

    @property
    def within(self) -> str:
        if self.base == self.tuned:
            return f"within {self.base} draw{'s' * (self.base != '1')}"
        return f"within {self.base} (base) and {self.tuned} (tuned) draws"

    @property
    def sentence(self) -> str:
        draws = f"{self.base} draw{'s' * (self.base != '1')}"
        return (
            f"{draws} a side" if self.base == self.tuned else f"{draws} of the base and {self.tuned} of the tuned model"
        )


def evidence(
    null: Null,
    judgement: Judgement,
    *,
    problems: int,
    draws: str,
    rules: Rules,
    adjusted: bool,
    others: dict[str, str],
) -> str:
    """The verdict in sentences that a person can check.

    null: what one model drawn twice would show.
    judgement: the verdict.
    problems: how many there are.
    draws: how many a problem, as written (Spans.sentence).
    rules: of the verdict.
    adjusted: whether Holm shares the level with other benchmarks.
    others: label -> verdict under another reading ("without the 1 suspicious flip": "shrank").
    """
    # counts beside what chance expects, of all problems and of the clear ones
    note = " after Holm" if adjusted else ""
    loss = null.shrunk
    gain = null.expanded
    one = "was" if loss.all.observed == 1 else "were"
    text = (
        f"Of {problems} problem{'s' * (problems != 1)} with {draws}, "
        f"{loss.all.observed} {one} solved by the "
        f"base only, where one model drawn twice would show {loss.all.expected:.3g}, and "
        f"{gain.all.observed} by the tuned "
        f"model only, where it would show {gain.all.expected:.3g}; of the clear ones (splits that "
        "chance leaves once in "
        f"{1 / CLEAR:g} at most), {loss.clear.observed} against {loss.clear.expected:.2g} and {gain.clear.observed} "
        f"against {gain.clear.expected:.2g} (both counts and the surest problem together: "
        f"loss p = {judgement.p_loss:.2g}{note}, gain p = {judgement.p_gain:.2g}{note}). "
    )
    text += {
        "traded": "Both gain and loss are above chance: traded.",
        "expanded": "The gain is above chance and the loss is not: expanded.",
        "shrank": "The loss is above chance and the gain is not: shrank.",
    }.get(judgement.verdict, "")
    # where nothing stands out, how much is ruled out
    if judgement.verdict in ("held", "inconclusive"):
        both = "both below" if judgement.verdict == "held" else "not both below"
        text += (
            f"Neither is above chance; at {rules.bound:.0%} confidence at most "
            f"{judgement.upper_loss:.1%} of problems were "
            f"solved by the base only and {judgement.upper_gain:.1%} by the tuned model only beyond "
            "chance in these draws, "
            f"{both} the margin of {100 * rules.margin:g}%: {judgement.verdict}."
        )
        if (least := least_problems(rules)) > problems:
            text += f" (With fewer than {least} problems that bound cannot be reached, whatever the draws show.)"
    if said := beyond(judgement, rules):
        text += f" {said}"
    for label, verdict in others.items():
        text += f" {label[0].upper()}{label[1:]}: {'the same' if verdict == judgement.verdict else verdict}."
    return text


def least_problems(rules: Rules = DEFAULT_RULES) -> int:
    """The fewest problems that can be called held: bound(0) = 1 - (1 - bound)^(1 / M) < margin.

    >>> least_problems()
    149
    """
    return int(np.floor(np.log(1 - rules.bound) / np.log1p(-rules.margin))) + 1
