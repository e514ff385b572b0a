"""Every cell of docs/calibration.md: which simulation, of what, how often; and what stands above each table."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from calibration_boards import method_boards, run_differences
from calibration_draws import (
    EIGHT,
    FEW,
    UNEQUAL,
    cluster_certificates,
    cluster_verdicts,
    mode_verdicts,
    reasoning_verdicts,
)
from calibration_intervals import SKEWED, coverage, skewed_coverage, token_coverage
from calibration_kit import AROUND, HALF_ZERO, MATH, NEAR_ZERO, SHAPES, Line
from calibration_laws import LAWS, SPEED_UPS
from calibration_words import (
    RAGGED,
    certified_errors,
    false_words,
    fold_power,
    held_in_vain,
    lucky_verdicts,
    power,
    refuted_folds,
    verdict_shares,
)

OLD_SHAPES = tuple(SHAPES)[:8]
BACKGROUNDS = (MATH, HALF_ZERO)
AIME = "like AIME: 25 % zero, else .001 to .05 or Beta(1, 2)"
LOG_UNIFORM = "30 % zero, else log-uniform, 1e-5 to 1"
LOGIT_NORMAL = "logit-normal, mean -3, sd 3"


@dataclass(frozen=True)
class Cell:
    """One simulation: function(trials, rng, **kwargs) -> lines of `table`. share: of the data sets that are asked for
    in all (slow simulations take fewer)."""

    table: str
    function: Callable[..., list[Line]]
    kwargs: dict[str, Any] = field(hash=False)
    share: float = 1.0

    @property
    def key(self) -> str:
        """The same in every run, whatever other cells there are."""
        return f"{self.table} {self.function.__name__} {json.dumps(self.kwargs, sort_keys=True)}"

    def run(self, trials: int, seed: int) -> list[Line]:
        rng = np.random.default_rng([seed, zlib.crc32(self.key.encode())])
        return self.function(trials, rng, **self.kwargs)


def cells() -> Iterator[Cell]:
    """All of them, the verdict's words first."""
    yield from _one_law()
    yield from _changes()
    yield from _speed_ups()
    yield from _lucky()
    yield from _clusters()
    yield from _reasoning()
    yield from _modes()
    yield from _boards()
    yield from _intervals()


def _one_law() -> Iterator[Cell]:
    """One model drawn twice, and laws that change nothing at the edge: any word is false."""
    sizes = [(128, 128), (1024, 1024), (16, 16), (64, 256), (1024, 64), (64, 64), (256, 64), RAGGED, (64, 1024)]
    for i, shape in enumerate(shape for shape in SHAPES if shape != "all at .2"):
        # each shape meets every number of problems, and several numbers of draws in turn
        for j, problems in enumerate((5, 8, 10, 30, 50, 100, 500)):
            turn = sizes[(i + j) % len(sizes)]
            for n in dict.fromkeys([(128, 128), turn] if problems in (10, 30, 500) else [turn]):
                yield Cell("false", false_words, {"shape": shape, "problems": problems, "n": n})
    for law in ("head only: square root of p above .1", "head only: square of p above .3"):
        for shape in (MATH, AIME, "bimodal: Beta(2, 80) or Beta(80, 2)"):
            yield Cell("false", false_words, {"shape": shape, "problems": 500, "n": (128, 128), "law": law})
    for law in ("worse everywhere: odds halved", "better everywhere: odds doubled", "sharpened: odds squared about .2"):
        for shape in (MATH, NEAR_ZERO, LOG_UNIFORM):
            for n in ((128, 128), (64, 256)):
                yield Cell("false", false_words, {"shape": shape, "problems": 500, "n": n, "law": law})


