"""How many more draws, on which problems, would decide the word? A plan for analysis.sequential.

A problem that both sides have solved says nothing more about gains and losses, so only the others are drawn further,
the same number of draws on both sides. What that would show is played through: success rates from their posterior
(a problem has the same rate on both sides, two unrelated ones, or none on one side; priors are zero-inflated betas
fitted to the problems), draws from these, and the very test that the user will make. It is a forecast; the test's error
does not hang on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from analysis.beta_binomial import ZeroInflatedBeta, fit
from analysis.counts import Counts
from analysis.dependence import look
from analysis.errors import InputError
from analysis.records import ModelSamples
from analysis.sequential import WITHIN, draw_table, look_at
from analysis.verdict import DEFAULT_RULES, Rules

TIMES = (2, 4, 8)  # as many draws as the open problems have now
FUTURES = 50  # that are played through
DECIDED = ("expanded", "shrank", "traded", "held")


KINDS = ("same", "unrelated", "gained", "lost")  # what may have become of a problem's success probability


@dataclass(frozen=True)
class Beliefs:
    """What the counts leave possible of each problem: the same success probability on both sides, two unrelated ones,
    or 0 on the base's side alone (gained), or on the tuned model's (lost).

    sides: of base, tuned and both together, their counts and the prior. weight: float64 [4, M], posterior probability
    of each of KINDS.
    """

    sides: tuple[tuple[Counts, ZeroInflatedBeta], ...]
    weight: np.ndarray

    def at(self, index: np.ndarray) -> Beliefs:
        """The same of the problems at `index`."""
        return Beliefs(tuple((side.at(index), prior) for side, prior in self.sides), self.weight[:, index])

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Success probabilities of base and tuned from the posterior: float64 [M] each."""
        kind = (rng.random(self.weight.shape[1]) > self.weight.cumsum(axis=0)[:-1]).sum(axis=0)
        base, tuned, shared = (_posterior_draw(*side, rng=rng) for side in self.sides)
        alone = [_posterior_draw(side, replace(prior, zero=0.0), rng=rng) for side, prior in self.sides[:2]]
        nothing = np.zeros(len(kind))
        first = np.choose(kind, [shared, base, nothing, alone[0]])
        second = np.choose(kind, [shared, tuned, alone[1], nothing])
        return first, second


def beliefs(base: Counts, tuned: Counts) -> Beliefs:
    """Fitted to both sides: zero-inflated betas, and the shares of the four kinds (EM)."""
    pooled = Counts(base.n + tuned.n, base.correct + tuned.correct)
    sides = tuple((side, fit(*side)) for side in (base, tuned, pooled))
    first, second, together = (_log_marginal(*side) for side in sides)
    alone = [_log_marginal(side, replace(prior, zero=1e-12)) for side, prior in sides[:2]]
    never = [np.where(side.correct == 0, 0.0, -np.inf) for side in (base, tuned)]
    log_likelihood = np.stack([together, first + second, never[0] + alone[1], alone[0] + never[1]])
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=0))
    share = np.array([0.7, 0.1, 0.1, 0.1])
    for _ in range(100):  # the shares move by ever smaller steps; a forecast needs two digits
        weight = share[:, None] * likelihood
        weight /= weight.sum(axis=0)
        share = np.maximum(weight.mean(axis=1), 1e-4)
    return Beliefs(sides, weight)


def _log_marginal(side: Counts, prior: ZeroInflatedBeta) -> np.ndarray:
    """ln probability of each problem's draws, in their order."""
    possible = special.betaln(prior.a + side.correct, prior.b + side.n - side.correct) - special.betaln(
        prior.a, prior.b
    )
    with np.errstate(divide="ignore"):
        zero = np.where(side.correct == 0, np.log(prior.zero), -np.inf)
    return np.logaddexp(np.log1p(-prior.zero) + possible, zero)


def _posterior_draw(side: Counts, prior: ZeroInflatedBeta, *, rng: np.random.Generator) -> np.ndarray:
    """One success probability of each problem from its posterior: float64 [M]."""
    impossible = np.where(side.correct == 0, prior.zero / np.exp(_log_marginal(side, prior)), 0.0)
    drawn = rng.beta(prior.a + side.correct, prior.b + side.n - side.correct)
    return np.where(rng.random(len(side.n)) < impossible, 0.0, drawn)


