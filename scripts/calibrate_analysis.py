"""Are the intervals, certificates and verdicts of `analysis` as sure as they say? Simulated models with known success
probabilities.

    python scripts/calibrate_analysis.py > docs/calibration.md    # the full run, some minutes
    python scripts/calibrate_analysis.py --simulations 100        # a quick look
    python scripts/calibrate_analysis.py --only differences modes        # some tables only

Exits with 1 if a target is missed by more than the simulation's own error (two standard errors).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from calibrate_runs import excluded_zeros, false_boards
from calibration_draws import CLUSTERED, MODE_DRAWS, SKEWED, cluster_verdicts, mode_verdicts, skewed_coverage
from calibration_kit import SHAPES, Line, table
from tqdm import tqdm

from analysis.certified import certify, default_eps
from analysis.counts import Counts
from analysis.crossing import find_crossing
from analysis.curves import pass_at_tokens
from analysis.draws_only import Estimate, difference_interval, draws_only_interval
from analysis.intervals import PSEUDO_BASE, PSEUDO_DIFFERENCE, Bootstrap, clopper_pearson
from analysis.lucky import null_above
from analysis.pass_at_k import pass_at_k
from analysis.verdict import VERDICTS, Rules, judge, judge_counts, judge_folds


def sharpened(p: np.ndarray, power: float = 2.0) -> np.ndarray:
    """A tuned model that is surer of what the base half knows and loses its rare successes: odds to a power, about p =
    0.2."""
    with np.errstate(divide="ignore"):
        odds = (p / np.maximum(1 - p, 1e-12) / 0.25) ** power * 0.25
    return odds / (1 + odds)


def planted(
    p: np.ndarray, rng: np.random.Generator, *, gained: float = 0.0, lost: float = 0.0, at: float = 0.05
) -> tuple[np.ndarray, np.ndarray]:
    """(base, tuned): shares of the problems go from 0 to `at`, and from `at` to 0; the rest stay as they are."""
    order = rng.permutation(len(p))
    size = len(p)
    base = p.copy()
    tuned = p.copy()
    up = order[: round(gained * size)]
    down = order[round(gained * size) : round((gained + lost) * size)]
    base[up] = 0.0
    tuned[up] = at
    base[down] = at
    tuned[down] = 0.0
    return base, tuned


def discovering(p: np.ndarray, rng: np.random.Generator, *, share: float = 0.02, at: float = 0.1) -> tuple:
    """(base, tuned): `share` of the problems go from 0 to `at` and the rest is sharpened (odds to 1.3 about .2): a loss
    at the edge beside a true gain."""
    base, tuned = planted(p, rng, gained=share, at=at)
    return base, np.where(tuned == base, sharpened(base, 1.3), tuned)


def sped_up(p: np.ndarray, factor: np.ndarray | float) -> np.ndarray:
    """The same problems at `factor` times the odds: faster, and not wider."""
    odds = factor * p / np.maximum(1 - p, 1e-12)
    return np.where(p < 1, odds / (1 + odds), 1.0)


SPEED_UPS = {  # what changes the odds -> (factors, the fold that must not be refuted)
    "odds doubled, at F = 2": (lambda rng, size: np.full(size, 2.0), 2.0),
    "log-odds shaken by sd .5, at F = 4": (lambda rng, size: np.exp(rng.normal(0, 0.5, size)), 4.0),
}
HIDDEN = {  # true gains beside losses at the edge
    "2 % from 0 to .1, rest sharpened": lambda p, rng: discovering(p, rng, share=0.02, at=0.1),
    "2 % from 0 to .5, rest sharpened": lambda p, rng: discovering(p, rng, share=0.02, at=0.5),
    "5 % from 0 to .02, rest sharpened": lambda p, rng: discovering(p, rng, share=0.05, at=0.02),
}

# (base, tuned) for which the share of each verdict is stated
SCENARIOS = {
    "gain: 5 % of problems from 0 to .05": lambda p, rng: planted(p, rng, gained=0.05),
    "loss: 5 % of problems from .05 to 0": lambda p, rng: planted(p, rng, lost=0.05),
    "loss: 2 % of problems from .05 to 0": lambda p, rng: planted(p, rng, lost=0.02),
    "trade: 5 % gained, 5 % lost": lambda p, rng: planted(p, rng, gained=0.05, lost=0.05),
    "rare gain: 5 % from 0 to .002": lambda p, rng: planted(p, rng, gained=0.05, at=0.002),
    "rare loss: 5 % from .002 to 0": lambda p, rng: planted(p, rng, lost=0.05, at=0.002),
    "sharpened: odds squared about .2": lambda p, rng: (p, sharpened(p)),
    "nothing changed": lambda p, rng: (p, p),
}


def coverage(
    shape: str,
    problems: int,
    simulations: int,
    rng: np.random.Generator,
    n: int = 128,
    ks: tuple[int, ...] = (1, 16, 128),
    population: int = 2_000_000,
) -> list[Line]:
    """How often intervals hold the truth: bootstrap of pass@k, of a paired difference and of the crossing (population
    of problems), and draws only.
    """
    draw = SHAPES[shape]
    ks = np.array(ks)
    many = draw(rng, population)
    every = np.arange(1, n + 1)

    edges = np.concatenate([[0], np.geomspace(1e-9, 1, 20_000)])

    def curve(p: np.ndarray) -> np.ndarray:  # mean pass@k at every k, over bins of nearly equal p
        share = np.histogram(p, bins=edges)[0] / len(p)
        total = np.histogram(p, bins=edges, weights=p)[0] / len(p)
        mean = np.divide(total, share, out=np.zeros(len(share)), where=share > 0)
        return np.array([share @ -np.expm1(step * np.log1p(-np.minimum(mean, 1 - 1e-15))) for step in every])

    truth = curve(many)
    tuned_truth = curve(sharpened(many))
    gap = tuned_truth - truth
    ahead = np.flatnonzero(gap > 0)
    crossing = int(every[ahead[-1]]) if len(ahead) and gap[-1] < 0 else None
    hits = {"crossing": 0.0, "exact": 0.0} | {
        name: np.zeros(len(ks)) for name in ("base", "difference", "fixed", "fixed difference")
    }
    table = pass_at_k(n, np.arange(n + 1), every)
    grid = np.union1d(np.geomspace(1, n, 24).round().astype(int), ks)
    fixed_trials = max(simulations // 4, 1)
    for i in range(simulations):
        if i % 20 == 0:  # the resampling noise is renewed now and then; the data every time
            bootstrap = Bootstrap.draw(problems, 500, rng=rng)
        p = draw(rng, problems)
        c = rng.binomial(n, p)
        other = rng.binomial(n, sharpened(p))
        counts = np.full(problems, n)
        low, high = bootstrap.interval(bootstrap.means(table[c][:, ks - 1], PSEUDO_BASE))
        hits["base"] += (low <= truth[ks - 1]) & (truth[ks - 1] <= high)
        difference = (table[other] - table[c])[:, grid - 1]
        replicates = bootstrap.means(difference, PSEUDO_DIFFERENCE)
        low, high = bootstrap.interval(replicates[:, np.searchsorted(grid, ks)])
        hits["difference"] += (low <= gap[ks - 1]) & (gap[ks - 1] <= high)
        low, high = clopper_pearson((c > 0).sum(), problems)
        hits["exact"] += low <= truth[-1] <= high
        if crossing is not None:
            found = find_crossing(grid, difference.mean(axis=0), replicates=replicates)
            hits["crossing"] += found.low <= crossing + 1 and (found.high is None or crossing <= found.high)
        if i < fixed_trials:
            one, two = (
                -np.expm1(ks * np.log1p(-np.minimum(x, 1 - 1e-15))[:, None]).mean(axis=0) for x in (p, sharpened(p))
            )
            before, after = (
                Estimate(table[x][:, ks - 1].mean(axis=0), *draws_only_interval(counts, x, k=ks)) for x in (c, other)
            )
            hits["fixed"] += (before.low <= one) & (one <= before.high)
            low, high = difference_interval(before, after)
            hits["fixed difference"] += (low <= two - one) & (two - one <= high)
    row = f"{shape}; {problems}"
    lines = [
        Line(row, f"pass@{k}", x / simulations, simulations, at_least=0.93)
        for k, x in zip(ks, hits["base"], strict=True)
    ]
    lines += [
        Line(row, f"difference@{k}", x / simulations, simulations, at_least=0.93)
        for k, x in zip(ks, hits["difference"], strict=True)
    ]
    lines += [Line(row, "solved, exact", hits["exact"] / simulations, simulations, at_least=0.95)]
    for name, key in (("draws only", "fixed"), ("draws only, difference", "fixed difference")):
        lines += [
            Line(row, f"{name}@{k}", x / fixed_trials, fixed_trials, at_least=0.93)
            for k, x in zip(ks, hits[key], strict=True)
        ]
    if crossing is not None:
        lines += [Line(row, "crossing", hits["crossing"] / simulations, simulations)]
    return lines


def token_coverage(shape: str, problems: int, simulations: int, rng: np.random.Generator, n: int = 128) -> list[Line]:
    """How often the intervals of pass@tokens hold the truth, where the lengths are estimates too: harder problems have
    longer completions."""
    draw = SHAPES[shape]
    many = 2_000_000
    p = draw(rng, many)
    spent = [
        (1 - p) * 600 + 400,
        (1 - sharpened(p)) * 900 + 300,
    ]  # mean length of a problem's completions, before its own luck
    lengths = [x.mean() for x in spent]
    luck = 0.7  # the luck of a problem: log-normal with mean 1
    rates = [np.quantile(x, (np.arange(20_000) + 0.5) / 20_000) for x in (p, sharpened(p))]
    hits = np.zeros((3, 3))
    for i in range(simulations):
        if i % 20 == 0:
            bootstrap = Bootstrap.draw(problems, 500, rng=rng)
        p = draw(rng, problems)
        counts = np.full(problems, n)
        shared = rng.lognormal(-(luck**2) / 2, luck, problems)
        sides = [(counts, rng.binomial(n, x)) for x in (p, sharpened(p))]
        found, _ = pass_at_tokens(
            *sides,
            lengths=[((1 - p) * 600 + 400) * shared, ((1 - sharpened(p)) * 900 + 300) * shared],
            largest=n,
            bootstrap=bootstrap,
            points=24,
        )
        at = [2, 12, 21]  # of the budgets
        truth = [
            -np.expm1(found["tokens"][at] / length * np.log1p(-np.minimum(x, 1 - 1e-15))[:, None]).mean(axis=0)
            for x, length in zip(rates, lengths, strict=True)
        ]
        for j, (side, value) in enumerate(
            (("base", truth[0]), ("tuned", truth[1]), ("difference", truth[1] - truth[0]))
        ):
            hits[j] += (found[side]["low"][at] <= value) & (value <= found[side]["high"][at])
    return [
        Line(f"{shape}; {problems}", f"{side}, {where}", hits[j, i] / simulations, simulations, at_least=0.93)
        for j, side in enumerate(("base", "tuned", "difference"))
        for i, where in enumerate(("small", "middle", "large"))
    ]


def false_verdicts(
    shape: str, problems: int, audits: int, rng: np.random.Generator, n: int = 128, n_tuned: int | None = None
) -> Line:
    """How often two draws of one and the same model are called expanded, shrank or traded."""
    wrong = 0
    for _ in range(audits):
        p = SHAPES[shape](rng, problems)
        sides = [Counts(np.full(problems, draws), rng.binomial(draws, p)) for draws in (n, n_tuned or n)]
        wrong += judge_counts(*sides).verdict in ("expanded", "shrank", "traded")
    sizes = f"n = {n}" if n_tuned is None else f"n = {n} against {n_tuned}"
    return Line(shape, f"{problems} problems, {sizes}", wrong / audits, audits, at_most=0.05)


def hidden_gain(
    shape: str, problems: int, audits: int, rng: np.random.Generator, scenario: str = "", n: int = 1024
) -> Line:
    """How often a true gain is found beside losses at the edge."""
    found = 0
    for _ in range(audits):
        base, tuned = HIDDEN[scenario](SHAPES[shape](rng, problems), rng)
        counts = np.full(problems, n)
        judged = judge_counts(Counts(counts, rng.binomial(n, base)), Counts(counts, rng.binomial(n, tuned)))
        found += judged.verdict in ("expanded", "traded")
    return Line(shape, scenario, found / audits, audits, at_least=0.95)


def refuted_folds(
    shape: str, problems: int, audits: int, rng: np.random.Generator, scenario: str = "", n: int = 128
) -> list[Line]:
    """How often a speed-up alone is said to be beyond itself (target), and how often it is called expanded at all."""
    factors, fold = SPEED_UPS[scenario]
    wrong = 0
    called = 0
    for _ in range(audits):
        p = SHAPES[shape](rng, problems)
        counts = np.full(problems, n)
        tuned = sped_up(p, factors(rng, problems))
        sides = (Counts(counts, rng.binomial(n, p)), Counts(counts, rng.binomial(n, tuned)))
        judged = judge_folds(*sides, rules=Rules(fold=fold))
        wrong += max(judged.gain_fold or 0, judged.loss_fold or 0) >= fold
        called += judged.verdict in ("expanded", "traded")
    return [
        Line(shape, scenario, wrong / audits, audits, at_most=0.05),
        Line(shape, f"{scenario}: expanded within {n} draws", called / audits, audits),
    ]


FALSE_POSITIVES = ((0.001, 0.001), (0.001, 0.0003), (0.003, 0.001), (0.01, 0.003))  # of base and tuned


def lucky_verdicts(
    shape: str,
    problems: int,
    audits: int,
    rng: np.random.Generator,
    rates: tuple[float, float] = (0.0, 0.0),
    n: int = 128,
) -> list[Line]:
    """How often equal models under such verifiers are called changed, with the rates given and without."""
    wrong = 0
    blind = 0
    for _ in range(audits):
        p = SHAPES[shape](rng, problems)
        counts = np.full(problems, n)
        base, tuned = (Counts(counts, rng.binomial(n, p + (1 - p) * rate)) for rate in rates)
        changed = ("expanded", "shrank", "traded")
        wrong += judge(null_above(base, tuned, rates=rates, rules=Rules()), problems).verdict in changed
        blind += judge_counts(base, tuned).verdict in changed
    column = f"{rates[0]:g} / {rates[1]:g}, n = {n}"
    return [
        Line(shape, f"{column}, given", wrong / audits, audits, at_most=0.05),
        Line(shape, f"{column}, not given", blind / audits, audits),
    ]


def fold_power(shape: str, problems: int, audits: int, rng: np.random.Generator, at: float = 0.1, n: int = 128) -> Line:
    """How often 5 % of problems from 0 to `at` are said to be beyond a speed-up of 4."""
    found = 0
    for _ in range(audits):
        base, tuned = planted(SHAPES[shape](rng, problems), rng, gained=0.05, at=at)
        counts = np.full(problems, n)
        judged = judge_folds(Counts(counts, rng.binomial(n, base)), Counts(counts, rng.binomial(n, tuned)))
        found += (judged.gain_fold or 0) >= 4
    return Line(shape, f"5 % from 0 to {at:g}", found / audits, audits)


def certified_errors(
    shape: str, scenario: str, simulations: int, rng: np.random.Generator, problems: int = 500, n: int = 1024
) -> list[Line]:
    """Mean share of wrong members in each certified category (the false discovery rate), at the default eps."""
    eps = default_eps(n, problems)
    wrong = np.zeros(4)
    for _ in range(simulations):
        base, tuned = SCENARIOS[scenario](SHAPES[shape](rng, problems), rng)
        counts = np.full(problems, n)
        certificate = certify(Counts(counts, rng.binomial(n, base)), Counts(counts, rng.binomial(n, tuned)), eps=eps)
        above_b = base > eps
        above_t = tuned > eps
        truth = np.select([above_b & above_t, above_b, above_t], [0, 1, 2], 3)
        for category in range(4):
            claimed = certificate.category == category
            wrong[category] += (truth[claimed] != category).mean() if claimed.any() else 0.0
    names = ("preserved", "shrunk", "expanded", "out")
    return [
        Line(f"{shape}; {scenario}", name, w / simulations, simulations, at_most=0.05)
        for name, w in zip(names, wrong, strict=True)
    ]


def verdict_shares(
    shape: str, scenario: str, audits: int, rng: np.random.Generator, problems: int = 500, n: int = 1024
) -> dict[str, float]:
    """Share of each verdict over `audits` audits of 500 problems."""
    found: dict[str, int] = {}
    for _ in range(audits):
        base, tuned = SCENARIOS[scenario](SHAPES[shape](rng, problems), rng)
        counts = np.full(problems, n)
        verdict = judge_counts(Counts(counts, rng.binomial(n, base)), Counts(counts, rng.binomial(n, tuned))).verdict
        found[verdict] = found.get(verdict, 0) + 1
    return {verdict: count / audits for verdict, count in found.items()}


def run_differences(
    shape: str,
    runs: int,
    boards: int,
    rng: np.random.Generator,
    sds: tuple[float, ...] = (0.0, 0.0),
    target: bool = True,
) -> list[Line]:
    """Methods of one law with `runs` runs each: how often the interval of a difference excludes 0."""
    found = excluded_zeros(SHAPES[shape], boards, rng=rng, runs=runs, sds=sds)
    spread = f"seed sd {sds[0]:g}" if len(set(sds)) == 1 else f"seed sd {sds[0]:g}, one of {sds[-1]:g}"
    return [
        Line(
            f"{len(sds)} methods, {runs} runs, {spread}",
            column,
            share,
            boards,
            at_most=0.05 if target and "fixed" not in column else None,
        )
        for column, share in found.items()
    ]


def method_boards(
    shape: str,
    problems: int,
    boards: int,
    rng: np.random.Generator,
    methods: int = 20,
    runs: int = 3,
    sd: float = 0.0,
    scenario: str | None = None,
) -> list[Line]:
    """Boards of methods that are the base itself (but for the first, where a scenario is given): any false word."""
    change = None if scenario is None else SCENARIOS[scenario]
    found = false_boards(
        SHAPES[shape], boards, rng=rng, methods=methods, runs=runs, sd=sd, problems=problems, change=change
    )
    beside = f"; the first: {scenario}" if scenario else ""
    row = f"{shape}; {problems} problems; {methods} methods, {runs} runs, seed sd {sd:g}{beside}"
    targets = {"words of methods": 0.05}
    return [Line(row, column, share, boards, at_most=targets.get(column)) for column, share in found.items()]


PREAMBLE = """# How sure is the analysis? Calibration by simulation