def _changes() -> Iterator[Cell]:
    for law in ("2 % from 0 to .1, rest sharpened", "2 % from 0 to .5, rest sharpened"):
        for shape in (*BACKGROUNDS, LOGIT_NORMAL):
            for n in (1024, 128):
                asked = {"shape": shape, "problems": 500, "n": (n, n), "law": law, "at_least": 0.95}
                yield Cell("hidden", power, asked)
    for shape in (*BACKGROUNDS, LOGIT_NORMAL):
        kwargs = {"shape": shape, "problems": 500, "n": (1024, 1024), "law": "5 % from 0 to .02, rest sharpened"}
        yield Cell("hidden", power, kwargs | {"at_least": 0.95})
        yield Cell("hidden", power, kwargs | {"law": "3 % from 0 to .3, rest sharpened", "at_least": 0.95})
    for law, of in LAWS.items():
        if of.found:
            for i, shape in enumerate((*BACKGROUNDS, AIME)):
                n = [(128, 128), (1024, 1024), (64, 256)][i]
                yield Cell("power", power, {"shape": shape, "problems": 500, "n": n, "law": law})
    # few problems, of which one or two truly change
    for shape in (MATH, AIME, LOG_UNIFORM):
        for problems in (10, 30):
            for at in (0.02, 0.1, 0.5):
                law = f"gain: one of {problems} from 0 to {at:g}"
                yield Cell("few", power, {"shape": shape, "problems": problems, "n": (1024, 1024), "law": law})
    for problems in (149, 500):
        for share, at in ((0.03, 0.05), (0.04, 0.05), (0.03, 0.5)):
            if problems == 500 or share == 0.04:
                for shape in BACKGROUNDS:
                    kwargs = {"shape": shape, "problems": problems, "n": (1024, 1024), "share": share, "at": at}
                    yield Cell("held", held_in_vain, kwargs)
    for shape in BACKGROUNDS:
        for law in ("trade: 5 % gained, 5 % lost, .05", "nothing changed", "sharpened: odds squared about .2"):
            yield Cell("shares", verdict_shares, {"shape": shape, "law": law})
    for shape in (HALF_ZERO, NEAR_ZERO, AROUND):
        kwargs = {"shape": shape, "law": "trade: 5 % gained, 5 % lost, .05"}
        yield Cell("certified", certified_errors, kwargs, 0.25)


def _speed_ups() -> Iterator[Cell]:
    for change in SPEED_UPS:
        every = change.startswith(("odds doubled", "log-odds"))
        for shape in tuple(SHAPES) if every else (MATH, HALF_ZERO, NEAR_ZERO, LOG_UNIFORM):
            yield Cell("faster", refuted_folds, {"shape": shape, "change": change})
    for change in ("odds doubled, at F = 2", "log-odds shaken by sd .5, at F = 4"):
        for problems, n in ((30, (1024, 1024)), (10, (128, 128)), (500, (64, 256)), (100, (1024, 64)), (500, (16, 16))):
            for shape in (AIME, LOG_UNIFORM):
                kwargs = {"shape": shape, "change": change, "problems": problems, "n": n}
                yield Cell("faster", refuted_folds, kwargs)
    for shape in BACKGROUNDS:
        for at in (0.02, 0.1, 0.5):
            yield Cell("fold power", fold_power, {"shape": shape, "at": at})
            kwargs = {"shape": shape, "at": at, "problems": 30, "n": (1024, 1024)}
            yield Cell("fold power", fold_power, kwargs)


def _lucky() -> Iterator[Cell]:
    for shape in (LOG_UNIFORM, *BACKGROUNDS):
        for rates in ((0.001, 0.001), (0.001, 0.0003), (0.003, 0.001), (0.01, 0.003), (0.0, 0.01), (0.003, 0.0)):
            for problems, n in ((500, (128, 128)), (500, (1024, 1024)), (30, (1024, 1024)), (100, (64, 256))):
                kwargs = {"shape": shape, "rates": rates, "problems": problems, "n": n}
                yield Cell("lucky", lucky_verdicts, kwargs)
    for shape in (LOG_UNIFORM, MATH):
        for rates in ((0.01, 0.003), (0.0, 0.01)):
            for graded in (200, 1000):
                kwargs = {"shape": shape, "rates": rates, "graded": graded}
                yield Cell("graded", lucky_verdicts, kwargs)


