"""The exact board of the laboratory: methods x seeds and controls, without sampling error.

Rows besides the trained methods stand on it, since without them a gain only means "we distilled" or "we drew more":

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
from explore_rl.experiments.exact_intervals import pass_at
from explore_rl.experiments.pooling import method_names
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.files import write_atomic
from explore_rl.lab import exact, names
from explore_rl.lab.audits import audit_of
from explore_rl.models import resolve_model
from explore_rl.problems.loading import load_problems
from explore_rl.types import Problem

EPS = 3 / 1024  # the rule-of-three detection limit of 1,024 draws
KS = (1, 16, 256, 1024)
HOT = (1.25, 1.5)  # raised temperatures of the controls
PASSES_A_TRAINED_TOKEN = 5  # draw 1, score 1, forward and backward 3 forward passes (of one epoch, without a KL term)


@dataclass
class Entry:
    """One row of the board before seeds are put together.

    method: its name.
    seed: of the run; None: the base, or a control without one.
    audit: of its final weights.
    extra_draws: added to every k of pass@k (compute matched).
    draws: completions that training drew; None for the base.
    """

    method: str
    seed: int | None
    audit: exact.ExactAudit
    extra_draws: float = 0.0
    draws: int | None = None


def build(
    folders: Sequence[Path], controls_of: str | None = None, *, methods: dict[Path, str] | None = None
) -> dict[str, Any]:
    """The board of finished runs that share base model and audit problems: {"rows": [...], "runs": [...], ...}.

    Every run's exact audit is kept as exact_final.json in its folder and not made again.

    controls_of: the method that is also shown at raised temperatures, and whose draws the base is given; None: the
        first one without strategies of its own, plain GRPO as a rule.
    methods: the name of each run's method; None: from their settings, as in `pooling`.
    """
    configs = {folder: load_config(folder / "config.yaml") for folder in folders}
    names_of = methods or dict(zip(configs, method_names(list(configs.values())), strict=True))
    if controls_of is None:
        controls_of = next((names_of[folder] for folder, config in configs.items() if not config.strategies), None)
    first = configs[folders[0]]
    base_path = resolve_model(first.model.path)
    asked = load_problems(first.run.exact_problems)
    temperature = first.rollout.temperature

    # The base and its controls, then the runs and theirs.
    base = audit_of(base_path, asked, temperature=temperature)
    entries = [Entry("base", None, base)]
    entries += [Entry(f"base at T={hot:g}", None, audit_of(base_path, asked, temperature=hot)) for hot in HOT]
    for folder, config in configs.items():
        drawn = draws(folder)
        entries.append(
            Entry(names_of[folder], config.seed, final_audit(folder, asked, temperature=temperature), draws=drawn)
        )
        if names_of[folder] == controls_of:
            for hot in HOT:
                audit = audit_of(folder / "final", asked, temperature=hot)
                entries.append(Entry(f"{names_of[folder]} at T={hot:g}", config.seed, audit, draws=drawn))

    # The base given the draws that training cost stands below the base.
    matched = [matched_draws(folder, len(asked)) for folder in configs if names_of[folder] == controls_of]
    if matched:
        entries.insert(1, Entry("base, compute matched", None, base, extra_draws=float(np.mean(matched))))

    runs = [figures(entry, base) for entry in entries]
    in_order = dict.fromkeys(run["method"] for run in runs)
    return {
        "rows": [summary(method, [run for run in runs if run["method"] == method]) for method in in_order],
        "runs": runs,
        "training": [
            {"method": names_of[folder], "seed": config.seed, "steps": RunFolder(folder).records("exact.jsonl")}
            for folder, config in configs.items()
        ],
        "settings": {
            "base": str(first.model.path),
            "problems": first.run.exact_problems,
            "temperature": temperature,
            "eps": EPS,
            "k": list(KS),
            "passes_a_trained_token": PASSES_A_TRAINED_TOKEN,
        },
    }


def final_audit(folder: Path, asked: list[Problem], *, temperature: float) -> exact.ExactAudit:
    """The exact audit of a run's final model, made once and kept in its folder."""
    kept = folder / "exact_final.json"
    if not kept.exists():
        audit_of(folder / "final", asked, temperature=temperature).save(kept)
    return audit_of(kept, asked, temperature=temperature)


def matched_draws(folder: Path, audit_problems: int) -> float:
    """How many draws of each audit problem the compute of the run's training would have paid for.

    That is trained samples x forward passes for each, spread over the audit problems. Traces, and draws that taught
    nothing, count as much as the others, which favours the base.
    """
    trained = sum(pq.read_metadata(shard).num_rows for shard in (folder / "rollouts").glob("step-*.parquet"))
    return PASSES_A_TRAINED_TOKEN * trained / audit_problems


