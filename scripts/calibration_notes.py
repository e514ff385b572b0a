"""What stands above each table of docs/calibration.md."""

from __future__ import annotations

TITLES = {
    "false": "Words that are not true: one law, or a law without gains or losses",
    "benchmarks": "False words over several benchmarks",
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
    "looks": "A verdict that is looked at after every batch",
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
    "benchmarks": (
        "One model drawn twice on five benchmarks. Share of audits with a false word of any of them (after Holm), and "
        "of the pooled problems; targets at most 5 %."
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
    "looks": (
        "Fifteen looks, after 16, 24, ... 128 draws a side (python -m analysis plan); only problems that not both "
        "sides have solved are drawn further (twice as far where one has), or all. Share with a false word at any "
        "look, target at most 5 %; beside it, without a target: the exact test looked at as often; the draws used, as "
        "a share of 128 of each problem; and where something is changed, how often it is found."
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