def _clusters() -> Iterator[Cell]:
    how: list[dict[str, Any]] = [{"correlation": c} for c in (0.0, 0.02, 0.1, 0.3, 0.6)]
    how += [{"correlation": 0.3, "sizes": (FEW, FEW)}, {"throughout": 0.7}, {"throughout": 0.7, "sizes": (FEW, FEW)}]
    for shape in BACKGROUNDS:
        for problems in (30, 200):
            for kwargs in how:
                yield Cell("clusters", cluster_verdicts, {"shape": shape, "problems": problems, **kwargs}, 0.25)
    other: list[dict[str, Any]] = [
        {"correlation": c, "sizes": sizes}
        for c in (0.1, 0.3)
        for sizes in ((UNEQUAL, UNEQUAL), (EIGHT, UNEQUAL), (EIGHT, FEW), (EIGHT, None), (None, UNEQUAL))
    ]
    other += [{"throughout": 0.7, "sizes": (UNEQUAL, UNEQUAL)}, {"correlation": 0.1, "throughout": 0.3}]
    for kwargs in other:
        for shape, problems in ((LOG_UNIFORM, 100), (HALF_ZERO, 50)):
            yield Cell("clusters", cluster_verdicts, {"shape": shape, "problems": problems, **kwargs}, 0.25)
    for rates in ((0.003, 0.001), (0.01, 0.0)):
        for throughout in (0.0, 0.7):
            kwargs = {"shape": HALF_ZERO, "problems": 100, "rates": rates, "throughout": throughout}
            yield Cell("lucky clusters", cluster_verdicts, kwargs | {"correlation": 0.0 if throughout else 0.2}, 0.25)
    # sides whose draws agree to different degrees
    for correlation in ((0.1, 0.0), (0.3, 0.1), (0.3, 0.0), (0.6, 0.3), (0.0, 0.6)):
        for shape, problems in ((LOG_UNIFORM, 100), (MATH, 200)):
            kwargs = {"shape": shape, "problems": problems, "correlation": correlation}
            yield Cell("clusters", cluster_verdicts, kwargs, 0.25)
    for shape in (AIME, "all at .2"):
        yield Cell("cluster certificates", cluster_certificates, {"shape": shape, "problems": 60}, 0.25)
    for shape in BACKGROUNDS:
        for sizes in ((FEW, FEW), (EIGHT, EIGHT), (UNEQUAL, UNEQUAL)):
            kwargs = {"shape": shape, "problems": 200, "correlation": 0.1, "sizes": sizes, "gained": 0.05}
            yield Cell("cluster power", cluster_verdicts, kwargs, 0.25)


def _reasoning() -> Iterator[Cell]:
    for shape in (MATH, HALF_ZERO, LOG_UNIFORM):
        for judged in ((0.5, 0.5), (0.6, 0.1), (4, 4), (2, 8)):
            for problems in (30, 500):
                kwargs = {"shape": shape, "problems": problems, "judged": judged}
                yield Cell("reasoning", reasoning_verdicts, kwargs, 0.5)


def _modes() -> Iterator[Cell]:
    for shape in BACKGROUNDS:
        for problems in (10, 30, 200):
            for n in ((64, 64), (128, 128), (1024, 64), (64, 1024)):
                kwargs = {"shape": shape, "problems": problems, "n": n}
                yield Cell("modes", mode_verdicts, kwargs, 1.0 if problems < 200 else 0.25)
    for ways, evenness in ((3, 2.0), (20, 0.1)):
        for n in ((128, 128), (64, 256)):
            kwargs = {"shape": LOG_UNIFORM, "problems": 50, "n": n, "ways": ways, "evenness": evenness}
            yield Cell("modes", mode_verdicts, kwargs, 0.5)
    for shape in BACKGROUNDS:
        for problems in (30, 200):
            kwargs = {"shape": shape, "problems": problems, "n": (128, 128), "lost": 0.05}
            yield Cell("mode power", mode_verdicts, kwargs, 0.25)


