"""The exact board of the laboratory: methods x seeds and controls, without sampling error.

Rows besides the trained methods, since without them a gain only means "we distilled" or "we drew more":

    base at T, METHOD at T     the same weights at raised temperatures
    base, compute matched      the base, given as many more draws as the training cost (see `matched_draws`)
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from explore_rl.config.loading import load_config
from explore_rl.config.schema import Config
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.files import write_atomic
from explore_rl.lab import exact, problems
from explore_rl.lab.audits import audit_of
from explore_rl.models import resolve_model

EPS = 3 / 1024  # the rule-of-three detection limit of 1,024 draws
KS = (1, 16, 1024)
HOT = (1.25, 1.5)  # raised temperatures of the controls
PASSES_A_TRAINED_TOKEN = 5  # draw 1, score 1, forward and backward 3 forward passes (of one epoch, without a KL term)


@dataclass
class Entry:
    """One row before seeds are put together. extra_draws: added to every k of pass@k (compute matched)."""

    method: str
    seed: int | None
    audit: exact.ExactAudit
    extra_draws: float = 0.0


def build(folders: Sequence[Path], controls_of: str = "grpo") -> dict[str, Any]:
    """The board of finished runs that share base model and audit problems: {"rows": [...], "runs": [...], "settings": {...}}.

    Every run's exact audit is kept as exact_final.json in its folder and not made again. controls_of: the method that is also shown at
    raised temperatures.
    """
    configs = {folder: load_config(folder / "config.yaml") for folder in folders}
    first = configs[folders[0]]
    asked = problems.load(first.run.exact_problems)
    temperature = first.rollout.temperature
    base_path = resolve_model(first.model.path)
    base = audit_of(base_path, asked, temperature)
    entries = [Entry("base", None, base)]
    entries += [Entry(f"base at T={hot:g}", None, audit_of(base_path, asked, hot)) for hot in HOT]
    for folder, config in configs.items():
        entries.append(Entry(config.name, config.seed, final_audit(folder, asked, temperature)))
        if config.name == controls_of:
            entries += [
                Entry(f"{config.name} at T={hot:g}", config.seed, audit_of(folder / "final", asked, hot)) for hot in HOT
            ]
    draws = [matched_draws(folder, len(asked)) for folder, config in configs.items() if config.name == controls_of]
    if draws:
        entries.insert(1, Entry("base, compute matched", None, base, float(np.mean(draws))))
    runs = [figures(entry, base) for entry in entries]
    return {
        "rows": [summary(name, [r for r in runs if r["method"] == name]) for name in dict.fromkeys(r["method"] for r in runs)],
        "runs": runs,
        "training": [{"method": c.name, "seed": c.seed, "steps": RunFolder(f).records("exact.jsonl")} for f, c in configs.items()],
        "settings": {
            "base": str(first.model.path), "problems": first.run.exact_problems, "temperature": temperature, "eps": EPS, "k": list(KS),
            "passes_a_trained_token": PASSES_A_TRAINED_TOKEN,
        },
    }  # fmt: skip


def final_audit(folder: Path, asked: list, temperature: float) -> exact.ExactAudit:
    kept = folder / "exact_final.json"
    if not kept.exists():
        audit_of(folder / "final", asked, temperature).save(kept)
    return audit_of(kept, asked, temperature)


def matched_draws(folder: Path, audit_problems: int) -> float:
    """Draws a problem that the run's training would have paid for: trained samples x forward passes each, spread over the audit problems.

    Traces, and draws that taught nothing, count as much as the others, which favours the base.
    """
    trained = sum(pq.read_metadata(shard).num_rows for shard in (folder / "rollouts").glob("step-*.parquet"))
    return PASSES_A_TRAINED_TOKEN * trained / audit_problems


def figures(entry: Entry, base: exact.ExactAudit) -> dict[str, Any]:
    """One run's figures: exact pass@k, support by problem and mode at EPS, and the whole ladder.

    More draws change pass@k, not the support, which is a property of the model.
    """
    ks = [k + entry.extra_draws for k in KS]
    success = entry.audit.success
    with np.errstate(divide="ignore"):
        passes = {
            f"pass@{k}": float(np.mean(-np.expm1(real * np.log1p(-success)))) for k, real in zip(KS, ks, strict=True)
        }
    found = exact.compare(base, entry.audit)
    row: dict[str, Any] = {"method": entry.method, "seed": entry.seed, "extra_draws": entry.extra_draws, **passes}
    for unit in ("problem", "mode"):
        at = min(found["support"][unit], key=lambda r: abs(r["eps"] - EPS))
        row |= {f"{unit}_{name}": at[name] for name in ("preserved", "shrunk", "expanded", "out", "srr", "ndr")}
    row |= {f"mass_{name}": region["mass"] for name, region in found["regions"]["tuned"].items()}
    for name, ladder in found["support_by_region"].items():
        at = min(ladder, key=lambda r: abs(r["eps"] - EPS))
        row |= {f"{name}_modes_held": at["preserved"] + at["expanded"], f"{name}_modes_expanded": at["expanded"]}
    return row | {"support": found["support"], "pass_at_k": found["pass_at_k"]["tuned"]}


def summary(method: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean, least and largest of every figure over the runs of a method that have it. With few runs: the range, and no p-value.

    A rate without a denominator is None in its run; where all runs lack it, so is the figure.
    """
    names = [
        name for name, value in runs[0].items() if name != "seed" and (value is None or isinstance(value, (int, float)))
    ]
    row: dict[str, Any] = {"method": method, "runs": len(runs)}
    for name in names:
        values = [r[name] for r in runs if r[name] is not None]
        row[name] = (
            {"mean": float(np.mean(values)), "low": float(min(values)), "high": float(max(values)), "runs": len(values)}
            if values
            else None
        )
    return row


