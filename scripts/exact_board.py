#!/usr/bin/env python3
"""Exact figures of the runs of a sweep, one line a run, and the table of a page: what is there, and what is missing.

    scripts/exact_board.py configs/lab/unleashed_arms.yaml --runs runs/unleashed --split final --page docs/unleashed.md

Writes docs/unleashed.csv beside the page, and puts table and bars between the marks <!-- rows --> and
<!-- end of rows --> of the page. A run's audit is kept in its folder and not made again. Unfinished runs are named on
the page. With runs that were made again, the rows are the same bit for bit.

--controls METHOD adds what its models can do without any training: other temperatures, weights between base and model,
one draw of the model and the rest the base's. --curve METHOD... draws docs/pictures/unleashed_transfer.png: the
probability of each correct mode after training against that before, with docs/unleashed_transfer.csv.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from analysis.errors import InputError
from analysis.figures import save
from explore_rl.experiments import free_controls, transfer_curve
from explore_rl.experiments.board import draws
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.experiments.sweeps import finished, load_sweep
from explore_rl.files import write_atomic
from explore_rl.lab import problems
from explore_rl.lab.audits import audit_of
from explore_rl.lab.exact import ExactAudit
from explore_rl.models import resolve_model

EPS = 3 / 1024
LADDER = {"eps/4": EPS / 4, "eps": EPS, "4eps": 4 * EPS}
KS = (1, 4, 16, 64, 256, 1024)
LEFT_OUT, RARE = "division", "product_of_sum"
BEGIN, END = "<!-- rows -->", "<!-- end of rows -->"
SHOWN = {  # column of the CSV -> head of the page's table, and its form
    "pass@1": ("pass@1", ".3f"),
    "pass@16": ("@16", ".3f"),
    "pass@1024": ("@1024", ".3f"),
    "mode_srr@eps": ("SRR mode", ".3f"),
    "mode_S@eps": ("S mode", ".0f"),
    "mode_E@eps": ("E mode", ".0f"),
    "problem_S@eps": ("S problem", ".0f"),
    "left_out_reached": ("left-out modes reached", ".3f"),
    "left_out_mass": ("left-out mass", ".1e"),
    "rare_mass": ("rare mass", ".1e"),
    "draws": ("draws", ".0f"),
}


@dataclass(frozen=True)
class Run:
    """A finished run: its method, seed and figures; of the base seed is None."""

    method: str
    seed: int | None
    figures: dict[str, float]


def figures(audit: ExactAudit, base: ExactAudit) -> dict[str, float]:
    """Exact pass@k, and P, S, E by mode and by problem at three thresholds, against the base."""
    found = {f"pass@{k}": value for k, value in audit.pass_at_k(KS).items()}
    for unit in ("mode", "problem"):
        before, after = base.probabilities(unit), audit.probabilities(unit)
        for name, eps in LADDER.items():
            had, has = before > eps, after > eps
            kept, gained = int((had & has).sum()), int((~had & has).sum())
            found |= {f"{unit}_P@{name}": kept, f"{unit}_S@{name}": int((had & ~has).sum()), f"{unit}_E@{name}": gained}
            found[f"{unit}_srr@{name}"] = kept / max(1, int(had.sum()))
            found[f"{unit}_ndr@{name}"] = gained / max(1, int(has.sum()))
    left_out = np.array(audit.index.regions) == LEFT_OUT
    regions = audit.regions()
    found["left_out_reached"] = float((audit.mode_probabilities[left_out] > EPS).mean())
    return found | {"left_out_mass": regions[LEFT_OUT]["mass"], "rare_mass": regions[RARE]["mass"]}


@dataclass
class Rows:
    """What was read: the base first, then every finished run; methods of missing runs; audits by method, base aside."""

    runs: list[Run]
    missing: list[str]
    base: ExactAudit
    audits: dict[str, list[ExactAudit]]


def read(sweep: Path, runs: Path | None, *, split: str, controls: str | None = None) -> Rows:
    """The base and every finished run of the sweep, and free controls of one method.

    Raises InputError without any finished run.
    """
    configs = load_sweep(sweep, output=None if runs is None else str(runs)).configs
    done = [config for config in configs if finished(config)]
    if not done:
        raise InputError(f"{sweep}: none of its runs is finished; run: explore-rl sweep {sweep} --no-compare")
    asked = problems.load(f"lab:countdown?level=3&split={split}&size=500")
    temperature = done[0].rollout.temperature
    base_folder = resolve_model(done[0].model.path)
    base = audit_of(base_folder, asked, temperature=temperature)
    no_cost = {"draws": 0, "completion_tokens": 0, "seconds": 0.0}
    found = Rows([Run("base", None, figures(base, base) | no_cost)], [], base, {})
    # Of the base alone a control is another temperature.
    for other in free_controls.TEMPERATURES if controls else ():
        audit = audit_of(base_folder, asked, temperature=other)
        found.runs.append(Run(f"base at T={other:g}", None, figures(audit, base) | no_cost))
    for config in done:
        folder = Path(config.run.output)

        def audited(name: str, *, at: float = temperature, share: float = 1.0, of: Path = folder) -> ExactAudit:
            path = of / f"exact_on_{split}{name}.json"
            return free_controls.kept(path, asked, temperature=at, model=of / "final", base=base_folder, share=share)

        audit = audited("")
        found.audits.setdefault(config.name, []).append(audit)
        cost = cost_of(folder)
        found.runs.append(Run(config.name, config.seed, figures(audit, base) | cost))
        if config.name != controls:
            continue
        others = {
            f"{controls} at T={other:g}": audited(f"_at_{other:g}", at=other) for other in free_controls.TEMPERATURES
        }
        others |= {
            f"{share:g} from base to {controls}": audited(f"_between_{share:g}", share=share)
            for share in free_controls.SHARES
        }
        found.runs += [Run(name, config.seed, figures(one, base) | cost) for name, one in others.items()]
        # In the split all draws but one are the base's, and so is its support.
        at_k = {f"pass@{k}": value for k, value in free_controls.split_pass_at_k(base, audit, ks=KS).items()}
        name = f"split: 1 draw of {controls}, then base"
        found.runs.append(Run(name, config.seed, figures(base, base) | at_k | cost))
    found.missing = [config.name for config in configs if config not in done]
    return found


def cost_of(folder: Path) -> dict[str, float]:
    """What a run cost: draws and tokens of the engines, seconds of its steps."""
    steps = RunFolder(folder).records("metrics.jsonl")
    return {
        "draws": draws(folder),
        "completion_tokens": round(sum(s["tokens_per_second"] * s["seconds/step"] for s in steps)),
        "seconds": sum(s["seconds/step"] for s in steps),
    }


def table(runs: Sequence[Run]) -> str:
    """One line a method: mean and, of several runs, least and most."""
    heads = ["method", "runs", *(head for head, _ in SHOWN.values())]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for method in dict.fromkeys(run.method for run in runs):
        own = [run for run in runs if run.method == method]
        cells = []
        for key, (_, form) in SHOWN.items():
            values = [run.figures[key] for run in own]
            spread = f" [{min(values):{form}}, {max(values):{form}}]" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):{form}}{spread}")
        lines.append([method, str(len([run for run in own if run.seed is not None]) or ""), *cells])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def bars(method: str, runs: Sequence[Run], *, against: str, control: str | None) -> str:
    """Each figure of bars A and B for `method`: met or not, by seed. against: GRPO. control: SFT on the same traces."""
    own, theirs = ([run.figures for run in runs if run.method == name] for name in (method, against))
    if not own or not theirs:
        return f"- **{method}**: no run yet\n"
    gap = _least_gap([f["pass@1"] for f in own], [f["pass@1"] for f in theirs])
    means = "one-sided 95 % bound of the difference" if min(len(own), len(theirs)) > 1 else "difference, one run:"
    least = {key: min(f[key] for f in own) for key in ("mode_srr@eps", "pass@1024", "left_out_reached", "pass@1")}
    most_lost = max(f["mode_S@eps"] for f in own)
    mean = float(np.mean([f["pass@1"] for f in theirs]))
    said = [
        (
            "A",
            f"pass@1 at most .01 below {against}'s ({means} {gap:+.3f})",
            gap >= -0.01,
        ),
        ("A", f"SRR mode >= .98 in every seed (least {least['mode_srr@eps']:.3f})", least["mode_srr@eps"] >= 0.98),
        ("A", f"pass@1024 >= .98 in every seed (least {least['pass@1024']:.3f})", least["pass@1024"] >= 0.98),
        (
            "A",
            f"75 % of the left-out modes reached in every seed (least {least['left_out_reached']:.3f})",
            least["left_out_reached"] >= 0.75,
        ),
    ]
    compared = [run.figures for run in runs if run.method == control]
    for k in (1, 4, 16, 1024) if compared else ():
        ours, sft = (float(np.mean([f[f"pass@{k}"] for f in of])) for of in (own, compared))
        wanted = "at most .01 below" if k == 1024 else "above"
        is_met = ours >= sft - 0.01 if k == 1024 else ours > sft
        said.append(("A", f"mean pass@{k} {wanted} {control}'s ({ours:.3f}, {sft:.3f})", is_met))
    lost_problems = max(f["problem_S@eps"] for f in own)
    said += [
        (
            "B",
            f"pass@1 >= {against}'s mean {mean:.3f} in every seed (least {least['pass@1']:.3f})",
            least["pass@1"] >= mean,
        ),
        ("B", f"at most one of the base's modes lost (most {most_lost})", most_lost <= 1),
        ("B", f"no problem lost (most {lost_problems})", lost_problems == 0),
        ("B", f"95 % of the left-out modes (least {least['left_out_reached']:.3f})", least["left_out_reached"] >= 0.95),
        ("B", f"pass@1024 >= .99 (least {least['pass@1024']:.3f})", least["pass@1024"] >= 0.99),
    ]
    lines = [f"    - {bar}: {'met' if is_met else '**not met**'}: {what}\n" for bar, what, is_met in said]
    return f"- **{method}**, runs: {len(own)}\n" + "".join(lines)


def _least_gap(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Lower bound of the difference of means, one-sided 95 %, Welch's t; of single runs the difference itself."""
    difference = float(np.mean(ours) - np.mean(theirs))
    if min(len(ours), len(theirs)) < 2:
        return difference
    parts = [np.var(values, ddof=1) / len(values) for values in (ours, theirs)]
    df = sum(parts) ** 2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, (ours, theirs), strict=True))
    return difference - float(stats.t.ppf(0.95, df) * np.sqrt(sum(parts)))


