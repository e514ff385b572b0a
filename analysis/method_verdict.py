"""The word of a method, from all of its runs.

A run's verdict is about one checkpoint. A method's is about what another seed would show too, so a gain (or a loss) of
a method has to pass two tests, and its p-value is the larger of theirs:

majority: more than half of its runs show it, each by its own exact test (over_runs.majority_p). If no run differs from
the base, this alone keeps the level, however the runs depend on each other.
spread: the mean of the runs' z stands out from the spread between runs (over_runs.mean_z_p), whose variance is
moderated over the methods of the board. Runs that go up and down by luck cancel here. z is the normal quantile of the
run's exact p-value; below the middle, where that p-value is 1 as often as not, it is the gap of the square roots of
the observed and the expected count.

Over the methods of a board the p-values of each direction are adjusted by Holm (over methods and benchmarks for the
single benchmarks; the pooled problems are one question). held: neither, and every run's bounds are below the margin.

Where no method has two runs there is no spread: the word is about these checkpoints, and the document says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from analysis.moderated import Moderated, moderate
from analysis.over_runs import SMALLEST_P, RunLuck, majority, majority_p, mean_z_p
from analysis.significance import holm
from analysis.verdict import Rules, word

DIRECTIONS = {"gain": "expanded", "loss": "shrunk"}  # and the key of the audit's null
Blocks = dict[str, list[dict[str, Any]]]  # method -> the audit blocks of its runs, of one benchmark


@dataclass(frozen=True)
class Evidence:
    """One direction of one method.

    p: the larger of p_majority and p_spread.
    p_majority: of "in no more than half of the runs".
    p_spread: None where no method on the board has two runs.
    z: mean of the runs' z; documents call it score.
    sd: moderated standard deviation of z between runs.
    df: its degrees of freedom.
    """

    p: float
    p_majority: float
    p_spread: float | None
    z: float
    sd: float | None
    df: float | None

    def entry(self) -> dict[str, float | None]:
        """As documents have it."""
        return {"score" if name == "z" else name: value for name, value in vars(self).items()}


def run_z(p: float, observed: float, *, expected: float) -> float:
    """How far a run stands from its null, in standard deviations: above 0 for more problems than chance explains.

    p: exact p-value of the run's count. observed, expected: the count and what chance alone would show.

    >>> round(run_z(0.025, 9, expected=4.0), 2), round(run_z(1.0, 0, expected=4.0), 2)
    (1.96, -2.96)
    """
    if p < 0.5:
        return float(stats.norm.isf(max(p, SMALLEST_P)))
    return float(min(0.0, 2 * (np.sqrt(observed + 0.375) - np.sqrt(expected + 0.375))))


def weigh(blocks: Blocks, direction: str) -> dict[str, Evidence]:
    """Evidence of every method for one direction ("gain" or "loss"), before Holm."""
    key = DIRECTIONS[direction]
    nulls = {name: [block["null"] for block in runs] for name, runs in blocks.items()}
    p = {name: np.array([null[f"p_{key}"] for null in runs]) for name, runs in nulls.items()}
    z = {
        name: np.array([run_z(n[f"p_{key}"], n[f"observed_{key}"], expected=n[f"expected_{key}"]) for n in runs])
        for name, runs in nulls.items()
    }
    spread = _spread(list(z.values()))
    found = {}
    for i, (name, of_runs) in enumerate(z.items()):
        of_majority = majority_p(p[name])
        mean = float(of_runs.mean())
        if spread is None:
            found[name] = Evidence(of_majority, of_majority, None, mean, None, None)
            continue
        luck = RunLuck(float(spread.variance[i]) / len(of_runs), float(spread.df[i]))
        of_spread = mean_z_p(mean, luck)
        sd = float(np.sqrt(spread.variance[i]))
        found[name] = Evidence(max(of_majority, of_spread), of_majority, of_spread, mean, sd, luck.df)
    return found


def _spread(z: list[np.ndarray]) -> Moderated | None:
    """Moderated variances of the runs' z [R] of each method.

    Only methods whose mean z is above 0 are pooled, where there are any: runs that gain nothing do not differ in
    what they gain, and would make the others look steady. A mean says nothing of the variance around it, so choosing by
    it does not bias the variance.
    """
    df = np.array([len(of_runs) - 1.0 for of_runs in z])
    variance = np.array([of_runs.var(ddof=1) if len(of_runs) > 1 else np.nan for of_runs in z])
    showing = np.where([of_runs.mean() > 0 for of_runs in z], df, 0.0)
    return moderate(variance, showing if showing.any() else df)


def judge_methods(by_benchmark: dict[str, Blocks], *, pooled: str, rules: Rules) -> dict[str, dict[str, Any]]:
    """Verdicts of all methods: method -> benchmark -> {"verdict", "within", "p_gain", "p_loss", "gain", "loss", "runs",
    "questions", "beyond", "evidence"}; p_gain, p_loss and the p-values of `beyond` after Holm over `questions`.

    by_benchmark: benchmark -> method -> the audit blocks of its runs. pooled: the name of the pooled problems.
    """
    # each direction of each method alone
    weighed = {
        name: {direction: weigh(blocks, direction) for direction in DIRECTIONS} for name, blocks in by_benchmark.items()
    }
    single = [name for name in by_benchmark if name != pooled]
    adjusted: dict[tuple[str, str, str], tuple[float, int]] = {}
    speed_up: dict[tuple[str, str, str], float] = {}
    # Holm over methods and benchmarks together; the pooled problems are asked once a method
    for family in (single, [pooled]):
        for direction in DIRECTIONS:
            asked = [(name, method) for name in family for method in by_benchmark[name]]
            p = holm(np.array([weighed[name][direction][method].p for name, method in asked]))
            faster = holm(
                np.array([_beyond(by_benchmark[name][method], direction, rules=rules) for name, method in asked])
            )
            for (name, method), value, reach in zip(asked, p.tolist(), faster.tolist(), strict=True):
                adjusted[name, method, direction] = (value, len(asked))
                speed_up[name, method, direction] = max(value, reach)
    # the word, and what it rests on
    out: dict[str, dict[str, Any]] = {method: {} for method in by_benchmark[pooled]}
    for name, blocks in by_benchmark.items():
        for method, runs in blocks.items():
            evidence = {direction: weighed[name][direction][method] for direction in DIRECTIONS}
            p_of = {direction: adjusted[name, method, direction][0] for direction in DIRECTIONS}
            verdict = word(p_of["gain"], p_of["loss"], level=rules.level)
            if verdict == "inconclusive" and _all_bounded(runs, rules):
                verdict = "held"
            questions = adjusted[name, method, "gain"][1]
            beyond = {direction: speed_up[name, method, direction] for direction in DIRECTIONS}
            said = sentence(evidence, p_of, runs=len(runs), questions=questions, verdict=verdict)
            out[method][name] = {
                "verdict": verdict,
                "within": within(runs),
                "p_gain": p_of["gain"],
                "p_loss": p_of["loss"],
                **{direction: found.entry() for direction, found in evidence.items()},
                "runs": len(runs),
                "questions": questions,
                "beyond": {"fold": rules.fold, **{f"p_{direction}": p for direction, p in beyond.items()}},
                "evidence": said + beyond_words(p_of, beyond, runs=len(runs), rules=rules),
            }
    return out


def within(runs: Sequence[dict[str, Any]]) -> str:
    """The draws that a word is about, as the runs' audits have them."""
    said = dict.fromkeys(run.get("within", "") for run in runs)
    return next(iter(said)) if len(said) == 1 else "within the draws of each run"