Printed by `python scripts/calibrate_analysis.py`: models with known success probabilities are sampled, and what
`analysis` says of the samples is compared with what is true. A target counts as missed when it is missed by more than
two standard errors of the simulation."""
NOTES = {
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
    "skewed": (
        "Share of simulations in which the interval of a mean over problems holds the truth: bootstrap-t, and the "
        "plain percentile interval. Target of the former: at least 92 %, with 10 problems 90 %."
    ),
    "false": (
        "Share of audits with a false alarm; target at most 5 %. The exact test is conservative where few problems can "
        "change sides."
    ),
    "certified": (
        "Mean share of wrong members of each category at the default eps, ln(20 M)/n = 0.009; target at most 5 %."
    ),
    "found": "5 % of the problems go from p = 0 to p = .05; target at least 95 %.",
    "hidden": (
        "A true gain beside losses at the edge: some problems go from 0 to a success probability, the rest is "
        "sharpened (odds to the power 1.3 about .2). Share called expanded or traded; target at least 95 %."
    ),
    "faster": (
        "Every problem that the base can solve at all is only solved faster. Share in which the change is said to be "
        "beyond that speed-up; target at most 5 %. Beside it, without a target: called expanded or traded, which is "
        "true within so many draws."
    ),
    "lucky": (
        "Equal models whose verifiers accept wrong draws at rates of base / tuned: called expanded, shrank or traded "
        "with --false-positive-rate (target at most 5 %), and without it (no target)."
    ),
    "clusters": (
        "Two sets of draws of one model, in clusters (seeds) of 8 draws that agree with each other: correlated within "
        "problems, or better and worse throughout. Share called expanded, shrank or traded as the audit relabels them "
        "(target at most 5 %), and where draws are relabelled one by one, as if they were independent (no target); and "
        "how often clusters are noticed."
    ),
    "cluster power": "5 % of the problems go from 0 to .5 in clusters with correlation .1. No target: what to expect.",
    "modes": (
        "Two draws of one model, problems with 8 modes (Dirichlet, .5). Share called expanded, shrank or traded by "
        "mode; target at most 5 %. Beside it, means of SRR and NDR of modes as they are seen, and at a common k: what "
        "no change at all looks like (no target)."
    ),
    "mode power": "5 % of the modes are lost, the rest of their problem takes over. No target: what to expect.",
    "differences": (
        "Methods of one law, compared on 200 problems, 64 draws each; a run's log-odds are moved by one draw from N(0, "
        "sd^2), its seed. Share of boards in which the 95 % interval of the difference of the last method to the first "
        "excludes 0; target at most 5 %. Beside it, without a target: the same interval over problems alone. The last "
        "rows have one method whose runs differ four times as much as the others' (no target: variances pooled over "
        "few runs cannot see that at once)."
    ),
    "boards": (
        "Methods that are the base itself, 128 draws a side, on one draw of the base. Share of boards with any false "
        "word (expanded, shrank, traded) of a method, after Holm over the methods; target at most 5 %. Beside it, "
        "without a target: any such word of a run alone, uncorrected; and where the first method is changed, how often "
        "it is called expanded or traded."
    ),
    "fold power": "Share in which the gain is said to be beyond a speed-up of 4. No target: what to expect.",
    "power": "No target: what to expect.",
}


def run_job(job: tuple, seed: np.random.SeedSequence):
    """One cell of the tables, with its own random numbers: job is (function, its arguments but for rng, which comes
    fourth)."""
    function, what, size, simulations, *more = job
    return function(what, size, simulations, np.random.default_rng(seed), *more)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--simulations", type=int, default=1000, help="simulated data sets, and audits, a row (default: 1000)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of all simulations, whatever the number of workers (default: 0)"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[name for name in NOTES if name != "found"],
        help="only these tables (default: all)",
    )
    args = parser.parse_args()
    simulations = args.simulations
    began = time.monotonic()
    last = list(SHAPES)[-1]
    hard = ["half zero, half Beta(.3, 2)", "near zero Beta(.1, 10)", "around .01: log-uniform, .003 to .03"]
    backgrounds = [last, "half zero, half Beta(.3, 2)"]
    jobs = {
        ("intervals", shape, problems): (coverage, shape, problems, simulations)
        for problems in (500, 100)
        for shape in SHAPES
    }
    jobs |= {
        ("tokens", shape, problems): (token_coverage, shape, problems, simulations // 4)
        for problems in (500, 100)
        for shape in (hard[0], last)
    }
    jobs |= {
        ("false", shape, problems): (false_verdicts, shape, problems, simulations)
        for problems in (30, 500)
        for shape in SHAPES
    }
    jobs |= {("false", last, "unequal"): (false_verdicts, last, 500, simulations, 512, 128)}
    jobs |= {("hidden", b, s): (hidden_gain, b, 500, simulations // 2, s) for b in backgrounds for s in HIDDEN}
    jobs |= {
        ("lucky", b, rates, n): (lucky_verdicts, b, 500, simulations // 4, rates, n)
        for b in backgrounds
        for rates in FALSE_POSITIVES
        for n in (128, 1024)
    }
    jobs |= {("faster", s, b): (refuted_folds, b, 500, simulations // 2, s) for s in SPEED_UPS for b in SHAPES}
    jobs |= {
        ("fold power", b, at): (fold_power, b, 500, simulations // 2, at)
        for b in backgrounds
        for at in (0.02, 0.1, 0.5)
    }
    jobs |= {
        ("certified", shape): (certified_errors, shape, "trade: 5 % gained, 5 % lost", simulations // 2)
        for shape in hard
    }
    jobs |= {("power", b, s): (verdict_shares, b, s, simulations // 2) for b in backgrounds for s in SCENARIOS}
    jobs |= {
        ("differences", count, runs, sd): (run_differences, last, runs, simulations, (sd,) * count)
        for count in (2, 5)
        for runs in (2, 3, 5)
        for sd in (0.0, 0.1, 0.2)
    }
    jobs |= {
        ("differences", 5, runs, "unequal"): (run_differences, last, runs, simulations, (0.1,) * 4 + (0.4,), False)
        for runs in (2, 3, 5)
    }
    jobs |= {("boards", last, m): (method_boards, last, m, simulations // 4) for m in (100, 500)}
    jobs |= {
        ("boards", hard[0], 100, sd): (method_boards, hard[0], 100, simulations // 4, 20, 3, sd) for sd in (0.0, 0.2)
    }
    jobs |= {("boards", last, 100, sd): (method_boards, last, 100, simulations // 4, 20, 3, sd) for sd in (0.2,)}
    jobs |= {
        ("boards", last, 500, runs): (method_boards, last, 500, simulations // 10, 5, runs, 0.1, next(iter(SCENARIOS)))
        for runs in (2, 3, 5)
    }
    jobs |= {
        ("clusters", b, problems, *how): (cluster_verdicts, b, problems, simulations // 4, *how)
        for b in backgrounds
        for problems in (30, 200)
        for how in CLUSTERED
    }
    jobs |= {
        ("cluster power", b, clusters): (cluster_verdicts, b, 200, simulations // 4, 0.1, 0.0, clusters, 0.05)
        for b in backgrounds
        for clusters in (4, 16)
    }
    jobs |= {
        ("modes", b, problems, n): (mode_verdicts, b, problems, simulations // 4, n)
        for b in backgrounds
        for problems in (30, 200)
        for n in MODE_DRAWS
    }
    jobs |= {
        ("mode power", b, problems, n): (mode_verdicts, b, problems, simulations // 10, n, 0.05)
        for b in backgrounds
        for problems in (30, 200)
        for n in MODE_DRAWS[:2]
    }
    jobs |= {
        ("skewed", name, problems): (skewed_coverage, name, problems, simulations)
        for name in SKEWED
        for problems in (10, 30, 100)
    }
    seeds = dict(zip(jobs, np.random.SeedSequence(args.seed).spawn(len(jobs)), strict=True))
    jobs = {key: job for key, job in jobs.items() if not args.only or key[0] in args.only}
    with ProcessPoolExecutor(args.workers) as pool:
        futures = {key: pool.submit(run_job, job, seeds[key]) for key, job in jobs.items()}
        for _ in tqdm(as_completed(futures.values()), total=len(futures), desc="calibrating", disable=None):
            pass
    done = {key: future.result() for key, future in futures.items()}

    def of(name: str) -> list[Line]:
        parts = [done[key] for key in jobs if key[0] == name]
        return [line for part in parts for line in (part if isinstance(part, list) else [part])]

    shares = {key[1:]: done[key] for key in jobs if key[0] == "power"}
    gain = next(iter(SCENARIOS))
    called = {b: sum(shares[b, gain].get(v, 0) for v in ("expanded", "traded")) for b in backgrounds if shares}
    found = [
        Line(b, "called expanded or traded", share, simulations // 2, at_least=0.95) for b, share in called.items()
    ]
    power = [
        Line(f"{b}; {s}", v, row.get(v, 0.0), simulations // 2) for (b, s), row in shares.items() for v in VERDICTS
    ]
    size = "500 problems, 1,024 draws a side"
    shown = [
        ("intervals", "Coverage of 95 % intervals, 128 draws a problem", of("intervals")),
        ("tokens", "Coverage over a budget of tokens, 128 draws a problem", of("tokens")),
        ("skewed", "Means of skewed quantities, 95 % intervals", of("skewed")),
        ("false", "One model drawn twice: called expanded, shrank or traded", of("false")),
        ("certified", f"Wrong members of certified categories, {size}", of("certified")),
        ("found", f"A planted expansion is found, {size}", found),
        ("hidden", f"A gain beside losses, {size}", of("hidden")),
        ("faster", "Faster is not wider, 500 problems, 128 draws a side", of("faster")),
        ("lucky", "Lucky guesses, 500 problems", of("lucky")),
        ("clusters", "Draws that are not independent, 8 draws a seed", of("clusters")),
        ("cluster power", "A gain among clustered draws, 200 problems", of("cluster power")),
        ("modes", "One model drawn twice, by mode", of("modes")),
        ("mode power", "Lost modes are found", of("mode power")),
        ("fold power", "Beyond a speed-up of 4, 500 problems, 128 draws a side", of("fold power")),
        ("differences", "Methods with several runs: differences under one law", of("differences")),
        ("boards", "Boards of methods that change nothing", of("boards")),
        ("power", f"Power: share of each verdict, {size}", power),
    ]
    print(PREAMBLE)
    for name, title, lines in shown:
        if lines:
            print("\n".join(table(title, NOTES[name], lines)))
    missed = [line for *_, lines in shown for line in lines if line.missed]
    print(
        f"\nSeed {args.seed}, {simulations} simulations, {time.monotonic() - began:.0f} s; targets "
        f"missed: {len(missed)}."
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
