"""Lucky guesses: correct draws that a verifier accepts although they are wrong, and what they do to the verdict.

A wrong draw that is accepted with probability a makes every problem "solvable" at a large enough n. Two things follow
where a is known for each side. A problem counts as solved only with more correct draws than a explains. And a side
whose verifier accepts more may solve a problem more often although the models are equal: its odds of an accepted draw
can be larger by (r + a_one) / (r + a_other) at most, r being the true odds; the exact null allows for that ratio, with
the smallest r that the draws themselves leave possible.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.counts import Counts
from analysis.errors import InputError
from analysis.intervals import clopper_pearson
from analysis.null import Null, exact_null
from analysis.significance import binomial_at_least
from analysis.verdict import Rules, judge

AT_LEAST = (1, 2, 3, 5, 10)  # correct draws asked of a solved problem, in the table of verdicts
GRADED = ("judged_correct", "false_accepts", "judged_wrong", "false_rejects")
TRIED = np.geomspace(1e-5, 0.2, 18)  # false-positive rates among which the one that turns the verdict is looked for


@dataclass(frozen=True)
class FalsePositives:
    """How often a verifier accepts a wrong draw: a rate, or a graded sample from which it follows.

    rate: the rate itself, or None where a graded sample is given.
    judged_correct, false_accepts: graded draws that the verifier accepted, and how many of them are wrong.
    judged_wrong, false_rejects: graded draws that it rejected, and how many of them are right.
    """

    rate: float | None = 0.0
    judged_correct: int = 0
    false_accepts: int = 0
    judged_wrong: int = 0
    false_rejects: int = 0

    def of(self, side: Counts) -> float:
        """The rate on one side's draws: P(accepted | wrong).

        From a graded sample: of the share s of accepted draws, the part that is wrong (its upper 95 % limit, so the
        rate is rather too large), over all wrong draws.
        """
        if self.rate is not None:
            return self.rate
        accepted = float(side.correct.sum() / side.n.sum())
        wrong = accepted * float(clopper_pearson(self.false_accepts, self.judged_correct, confidence=0.9)[1])
        right_rejected = self.false_rejects / self.judged_wrong if self.judged_wrong else 0.0
        return wrong / max(wrong + (1 - accepted) * (1 - right_rejected), 1e-12)


NONE = FalsePositives()


def read_rate(given: str) -> FalsePositives:
    """From the command line: a number, or the JSON file of a graded sample. Raises InputError, in one line.

    >>> read_rate("0.002").rate
    0.002
    """
    try:
        rate = float(given)
    except ValueError:
        return _read_graded(Path(given))
    if not 0 <= rate < 1:
        raise InputError(f"--false-positive-rate {given}: a rate lies between 0 and 1")
    return FalsePositives(rate)


def _read_graded(path: Path) -> FalsePositives:
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"--false-positive-rate {path}: neither a number nor a readable file ({error.strerror})"
        ) from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds no object with the keys {', '.join(GRADED)}")
    values = {}
    for key in GRADED:
        if not isinstance(found.get(key), int) or isinstance(found[key], bool) or found[key] < 0:
            raise InputError(f"{path}: {key} is {found.get(key)!r}; it should be a number of graded draws")
        values[key] = found[key]
    if not values["judged_correct"]:
        raise InputError(f"{path}: judged_correct is 0; a false-positive rate needs graded draws that were accepted")
    for part, whole in (("false_accepts", "judged_correct"), ("false_rejects", "judged_wrong")):
        if values[part] > values[whole]:
            raise InputError(f"{path}: {part} is {values[part]} of {whole} = {values[whole]}")
    return FalsePositives(None, **values)


def null_above(
    base: Counts, tuned: Counts, *, rates: tuple[float, float], rules: Rules, folds: tuple[float, ...] = ()
) -> Null:
    """The exact null where wrong draws are accepted at `rates` (base, tuned).

    A problem counts as solved with more correct draws than a wrong one's rate explains: at least the m with
    P(Binomial(n, rate) >= m) <= level / M, so that none of M impossible problems passes but with chance `level`.
    """
    if not any(rates):
        return exact_null(base, tuned, folds=folds)
    share = rules.level / len(base.n)
    least = tuple(_least_explained(side.n, rate, share=share) for side, rate in zip((base, tuned), rates, strict=True))
    accepted = clopper_pearson(base.correct + tuned.correct, base.n + tuned.n, confidence=1 - share / 5)[0]
    right = np.maximum(accepted - max(rates), 0.0)
    odds = right / (1 - right)
    return exact_null(
        base,
        tuned,
        odds_loss=_largest_ratio(odds, one=rates[0], other=rates[1]),
        odds_gain=_largest_ratio(odds, one=rates[1], other=rates[0]),
        least=(least[0], least[1]),
        folds=folds,
    )


def _least_explained(n: np.ndarray, rate: float, *, share: float) -> np.ndarray:
    """Smallest m >= 1 with P(Binomial(n, rate) >= m) <= share, of each n: int [M]."""
    if not rate:
        return np.ones(len(n), dtype=np.int64)
    each, where = np.unique(n, return_inverse=True)
    middle = each.max() * rate
    # no m beyond these is asked for: a binomial's tail is below 1e-20 there
    m = np.arange(1, int(min(middle + 10 * np.sqrt(middle) + 60, each.max())) + 2)
    rare = binomial_at_least(np.minimum(m, each[:, None] + 1), each[:, None], p=rate) <= share
    return m[rare.argmax(axis=1)][where]


def _largest_ratio(odds: np.ndarray, *, one: float, other: float) -> np.ndarray:
    """Odds of an accepted draw on the one side over the other, for equal models of these true odds or larger: [M]."""
    if one <= other:
        return np.ones(len(odds))
    with np.errstate(divide="ignore"):
        return (odds + one) / (odds + other) * (1 - other) / (1 - one)


def verdicts_at_least(base: Counts, tuned: Counts, *, rules: Rules) -> list[dict[str, Any]]:
    """The verdict where a problem counts as solved with at least m correct draws, for m = 1, 2, 3, 5, 10."""
    rows = []
    for m in AT_LEAST:
        null = exact_null(base, tuned, least=(m, m))
        found = judge(null, len(base.n), rules=rules)
        rows.append(
            {
                "at_least": m,
                "verdict": found.verdict,
                "shrunk": null.shrunk.all.observed,
                "expanded": null.expanded.all.observed,
                "p_loss": found.p_loss,
                "p_gain": found.p_gain,
            }
        )
    return rows


def tipping_points(base: Counts, tuned: Counts, *, rates: tuple[float, float], rules: Rules) -> dict[str, Any]:
    """The smallest false-positive rate of each side at which the verdict's word changes, the other side's as it is.

    Among 18 rates from 1e-5 to .2, above the side's own; None where none of them changes it.
    """
    now = judge(null_above(base, tuned, rates=rates, rules=rules), len(base.n), rules=rules).verdict
    found: dict[str, Any] = {}
    for side, name in enumerate(("base", "tuned")):
        found[name] = None
        for rate in TRIED[TRIED > rates[side]]:
            tried = (float(rate), rates[1]) if side == 0 else (rates[0], float(rate))
            verdict = judge(null_above(base, tuned, rates=tried, rules=rules), len(base.n), rules=rules).verdict
            if verdict != now:
                found[name] = {"rate": float(rate), "verdict": verdict}
                break
    return found


def tipping_words(tipping: dict[str, Any]) -> str:
    """The tipping points as a sentence of the evidence; empty where no rate that was tried changes the word."""
    parts = [
        f"the {side}'s verifier accepting {100 * found['rate']:.2g}% of wrong draws would make it {found['verdict']}"
        for side, found in tipping.items()
        if found
    ]
    return f" Lucky guesses: {' and '.join(parts)}." if parts else ""