COLUMNS = (  # heading, figure, format
    ("pass@1", "pass@1", "{:.3f}"), ("@16", "pass@16", "{:.3f}"), ("@1024", "pass@1024", "{:.3f}"),
    ("SRR mode", "mode_srr", "{:.3f}"), ("NDR mode", "mode_ndr", "{:.3f}"), ("S mode", "mode_shrunk", "{:.0f}"), ("E mode", "mode_expanded", "{:.0f}"),
    ("SRR prob", "problem_srr", "{:.3f}"), ("S prob", "problem_shrunk", "{:.0f}"), ("E prob", "problem_expanded", "{:.0f}"),
    ("left-out mass", "mass_division", "{:.1e}"), ("rare mass", "mass_product_of_sum", "{:.1e}"),
)  # fmt: skip


def cells(row: dict[str, Any]) -> list[str]:
    """A summary row as text: the mean, and the range where there are several runs."""
    found = [row["method"] + (f" ({row['runs']} runs)" if row["runs"] > 1 else "")]
    for _, name, form in COLUMNS:
        value = row[name]
        if value is None:
            found.append("-")
        elif row["runs"] > 1:
            of = f", {value['runs']} runs" if value["runs"] < row["runs"] else ""
            found.append(
                f"{form.format(value['mean'])} [{form.format(value['low'])}, {form.format(value['high'])}{of}]"
            )
        else:
            found.append(form.format(value["mean"]))
    return found


def markdown(board: dict[str, Any]) -> str:
    head = ["method", *(heading for heading, _, _ in COLUMNS)]
    lines = [head, ["---"] + ["---:"] * len(COLUMNS), *(cells(row) for row in board["rows"])]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def text_table(board: dict[str, Any]) -> str:
    """For the terminal: means only, so that it fits a screen."""
    rows = [["method", *(heading for heading, _, _ in COLUMNS)]]
    rows += [
        [row["method"], *("-" if row[n] is None else f.format(row[n]["mean"]) for _, n, f in COLUMNS)]
        for row in board["rows"]
    ]
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True)))
        for r in rows
    )


def draw(board: dict[str, Any], target: Path) -> None:
    """One picture: exact pass@k, modes lost and gained, and the mass of the left-out region over training. Methods only, no raised temperatures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [r for r in board["rows"] if " at T=" not in r["method"] and "matched" not in r["method"]]
    colours = {row["method"]: "black" if row["method"] == "base" else f"C{i - 1}" for i, row in enumerate(rows)}
    figure, (curves, support, mass) = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    for name, colour in colours.items():
        runs = [r["pass_at_k"] for r in board["runs"] if r["method"] == name]
        ks = sorted(runs[0], key=int)
        values = np.array([[run[k] for k in ks] for run in runs])
        x = [int(k) for k in ks]
        curves.plot(
            x, values.mean(0), color=colour, linestyle="--" if name == "base" else "-", label=name, linewidth=1.8
        )
        curves.fill_between(x, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
    curves.set(xscale="log", xlabel="k", title="exact pass@k (shade: range over seeds)")
    curves.legend(fontsize=7)
    methods = [row for row in rows if row["method"] != "base"][::-1]
    for name, sign, shade in (("mode_shrunk", -1, "tab:red"), ("mode_expanded", 1, "tab:green")):
        means = np.array([row[name]["mean"] for row in methods])
        ends = np.abs(
            np.array(
                [[row[name]["mean"] - row[name]["low"], row[name]["high"] - row[name]["mean"]] for row in methods]
            ).T
        )
        support.barh(
            [row["method"] for row in methods],
            sign * means,
            color=shade,
            xerr=ends if sign > 0 else ends[::-1],
            ecolor="grey",
            capsize=2,
        )
    support.axvline(0, color="black", linewidth=0.8)
    support.set(xlabel="solution modes", title=f"lost (red) and gained (green), eps = {board['settings']['eps']:.4f}")
    support.tick_params(axis="y", labelsize=8)
    for training in board["training"]:
        steps = training["steps"]
        mass.semilogy(
            [r["step"] for r in steps],
            [max(r["regions"]["division"], 1e-15) for r in steps],
            color=colours.get(training["method"], "grey"),
            linewidth=1.2,
        )
    mass.set(xlabel="step", title="mass of the left-out region (division), every run")
    for axis in (curves, support, mass):
        axis.grid(alpha=0.3)
    figure.savefig(target, dpi=110)
    plt.close(figure)


def write(board: dict[str, Any], out: Path) -> None:
    """board.json, board.md, board.csv (one line a run) and board.png."""
    draw(board, out / "board.png")
    exact.write_json(out / "board.json", board)
    write_atomic(out / "board.md", markdown(board))
    flat = [{k: v for k, v in run.items() if not isinstance(v, (dict, list))} for run in board["runs"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(flat[0]))
    writer.writeheader()
    writer.writerows(flat)
    write_atomic(out / "board.csv", text.getvalue())


def is_laboratory(config: Config) -> bool:
    return config.problems.train.startswith(problems.PREFIX)