def _boards() -> Iterator[Cell]:
    for shape in BACKGROUNDS:
        for sd in (0.0, 0.1, 0.2):
            yield Cell("boards", method_boards, {"shape": shape, "problems": 100, "sd": sd}, 0.25)
            yield Cell("boards", method_boards, {"shape": shape, "problems": 30, "sd": sd}, 0.25)
        yield Cell("boards", method_boards, {"shape": shape, "problems": 500, "sd": 0.1}, 0.25)
        yield Cell("boards", method_boards, {"shape": shape, "problems": 100, "runs": 1}, 0.25)
        for runs in (2, 3, 5):
            kwargs = {"shape": shape, "methods": 5, "runs": runs, "sd": 0.1, "law": "gain: 5 % from 0 to .05"}
            yield Cell("boards", method_boards, kwargs, 0.25)
    for methods in (2, 5):
        for runs in (2, 3, 5):
            for sd in (0.0, 0.1, 0.2):
                yield Cell("differences", run_differences, {"shape": MATH, "runs": runs, "sds": (sd,) * methods}, 0.5)
    for runs in (2, 3, 5):
        kwargs = {"shape": MATH, "runs": runs, "sds": (0.1, 0.1, 0.1, 0.1, 0.4), "target": False}
        yield Cell("differences", run_differences, kwargs, 0.5)
        for sd in (0.1, 0.2):
            kwargs = {"shape": AIME, "runs": runs, "sds": (sd,) * 3, "problems": 30}
            yield Cell("differences", run_differences, kwargs, 0.5)


def _intervals() -> Iterator[Cell]:
    for quantity in SKEWED:
        for problems in (10, 30, 100):
            yield Cell("skewed", skewed_coverage, {"quantity": quantity, "problems": problems}, 0.25)
    for problems in (100, 500):
        for shape in OLD_SHAPES:
            yield Cell("intervals", coverage, {"shape": shape, "problems": problems}, 0.25)
        for shape in BACKGROUNDS:
            yield Cell("tokens", token_coverage, {"shape": shape, "problems": problems}, 0.125)