def write_csv(path: Path, runs: Sequence[Run]) -> None:
    text = io.StringIO()
    keys = list(runs[-1].figures)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "seed", *keys])
    for run in runs:
        writer.writerow([run.method, "" if run.seed is None else run.seed, *(run.figures[key] for key in keys)])
    write_atomic(path, text.getvalue())


def write_curves(page: Path, rows: Rows, *, methods: Sequence[str]) -> None:
    """The transfer curve as CSV beside the page and as a picture. Raises InputError for a method without a run."""
    for method in methods:
        if method not in rows.audits:
            raise InputError(f"--curve {method}: no finished run; there are {', '.join(rows.audits)}")
    curves = {method: transfer_curve.transfer(rows.base, rows.audits[method]) for method in methods}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "runs", *next(iter(curves.values()))[0]])
    for method, lines in curves.items():
        writer.writerows([method, len(rows.audits[method]), *line.values()] for line in lines)
    write_atomic(page.with_name(f"{page.stem}_transfer.csv"), text.getvalue())
    folder = page.parent / "pictures"
    folder.mkdir(exist_ok=True)
    _, picture = save(transfer_curve.figure(curves, eps=EPS), folder / f"{page.stem}_transfer")
    picture.with_suffix(".svg").unlink()  # pages show the PNG


