"""A verdict that may be looked at after every batch of draws, and stays as sure as it says.

The exact test of analysis.null is about a number of draws that was fixed beforehand: whoever tests after each batch,
and stops at the first word, is wrong more often. Here evidence is wealth of a bet against the null, a supermartingale:
the chance that it ever reaches 1 / level is at most `level` (Ville 1939; Ramdas et al. 2023, doi 10.1214/23-STS894),
whenever one looks and stops, and whichever problems are drawn next because of what was seen.

Gain: H0 says that no problem's odds of a correct draw rose more than F-fold. The draws of a problem are taken in
rounds, one of the base with one of the tuned model, in order. A round says something where one of the two is correct:
under H0 it is the tuned model's with chance F / (1 + F) at most, under odds psi with psi / (1 + psi). Bets are placed
on problems that the base has not solved so far, so only support is at stake: a problem's stake L is the product of
these likelihood ratios up to the base's first success. Nothing is bet on the first quarter of the draws that the word
is about: what the base fails on in two draws is a matter of speed, in thirty-two it begins to be one of reach. It is
not known how many problems were gained, nor how strongly, so the wealth

    W = mean over shares pi and odds psi of  prod over problems (1 - pi + pi L(psi))

is a mixture, and a supermartingale still. Loss: the same with the sides swapped.

held: as in analysis.verdict, read at 1, 2, 4, 8, ... draws a problem only, the error of its bounds shared over these
looks (.05 / ((j + 1)(j + 2)) at 2^j draws), so that it holds at all of them together. A problem that both sides have
solved needs no further draw for any of this.

Assumption: draws are independent, and verifiers of the two sides accept wrong draws equally often.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from analysis.errors import InputError
from analysis.null import Tier, one_side_only
from analysis.records import ModelSamples
from analysis.verdict import DEFAULT_RULES, Rules, upper_rate, word

SHARES = np.array([0.01, 0.05, 0.15, 0.35, 0.7])  # of gained problems, that are bet on
WITHIN = 128  # draws a problem that the word is about
LATE = 4  # bets start after this part of them: a quarter
RATIOS = np.array([3.0, 10.0, 100.0, np.inf])  # odds beyond F-fold, that are bet on


@dataclass(frozen=True)
class Bets:
    """Rounds of each problem that count for one direction, up to the other side's first success.

    wins: int64 [..., M], rounds in which only this side is correct. lost: bool [..., M], whether the other side's first
    success came in a round in which this side failed.
    """

    wins: np.ndarray
    lost: np.ndarray

    def wealth(self, fold: float = 1.0) -> np.ndarray:
        """ln W against "odds rose at most `fold`-fold", float64 [...]."""
        ratio = fold * RATIOS
        with np.errstate(divide="ignore", invalid="ignore"):
            win = np.where(np.isinf(ratio), 1.0, ratio / (1 + ratio)) * (1 + fold) / fold
            loss = np.where(np.isinf(ratio), 0.0, 1 / (1 + ratio)) * (1 + fold)
            log_loss = np.log(loss)
        total = []
        for log_win, log_lost in zip(np.log(win), log_loss, strict=True):
            stake = self.wins * log_win + np.where(self.lost, log_lost, 0.0)
            total += [np.logaddexp(np.log1p(-share), np.log(share) + stake).sum(axis=-1) for share in SHARES]
        return special.logsumexp(np.stack(total), axis=0) - np.log(len(total))


def bets(own: np.ndarray, other: np.ndarray, *, rounds: np.ndarray, start: int = 0) -> Bets:
    """The bets that are won, and whether the last one is lost.

    own, other: bool [M, n], whether each draw is correct, in order.
    rounds: int [M], how many of them are there.
    start: rounds before which nothing is bet.

    >>> found = bets(np.array([[1, 0, 1]], bool), np.array([[0, 1, 0]], bool), rounds=np.array([3]))
    >>> found.wins.tolist(), found.lost.tolist()
    ([1], [True])
    """
    there = np.arange(own.shape[1]) < rounds[:, None]
    solved = other & there
    first = np.where(solved.any(axis=1), solved.argmax(axis=1), rounds)
    counted = (np.arange(own.shape[1]) < first[:, None]) & (np.arange(own.shape[1]) >= start)
    at = np.minimum(first, own.shape[1] - 1)
    lost = solved.any(axis=1) & (first >= start) & ~own[np.arange(len(own)), at]
    return Bets((own & counted).sum(axis=1), lost)


@dataclass(frozen=True)
class Look:
    """What may be said after the draws so far.

    verdict: the word.
    rounds: draws a side that are used, of each problem.
    wealth_gain, wealth_loss: ln W.
    gain_fold, loss_fold: largest fold that is refuted, None for none.
    upper_gain, upper_loss: bounds behind held, at 2^j draws; None where no number of draws is enough.
    """

    verdict: str
    rounds: np.ndarray
    wealth_gain: float
    wealth_loss: float
    gain_fold: float | None
    loss_fold: float | None
    upper_gain: float | None
    upper_loss: float | None


def draw_table(samples: ModelSamples) -> np.ndarray:
    """Correctness of each draw in order, bool [M, largest n]; False beyond a problem's own. Raises InputError where the
    input has counts only."""
    if samples.draws is None:
        raise InputError(f"{samples.files[0]['path']}: holds counts; looks between draws need samples, in their order")
    table = np.zeros((len(samples), int(samples.n.max())), dtype=bool)
    inside = np.arange(table.shape[1]) < samples.n[:, None]
    table[inside] = samples.draws.correct.astype(bool)
    return table


def look_at(
    base: np.ndarray,
    tuned: np.ndarray,
    *,
    rounds: np.ndarray,
    within: int = WITHIN,
    rules: Rules = DEFAULT_RULES,
    said_before: tuple[bool, bool] = (False, False),
) -> Look:
    """The word after these draws.

    base, tuned: bool [M, n], whether each draw is correct, in order.
    rounds: int [M], how many of them a side count.
    within: draws that the word is about.
    rules: the verdict's.
    said_before: whether a gain and a loss were said at an earlier look; what was said stands, since the bound is on its
        ever being said.
    """
    # bets begin late: the first draws tell which problems are open
    start = within // LATE
    width = int(rounds.max(initial=1))
    first = base[:, :width]
    second = tuned[:, :width]
    sides = (
        bets(second, first, rounds=rounds, start=start),
        bets(first, second, rounds=rounds, start=start),
    )
    wealth_gain, wealth_loss = (float(side.wealth()) for side in sides)
    # Ville: wealth that ever reaches 1 / level has at most that chance where nothing rose; so a word stands
    limit = -np.log(rules.level)
    gain = wealth_gain >= limit or said_before[0]
    loss = wealth_loss >= limit or said_before[1]
    verdict = word(0.0 if gain else 1.0, 0.0 if loss else 1.0, level=rules.level)
    upper_gain, upper_loss = _upper(first, second, rounds=rounds, rules=rules) or (None, None)
    if verdict == "inconclusive" and max(upper_gain or 1.0, upper_loss or 1.0) < rules.margin:
        verdict = "held"
    return Look(
        verdict,
        rounds,
        wealth_gain,
        wealth_loss,
        gain_fold=_reach(sides[0], rules=rules),
        loss_fold=_reach(sides[1], rules=rules),
        upper_gain=upper_gain,
        upper_loss=upper_loss,
    )


def _reach(side: Bets, *, rules: Rules) -> float | None:
    """The largest fold before the first that is not refuted."""
    reach = None
    for fold in rules.folds:
        if side.wealth(fold) < -np.log(rules.level):
            break
        reach = fold
    return reach


def _upper(base: np.ndarray, tuned: np.ndarray, *, rounds: np.ndarray, rules: Rules) -> tuple[float, float] | None:
    """Upper bounds of the shares of problems gained and lost beyond chance, at the largest 2^j draws that every problem
    has which is not solved by both sides already."""
    there = np.arange(base.shape[1]) < rounds[:, None]
    both = (base & there).any(axis=1) & (tuned & there).any(axis=1)
    least = int(rounds.min() if both.all() else rounds[~both].min())
    if least < 1:
        return None
    power = int(np.log2(least))
    here = there & (np.arange(base.shape[1]) < 2**power)
    n = np.minimum(rounds, 2**power)
    b = (base & here).sum(axis=1)
    t = (tuned & here).sum(axis=1)
    shared = replace(rules, bound=1 - (1 - rules.bound) / ((power + 1) * (power + 2)))
    chance = one_side_only(n, n, correct=b + t)
    tiers = [Tier(int((x > 0).sum()), float(chance.sum()), 1.0) for x in (t * (b == 0), b * (t == 0))]
    gain, loss = (upper_rate(tier, len(b), rules=shared) for tier in tiers)
    return gain, loss