def draws(folder: Path) -> int:
    """How many completions the engines drew for a run's training: dropped groups and greedy draws too, traces not."""
    shards = [
        pq.read_table(shard, columns=["weight_version"]) for shard in (folder / "rollouts").glob("step-*.parquet")
    ]
    return sum(int((shard["weight_version"].to_numpy() >= 0).sum()) for shard in shards)


def figures(entry: Entry, base: exact.ExactAudit) -> dict[str, Any]:
    """One run's figures: exact pass@k, support by problem and mode at EPS, and the whole ladder.

    More draws change pass@k, not the support, which is a property of the model.
    """
    row: dict[str, Any] = {
        "method": entry.method,
        "seed": entry.seed,
        "extra_draws": entry.extra_draws,
        "draws": entry.draws,
    }
    for k in KS:
        row[f"pass@{k}"] = float(np.mean(pass_at(entry.audit.success, k + entry.extra_draws)))
    row["delta_se"] = float(np.mean(pass_at(base.success, 256))) - row["pass@1"]

    comparison = exact.compare(base, entry.audit)
    for unit in ("problem", "mode"):
        support = at_eps(comparison["support"][unit])
        row |= {f"{unit}_{name}": support[name] for name in ("preserved", "shrunk", "expanded", "out", "srr", "ndr")}
    row |= {f"mass_{name}": region["mass"] for name, region in comparison["regions"]["tuned"].items()}
    for name, ladder in comparison["support_by_region"].items():
        support = at_eps(ladder)
        row[f"{name}_modes_held"] = support["preserved"] + support["expanded"]
        row[f"{name}_modes_expanded"] = support["expanded"]
    return row | {"support": comparison["support"], "pass_at_k": comparison["pass_at_k"]["tuned"]}


def at_eps(ladder: list[dict[str, Any]], eps: float = EPS) -> dict[str, Any]:
    """The rung of a support ladder that is nearest to the threshold `eps`."""
    return min(ladder, key=lambda rung: abs(rung["eps"] - eps))


