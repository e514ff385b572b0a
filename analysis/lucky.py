"""Lucky guesses: correct draws that a verifier accepts although they are wrong, and what they do to the verdict.

A wrong draw that is accepted with probability a makes every problem "solvable" at a large enough n. Two things follow
where a is known for each side. A problem counts as solved only with more correct draws than a explains. And a side
whose verifier accepts more may solve a problem more often although the models are equal: its odds of an accepted draw
can be larger by (r + a_one) / (r + a_other) at most, r being the true odds; the exact null allows for that ratio, with
the smallest r that the draws themselves leave possible.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from analysis.counts import Counts
from analysis.errors import InputError
from analysis.intervals import clopper_pearson
from analysis.null import Null, exact_null
from analysis.pass_at_k import unique_counts
from analysis.significance import least_beyond
from analysis.verdict import Rules, judge

AT_LEAST = (1, 2, 3, 5, 10)  # correct draws asked of a solved problem, in the table of verdicts
GRADED = ("judged_correct", "false_accepts", "judged_wrong", "false_rejects")
SAID = ("verifier", "drawn")  # of a graded sample, for people to read
TRIED = np.geomspace(1e-5, 0.2, 18)  # false-positive rates among which the one that turns the verdict is looked for


@dataclass(frozen=True)
class FalsePositives:
    """How often a verifier accepts a wrong draw: a rate, or a graded sample from which it follows.

    rate: the rate itself, or None where a graded sample is given.
    judged_correct, false_accepts: graded draws that the verifier accepted, and how many of them are wrong.
    judged_wrong, false_rejects: graded draws that it rejected, and how many of them are right.
    verifier, drawn: which verifier was graded, and how the graded draws were chosen, as the user says it.
    """

    rate: float | None = 0.0
    judged_correct: int = 0
    false_accepts: int = 0
    judged_wrong: int = 0
    false_rejects: int = 0
    verifier: str = ""
    drawn: str = ""

    @property
    def source(self) -> str:
        """Where the rate is from, in words; empty where it was given as a number."""
        if self.rate is not None:
            return ""
        told = "".join(f"; {name} {said}" for name in ("verifier", "drawn") if (said := getattr(self, name)))
        return f"{self.false_accepts} of {self.judged_correct} graded accepted draws were wrong{told}"

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
Given = tuple[FalsePositives, FalsePositives]  # of base and tuned


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
    words = {}
    for key in SAID:
        if not isinstance(found.get(key, ""), str):
            raise InputError(f"{path}: {key} is {found[key]!r}; it should be a text")
        words[key] = found.get(key, "")
    return FalsePositives(None, **values, **words)


def null_above(
    base: Counts, tuned: Counts, *, rates: tuple[float, float], rules: Rules, folds: tuple[float, ...] = ()
) -> Null:
    """The exact null where wrong draws are accepted at `rates` (base, tuned).

    A problem counts as solved with more correct draws than a wrong one's rate explains: at least the m with
    P(Binomial(n, rate) >= m) <= level / M, so that none of M impossible problems passes but with chance `level`.

    base, tuned: independent draws.
    rates: false positives of base and tuned.
    rules: whose level is shared among the problems.
    folds: further odds ratios that are tested, as in `exact_null`.
    """
    if not any(rates):
        return exact_null(base, tuned, folds=folds)
    least, odds = thresholds_and_odds(base, tuned, rates=rates, rules=rules, problems=len(base.n))
    return exact_null(base, tuned, odds_loss=odds[0], odds_gain=odds[1], least=least, folds=folds)


def thresholds_and_odds(
    base: Counts, tuned: Counts, *, rates: tuple[float, float], rules: Rules, problems: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Correct draws that base and tuned need before they count as having solved a problem, and the largest odds ratios
    that the nulls of loss and of gain allow: [M] each.

    base, tuned: independent draws.
    rates: false positives of base and tuned.
    rules: whose level is shared among the problems.
    problems: how many there are in all.
    """
    # of all problems together none that is impossible may pass but with chance `level`
    share = rules.level / problems
    first, second = (least_beyond(side.n, rate, share=share) for side, rate in zip((base, tuned), rates, strict=True))
    accepted = _least_accepted(base.correct + tuned.correct, base.n + tuned.n, share / 5)
    # the smallest true odds that the draws leave possible: small ones make the ratio of accepted odds large
    right = np.maximum(accepted - max(rates), 0.0)
    odds = right / (1 - right)
    loss = _largest_ratio(odds, one=rates[0], other=rates[1])
    return (first, second), (loss, _largest_ratio(odds, one=rates[1], other=rates[0]))


def _least_accepted(c: np.ndarray, n: np.ndarray, error: float) -> np.ndarray:
    """Exact lower limits of the share of accepted draws, c of n, at confidence 1 - error: [M]."""
    each_n, each_c, where = unique_counts(n, c)
    return _lower_limits(each_c.astype(np.int64).tobytes(), each_n.astype(np.int64).tobytes(), error)[where]