TITLES = {
    "false": "Words that are not true: one law, or a law without gains or losses",
    "hidden": "A gain beside losses",
    "power": "Planted changes, 500 problems",
    "few": "One problem of few, 1,024 draws a side",
    "held": "Held in vain",
    "shares": "Share of each verdict, 500 problems, 1,024 draws a side",
    "certified": "Wrong members of certified categories, 500 problems, 1,024 draws a side",
    "faster": "Faster is not wider",
    "fold power": "Beyond a speed-up of 4",
    "lucky": "Lucky guesses",
    "graded": "Lucky guesses, rates from a graded sample, 500 problems, 128 draws a side",
    "clusters": "Draws that are not independent",
    "lucky clusters": "Lucky guesses in draws that are not independent, 100 problems",
    "cluster certificates": "Wrong members of certified categories, clustered draws",
    "cluster power": "A gain among clustered draws",
    "reasoning": "Reasoning judged in part, 128 draws a side",
    "modes": "One model drawn twice, by mode",
    "mode power": "Lost modes are found",
    "boards": "Boards of methods that change nothing",
    "differences": "Methods with several runs: differences under one law",
    "skewed": "Means of skewed quantities, 95 % intervals",
    "intervals": "Coverage of 95 % intervals, 128 draws a problem",
    "tokens": "Coverage over a budget of tokens, 128 draws a problem",
}
NOTES = {
    "false": (
        "Rows name the shape of the success probabilities, and the law where it is not one model drawn twice; n is the "
        "draws of base and tuned. Share of audits with a word that is not true: expanded, shrank or traded of one "
        "model drawn twice, and where only the head of the distribution moves; shrank or traded of a model that is "
        "nowhere worse; expanded or traded of one that is nowhere better, or only sharpened. Target: at most 5 %. The "
        "exact test is conservative where few problems can change sides."
    ),
    "hidden": (
        "Some problems go from 0 to a success probability, the rest is sharpened (odds to the power 1.3 about .2). "
        "Found: called expanded or traded, with its exact 95 % interval; target at least 95 %."
    ),
    "power": (
        "Found: the word names the change that was planted (traded, where both were). False words: it names the other "
        "direction; target at most 5 %. Found and held have no target: what to expect."
    ),
    "few": "One problem of 10 or 30 goes from 0 to a success probability. Columns as above.",
    "held": (
        "More problems are lost than the margin of 2 % allows, all of which the base solves in n draws. Share called "
        "held; target at most 5 %."
    ),
    "shares": "No target: what to expect.",
    "certified": (
        "Mean share of wrong members of each category at the default eps, ln(20 M)/n = 0.009; target at most 5 %."
    ),
    "faster": (
        "The odds of every problem change by a factor, and none by more than F (but few, where they are shaken). Share "
        "in which the change is said to be beyond a speed-up (or slow-down) of F; target at most 5 %. Beside it, "
        "without a target: called expanded, shrank or traded, which is true within so many draws."
    ),
    "fold power": "Share in which the gain is said to be beyond a speed-up of 4. No target: what to expect.",
    "lucky": (
        "Equal models whose verifiers accept wrong draws at rates of base / tuned: called expanded, shrank or traded "
        "with --false-positive-rate (target at most 5 %), and without it (no target)."
    ),
    "graded": "The same where the rates are taken from so many graded draws of each side.",
    "clusters": (
        "Two sets of draws of one model, in clusters (seeds) of draws that agree with each other: correlated within "
        "problems, or better and worse throughout; 16 seeds of 8 draws a side, unless the row says otherwise. Share "
        "called expanded, shrank or traded as the audit relabels them (target at most 5 %), and where draws are "
        "relabelled one by one, as if they were independent (no target); and how often clusters are noticed."
    ),
    "lucky clusters": (
        "The same with verifiers that accept wrong draws at rates of base / tuned, which the audit is told."
    ),
    "cluster certificates": (
        "Mean share of wrong members of each category, certified by one draw of each seed (target at most 5 %), and by "
        "all draws as if they were independent (no target)."
    ),
    "cluster power": (
        "5 % of 200 problems go from 0 to .5 in clusters with correlation .1. No target: what to expect."
    ),
    "reasoning": (
        "Equal models, half of whose correct draws have right reasoning; a judge looked at a share of the correct "
        "draws of base and tuned, or at the first few of each problem. Share called expanded, shrank or traded with "
        "unjudged draws taken for as good as the judged ones, and share in which both bounds give the same such word; "
        "targets at most 5 %."
    ),
    "modes": (
        "Two draws of one model, problems with 8 modes (Dirichlet, .5) unless the row says otherwise. Share called "
        "expanded, shrank or traded by mode; target at most 5 %. Beside it, means of SRR and NDR of modes as they are "
        "seen, and at a common k: what no change at all looks like (no target)."
    ),
    "mode power": "5 % of the modes are lost, the rest of their problem takes over. No target: what to expect.",
    "boards": (
        "Methods that are the base itself, 128 draws a side, on one draw of the base. Share of boards with any false "
        "word (expanded, shrank, traded) of a method, after Holm over the methods; target at most 5 %. Beside it, "
        "without a target: any such word of a run alone, uncorrected; and where the first method is changed, how often "
        "it is called expanded or traded."
    ),
    "differences": (
        "Methods of one law, 64 draws each; a run's log-odds are moved by one draw from N(0, sd^2), its seed. Share of "
        "boards in which the 95 % interval of the difference of the last method to the first excludes 0; target at "
        "most 5 %. Beside it, without a target: the same interval over problems alone. Rows with one method whose runs "
        "differ four times as much as the others' have no target: variances pooled over few runs cannot see that at "
        "once."
    ),
    "skewed": (
        "Share of simulations in which the interval of a mean over problems holds the truth: bootstrap-t, and the "
        "plain percentile interval. Target of the former: at least 92 %, with 10 problems 90 %."
    ),
    "intervals": (
        "Share of simulations in which the interval holds the truth; rows name the shape of the success probabilities "
        "and the number of problems. Targets: bootstrap (pass@k, and difference@k between the model and a sharpened "
        "copy) at least 93 %, exact at least 95 %. Differences are over-covered at small k: the two pseudo-problems "
        "that keep intervals honest at the edge cost width where all differences are small. draws only: the problem "
        "set held fixed (Clopper-Pearson at the effective sample size), at least 93 %, in a quarter of the "
        "simulations. crossing has no target."
    ),
    "tokens": (
        "The same for pass@tokens at a small, a middle and a large budget, where mean lengths are estimated from the "
        "same problems and harder problems have longer completions. Target: at least 93 %."
    ),
}