def summary(method: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean, least and largest of every figure over the runs of a method that have it.

    With few runs: the range, and no p-value. A rate without a denominator is None in its run; where all runs lack it,
    the figure is None too.
    """
    row: dict[str, Any] = {"method": method, "runs": len(runs)}
    for name, value in runs[0].items():
        is_figure = value is None or isinstance(value, (int, float))
        if name == "seed" or not is_figure:
            continue
        values = [run[name] for run in runs if run[name] is not None]
        row[name] = None
        if values:
            row[name] = {
                "mean": float(np.mean(values)),
                "low": float(min(values)),
                "high": float(max(values)),
                "runs": len(values),
            }
    return row


@dataclass(frozen=True)
class BoardColumn:
    """A column of the printed board: its heading, the figure of a row, and how the figure is written."""

    heading: str
    figure: str
    form: str


COLUMNS = (
    BoardColumn("pass@1", "pass@1", "{:.3f}"),
    BoardColumn("@16", "pass@16", "{:.3f}"),
    BoardColumn("@256", "pass@256", "{:.3f}"),
    BoardColumn("@1024", "pass@1024", "{:.3f}"),
    BoardColumn("Delta_SE", "delta_se", "{:.3f}"),
    BoardColumn("SRR mode", "mode_srr", "{:.3f}"),
    BoardColumn("NDR mode", "mode_ndr", "{:.3f}"),
    BoardColumn("S mode", "mode_shrunk", "{:.0f}"),
    BoardColumn("E mode", "mode_expanded", "{:.0f}"),
    BoardColumn("SRR prob", "problem_srr", "{:.3f}"),
    BoardColumn("S prob", "problem_shrunk", "{:.0f}"),
    BoardColumn("E prob", "problem_expanded", "{:.0f}"),
    BoardColumn("left-out mass", "mass_division", "{:.1e}"),
    BoardColumn("rare mass", "mass_product_of_sum", "{:.1e}"),
    BoardColumn("draws", "draws", "{:.0f}"),
)


# What the columns of the laboratory's regions show where a base's probabilities say what is rare.
BY_BASE = {"mass_division": "mass_never", "mass_product_of_sum": "mass_rarely"}


def figure_of(row: dict[str, Any], column: BoardColumn) -> Any:
    """The figure of a summary row that a column shows."""
    return row[column.figure if column.figure in row else BY_BASE[column.figure]]


def cells(row: dict[str, Any]) -> list[str]:
    """A summary row as text: the mean, and the range where there are several runs."""
    several = row["runs"] > 1  # a range is written only then
    texts = [row["method"] + (f" ({row['runs']} runs)" if several else "")]
    for column in COLUMNS:
        value = figure_of(row, column)
        if value is None:
            texts.append("-")
            continue
        text = column.form.format(value["mean"])
        if several:
            low = column.form.format(value["low"])
            high = column.form.format(value["high"])
            of_runs = f", {value['runs']} runs" if value["runs"] < row["runs"] else ""
            text += f" [{low}, {high}{of_runs}]"
        texts.append(text)
    return texts


def markdown(board: dict[str, Any]) -> str:
    head = ["method", *(column.heading for column in COLUMNS)]
    lines = [head, ["---"] + ["---:"] * len(COLUMNS), *(cells(row) for row in board["rows"])]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


LEGEND = (
    "pass@1, @16, ...: exact pass@k, means over seeds; Delta_SE: the base's pass@256 less pass@1. Of what the base can "
    "reach (mode: a solution, prob: a problem): SRR share kept, S lost, E gained, NDR share of what is reached now "
    "that is new. left-out mass, rare mass: probability of the regions that the base never or seldom saw. docs/board.md"
)


def text_table(board: dict[str, Any]) -> str:
    """For the terminal: means only, so that it fits a screen."""
    table = [["method", *(column.heading for column in COLUMNS)]]
    for row in board["rows"]:
        means = [
            "-" if (value := figure_of(row, column)) is None else column.form.format(value["mean"])
            for column in COLUMNS
        ]
        table.append([row["method"], *means])
    widths = [max(len(texts[i]) for texts in table) for i in range(len(table[0]))]
    lines = []
    for method, *means in table:
        aligned = [mean.rjust(width) for mean, width in zip(means, widths[1:], strict=True)]
        lines.append("  ".join([method.ljust(widths[0]), *aligned]))
    return "\n".join(lines)


def draw(board: dict[str, Any], target: Path) -> None:
    """One picture: exact pass@k, modes lost and gained, and the mass of the left-out region over training.

    It shows the base and the methods, without the controls (raised temperatures, compute matched).
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    # A method has one colour in the curves and in the masses; the base is black.
    rows = [r for r in board["rows"] if " at T=" not in r["method"] and "matched" not in r["method"]]
    colours = {row["method"]: "black" if row["method"] == "base" else f"C{i - 1}" for i, row in enumerate(rows)}
    figure, (curves, support, mass) = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    _draw_passes(curves, board["runs"], colours=colours)
    _draw_support(support, [row for row in rows if row["method"] != "base"], eps=board["settings"]["eps"])
    _draw_mass(mass, board["training"], colours=colours)
    for axis in (curves, support, mass):
        axis.grid(alpha=0.3)
    figure.savefig(target, dpi=110)
    plt.close(figure)


def _draw_passes(axis: Any, runs: list[dict[str, Any]], *, colours: dict[str, str]) -> None:
    for name, colour in colours.items():
        curves = [run["pass_at_k"] for run in runs if run["method"] == name]
        keys = sorted(curves[0], key=int)
        ks = [int(k) for k in keys]
        values = np.array([[curve[k] for k in keys] for curve in curves])
        style = "--" if name == "base" else "-"
        axis.plot(ks, values.mean(0), color=colour, linestyle=style, label=name, linewidth=1.8)
        axis.fill_between(ks, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
    axis.set(xscale="log", xlabel="k", title="exact pass@k (shade: range over seeds)")
    axis.legend(fontsize=7)


def _draw_support(axis: Any, rows: list[dict[str, Any]], *, eps: float) -> None:
    """Bars to the left: modes lost; to the right: modes gained; whiskers: range over seeds. The first method on top."""
    rows = rows[::-1]
    methods = [row["method"] for row in rows]
    for name, sign, shade in (("mode_shrunk", -1, "tab:red"), ("mode_expanded", 1, "tab:green")):
        means = np.array([row[name]["mean"] for row in rows])
        below = np.abs(np.array([row[name]["mean"] - row[name]["low"] for row in rows]))
        above = np.abs(np.array([row[name]["high"] - row[name]["mean"] for row in rows]))
        # A bar that goes to the left has its upper end on the left.
        whiskers = np.array([below, above] if sign > 0 else [above, below])
        axis.barh(methods, sign * means, color=shade, xerr=whiskers, ecolor="grey", capsize=2)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(xlabel="solution modes", title=f"lost (red) and gained (green), eps = {eps:.4f}")
    axis.tick_params(axis="y", labelsize=8)


def _draw_mass(axis: Any, trainings: list[dict[str, Any]], *, colours: dict[str, str]) -> None:
    for training in trainings:
        steps = [record["step"] for record in training["steps"]]
        masses = [max(left_out(record["regions"]), 1e-15) for record in training["steps"]]
        axis.semilogy(steps, masses, color=colours.get(training["method"], "grey"), linewidth=1.2)
    axis.set(xlabel="step", title="mass of the left-out region, every run")


def left_out(regions: dict[str, float]) -> float:
    """The mass of the region that a base lacks: what needs a division, or what it answers with less than 1e-4."""
    return regions["division"] if "division" in regions else regions["never"]


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
    return names.is_laboratory(config.problems.train)