def _beyond(runs: Sequence[dict[str, Any]], direction: str, *, rules: Rules) -> float:
    """p-value of "in no more than half of the runs is the change beyond a speed-up of the rules' fold"; 1 where the
    audits did not test folds.

    Each run's is its largest up to that fold (closed testing), after Holm over its benchmarks.
    """
    p = []
    for run in runs:
        tests = [test for test in run["verdict_detail"].get("folds") or [] if test["fold"] <= rules.fold]
        p.append(max((test[f"p_{direction}"] for test in tests), default=1.0))
    return majority_p(np.array(p))


def beyond_words(p: dict[str, float], beyond: dict[str, float], *, runs: int, rules: Rules) -> str:
    """Whether the change is more than a speed-up, in words; empty without a change.

    p, beyond: p-values of each direction, of the change and of a change beyond the fold.
    runs: how many the method has.
    rules: the verdict's.
    """
    text = ""
    for direction, change in (("gain", "a speed-up"), ("loss", "a slow-down")):
        if p[direction] > rules.level:
            continue
        shown = "is" if beyond[direction] <= rules.level else "is not shown to be"
        where = " in more than half of the runs" if runs > 1 else ""
        text += f" The {direction} {shown} beyond {change} of {rules.fold:g}{where} (p = {beyond[direction]:.2g})."
    return text


def _all_bounded(runs: Sequence[dict[str, Any]], rules: Rules) -> bool:
    """Whether every run's changes are bounded below the margin."""
    details = [run["verdict_detail"] for run in runs]
    return all(max(detail["upper_gain"], detail["upper_loss"]) < rules.margin for detail in details)


def sentence(
    evidence: dict[str, Evidence],
    adjusted: dict[str, float],
    *,
    runs: int,
    questions: int,
    verdict: str,
) -> str:
    """The method's verdict in words that a person can check.

    evidence: of each direction.
    adjusted: p-value of each direction after Holm.
    runs: how many the method has.
    questions: among how many Holm shares the level.
    verdict: the word.
    """
    gain = evidence["gain"]
    loss = evidence["loss"]
    over = f" after Holm over {questions} questions" if questions > 1 else ""
    text = f"{runs} run{'s' * (runs > 1)}: loss p = {adjusted['loss']:.2g}, gain p = {adjusted['gain']:.2g}{over}"
    if runs > 1:
        text += (
            f". More than half of the runs ({majority(runs)} of {runs}) show it: "
            f"loss p = {loss.p_majority:.2g}, gain p = {gain.p_majority:.2g}"
        )
    if gain.p_spread is not None and loss.p_spread is not None:
        borrowed = ", taken from the other methods" if runs == 1 else ""
        text += (
            f". Mean score against the spread between runs{borrowed}: loss p = {loss.p_spread:.2g} "
            f"({loss.df:.3g} df), gain p = {gain.p_spread:.2g} ({gain.df:.3g} df); the larger p counts"
        )
    else:
        text += ". No two runs of a method: this is about the checkpoint at hand, not about another seed"
    text += f": {verdict}."
    if verdict == "held":
        text += " In every run both loss and gain, beyond chance in its draws, are bounded below the margin."
    return text