@lru_cache(maxsize=16)  # the same draws are asked about at many rates
def _lower_limits(c: bytes, n: bytes, error: float) -> np.ndarray:
    """c, n: the bytes of int64 [U]."""
    counts = (np.frombuffer(x, dtype=np.int64) for x in (c, n))
    return clopper_pearson(*counts, confidence=1 - error)[0]


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

    The first of 18 rates from 1e-5 to .2, above the side's own, at which it does, and then halved down to a twentieth
    of the rate (the word changes no more than once between two of them, it is assumed); None where none changes it.

    It is the rate from which on an audit that is told of it says another word, and a lower limit of what lucky guesses
    need to explain the draws: at the edge the null allows for any number of them, and the number of correct draws
    that a solved problem needs rises with the chance that a single one of M problems is lucky.

    base, tuned: independent draws.
    rates: false positives of base and tuned, as they are taken to be.
    rules: the verdict's.
    Returns "word", that of these problems alone, and of each side None or {"rate", "verdict", "draws": how many of its
    wrong draws would be accepted at that rate, "needs": correct draws that a solved problem then needs at most}.
    """

    def word_at(rate: float, *, side: int) -> str:
        tried = (rate, rates[1]) if side == 0 else (rates[0], rate)
        return judge(null_above(base, tuned, rates=tried, rules=rules), len(base.n), rules=rules).verdict

    now = word_at(rates[0], side=0)
    found: dict[str, Any] = {"word": now}
    for side, (name, counts) in enumerate((("base", base), ("tuned", tuned))):
        found[name] = None
        below = rates[side]
        for rate in TRIED[TRIED > below].tolist():
            if (verdict := word_at(rate, side=side)) != now:
                turned = _turning(below, rate, verdict=verdict, now=now, word_at=partial(word_at, side=side))
                wrong = float((counts.n - counts.correct).sum())
                needs = least_beyond(counts.n, turned["rate"], share=rules.level / len(counts.n))
                found[name] = turned | {"draws": turned["rate"] * wrong, "needs": int(needs.max())}
                break
            below = rate
    return found


def _turning(below: float, above: float, *, verdict: str, now: str, word_at: Callable[[float], str]) -> dict[str, Any]:
    """Where between two rates the word turns from `now`: {"rate", "verdict"} of the smallest rate found above it."""
    while above - below > 0.05 * above and above > TRIED[0] / 10:
        middle = (below + above) / 2
        if (said := word_at(middle)) == now:
            below = middle
        else:
            above = middle
            verdict = said
    return {"rate": above, "verdict": verdict}


def rates_in_words(
    base: Counts, tuned: Counts, *, rates: tuple[float, float], given: Given, rules: Rules, clusters: bool = False
) -> str:
    """What the given rates ask of a solved problem, as a sentence of the evidence; empty where both are 0.

    base, tuned: what is counted: draws, or clusters.
    rates: false positives of base and tuned.
    given: what the user said of base and tuned.
    rules: whose level is shared among the problems.
    clusters: whether whole clusters are counted, which have thresholds of their own.
    """
    if not any(rates):
        return ""
    share = rules.level / len(base.n)
    parts = []
    for name, side, rate, said in zip(("base", "tuned model"), (base, tuned), rates, given, strict=True):
        accepted = f"{100 * rate:.2g}% of its wrong draws are accepted" + (f" ({said.source})" if said.source else "")
        if clusters:
            parts.append(f"of the {name}, {accepted}")
            continue
        least = least_beyond(side.n, rate, share=share)
        span = f"{least.min()}" if least.min() == least.max() else f"{least.min()} to {least.max()}"
        draws = f"{span} correct draw{'s' * (span != '1')}"
        parts.append(f"a problem counts as solved by the {name} with at least {draws}, since {accepted}")
    return f" False positives: {', and '.join(parts)}; chance allows for equal models that these rates set apart."


def tipping_words(tipping: dict[str, Any], *, verdict: str) -> str:
    """The tipping points as a sentence of the evidence. verdict: after Holm, where there are several benchmarks."""
    alone = f" (these problems alone: {tipping['word']})" if tipping["word"] != verdict else ""
    parts = []
    for side, name in (("base", "the base's verifier"), ("tuned", "the tuned model's")):
        if found := tipping[side]:
            draws = found["draws"]
            few = f"{draws:.2g}" if draws < 100 else f"{draws:,.0f}"
            asked = f", and a solved problem needs {found['needs']} correct draws" if found["needs"] > 1 else ""
            parts.append(
                f"told that {name} accepts {100 * found['rate']:.2g}% of wrong draws ({few} of them "
                f"here{asked}) it says {found['verdict']}"
            )
    if not parts:
        return f" Lucky guesses{alone}: no false-positive rate of either side up to {TRIED[-1]:.0%} changes the word."
    return f" Lucky guesses{alone}: {'; '.join(parts)}; lower limits of what luck would need."