def plan(
    base: ModelSamples,
    tuned: ModelSamples,
    *,
    within: int = WITHIN,
    rules: Rules = DEFAULT_RULES,
    futures: int = FUTURES,
    seed: int = 0,
) -> dict[str, Any]:
    """The word so far, the open problems with what a further round of draws is worth on each, and for 2, 4 and 8 times
    the draws how often the word is decided.

    Raises InputError for counts without draws, and for draws that depend on each other.

    base, tuned: aligned samples.
    within: draws a problem that the word is about, chosen before the first look.
    rules: of the verdict.
    futures: simulated continuations.
    seed: of the simulation.
    """
    tables = [draw_table(base), draw_table(tuned)]
    dependence = look(base, tuned, seed=seed)
    if dependence.cells is not None:
        raise InputError(
            f"draws of one {dependence.kind} agree more than chance allows; looks between draws take them for "
            f"independent, so give one draw of each {dependence.kind}"
        )
    # what the draws say by now
    rounds = np.minimum(base.n, tuned.n)
    now = look_at(*tables, rounds=rounds, within=within, rules=rules)
    there = np.arange(min(table.shape[1] for table in tables)) < rounds[:, None]
    correct = [(table[:, : there.shape[1]] & there).sum(axis=1) for table in tables]
    # problems that both sides have solved can no longer change the word
    open_ = np.flatnonzero((correct[0] == 0) | (correct[1] == 0))
    sides = [Counts(side.n, side.correct) for side in (base, tuned)]
    believed = beliefs(*sides).at(open_)
    said = (now.verdict in ("expanded", "traded"), now.verdict in ("shrank", "traded"))
    rng = np.random.default_rng(seed)
    document: dict[str, Any] = {
        "verdict": now.verdict,
        "within": within,
        "problems": len(base),
        "draws_a_side": {"min": int(rounds.min()), "max": int(rounds.max()), "unused": _unused(sides, rounds)},
        "level": rules.level,
        "needed": 1 / rules.level,
        "evidence": {"gain": _odds(now.wealth_gain), "loss": _odds(now.wealth_loss)},
        "gain_fold": now.gain_fold,
        "loss_fold": now.loss_fold,
        "upper_gain": now.upper_gain,
        "upper_loss": now.upper_loss,
        "open_problems": _worth(base, believed, index=open_, correct=correct, rng=rng),
        "futures": [],
    }
    # futures: the open problems drawn further, as the counts make it believable
    for times in TIMES if len(open_) else ():
        words = [
            _played(
                tables,
                times,
                rounds=rounds,
                index=open_,
                believed=believed,
                within=within,
                rules=rules,
                said=said,
                rng=rng,
            )
            for _ in range(futures)
        ]
        document["futures"].append(
            {
                "times": times,
                "draws": int(times * rounds[open_].max()),
                "further_draws_a_side": int((times - 1) * rounds[open_].sum()),
                "decided": sum(word in DECIDED for word in words) / futures,
                "words": {word: words.count(word) / futures for word in dict.fromkeys(words)},
            }
        )
    return document


def _odds(log_wealth: float) -> float:
    """Wealth as evidence for : against, kept finite."""
    return float(np.exp(min(log_wealth, 600.0)))


def _unused(sides: list[Counts], rounds: np.ndarray) -> int:
    """Draws without a partner on the other side."""
    return int(sum((side.n - rounds).sum() for side in sides))


def _worth(
    base: ModelSamples,
    believed: Beliefs,
    *,
    index: np.ndarray,
    correct: list[np.ndarray],
    rng: np.random.Generator,
    samples: int = 200,
) -> list[dict[str, Any]]:
    """The open problems, those first on which a further round is most likely to speak for a gain or a loss."""
    drawn = [np.stack(side) for side in zip(*(believed.draw(rng) for _ in range(samples)), strict=True)]
    gain = (drawn[1] * (1 - drawn[0])).mean(axis=0) * (correct[0][index] == 0)
    loss = (drawn[0] * (1 - drawn[1])).mean(axis=0) * (correct[1][index] == 0)
    order = np.argsort(-np.maximum(gain, loss), kind="stable")
    return [
        {
            "problem_id": base.problem_ids[index[i]],
            "benchmark": base.benchmarks[index[i]],
            "base_correct": int(correct[0][index[i]]),
            "tuned_correct": int(correct[1][index[i]]),
            "round_for_gain": float(gain[i]),
            "round_for_loss": float(loss[i]),
        }
        for i in order
    ]


def _played(
    tables: list[np.ndarray],
    times: int,
    *,
    rounds: np.ndarray,
    index: np.ndarray,
    believed: Beliefs,
    within: int,
    rules: Rules,
    said: tuple[bool, bool],
    rng: np.random.Generator,
) -> str:
    """The word of one future in which the open problems have `times` their draws."""
    goal = rounds.copy()
    goal[index] *= times
    width = int(goal.max())
    grown = []
    for table, rate in zip(tables, believed.draw(rng), strict=True):
        more = np.zeros((len(rounds), width), dtype=bool)
        more[:, : min(width, table.shape[1])] = table[:, :width]
        fresh = rng.random((len(index), width)) < rate[:, None]
        known = np.arange(width) < rounds[index, None]
        more[index] = np.where(known, more[index], fresh)
        grown.append(more)
    return look_at(*grown, rounds=goal, within=within, rules=rules, said_before=said).verdict


def sentences(document: dict[str, Any], names: tuple[str, str]) -> list[str]:
    """The plan in lines for the terminal."""
    evidence = document["evidence"]
    spans = document["draws_a_side"]
    span = f"{spans['min']:,}" if spans["min"] == spans["max"] else f"{spans['min']:,} to {spans['max']:,}"
    lines = [
        f"{document['verdict']} so far, within {document['within']:,} draws, after {span} draws a side of "
        f"{document['problems']:,} problems ({names[0]} against {names[1]}).",
        f"Evidence for a gain {evidence['gain']:.3g} : 1 and for a loss {evidence['loss']:.3g} : 1; a word needs "
        f"{document['needed']:.3g} : 1, whenever you look.",
    ]
    if spans["unused"]:
        lines.append(f"{spans['unused']:,} draws have no partner on the other side and are not used.")
    open_ = document["open_problems"]
    solved = document["problems"] - len(open_)
    lines.append(f"{solved:,} problems are solved by both sides and need no further draw; {len(open_):,} are open.")
    if open_:
        best = ", ".join(row["problem_id"] for row in open_[:5])
        lines.append(f"A further round says most on {best}{', ...' if len(open_) > 5 else ''}.")
    for future in document["futures"]:
        words = ", ".join(f"{word} {share:.0%}" for word, share in future["words"].items() if word != "inconclusive")
        lines.append(
            f"With {future['times']} times the draws of the open problems ({future['further_draws_a_side']:,} more a "
            f"side) the word would be decided in {future['decided']:.0%} of futures" + (f": {words}." if words else ".")
        )
    return lines