def into_page(path: Path, block: str) -> None:
    """Raises InputError if the page lacks the marks."""
    text = path.read_text()
    if BEGIN not in text or END not in text:
        raise InputError(f"{path}: expected the marks {BEGIN} and {END}")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    write_atomic(path, f"{before}{BEGIN}\n{block}{END}{after}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--runs", type=Path, help="folder of the runs; default: the sweep's")
    parser.add_argument("--split", default="audit", choices=("audit", "final"), help="default: %(default)s")
    parser.add_argument("--page", type=Path, required=True, help="its CSV stands beside it, with the same name")
    parser.add_argument(
        "--bars", nargs="*", default=[], metavar="METHOD[:SFT]", help="methods held against bars A and B, and controls"
    )
    parser.add_argument("--controls", metavar="METHOD", help="the method whose free controls are shown")
    parser.add_argument("--curve", nargs="*", default=[], metavar="METHOD", help="methods of the transfer curve")
    given = parser.parse_args(arguments)
    try:
        rows = read(given.sweep, given.runs, split=given.split, controls=given.controls)
        into_page(given.page, block(rows, given))
        write_csv(given.page.with_suffix(".csv"), rows.runs)
        if given.curve:
            write_curves(given.page, rows, methods=given.curve)
    except InputError as error:
        print(f"exact_board: error: {error}", file=sys.stderr)
        return 2
    return 0


def block(rows: Rows, given: argparse.Namespace) -> str:
    """What stands between the page's marks."""
    said = f"Split `{given.split}`, eps = 3/1024; mean [least, most] over seeds.\n\n{table(rows.runs)}"
    if rows.missing:
        planned = len(rows.missing) + sum(map(len, rows.audits.values()))
        lacking = ", ".join(f"{method} {count}" for method, count in Counter(rows.missing).items())
        said = f"**Rows missing**, {len(rows.missing)} of {planned} runs: {lacking}.\n\n{said}"
    for entry in given.bars:
        method, _, control = entry.partition(":")
        said += "\n" + bars(method, rows.runs, against="grpo", control=control or None)
    return said


if __name__ == "__main__":
    sys.exit(main())
