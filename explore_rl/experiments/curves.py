"""Pictures of a run, drawn from its records: training curves and, in the laboratory, exact support over the steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from explore_rl.experiments.run_folder import RunFolder
from explore_rl.training.metrics import STAGES

EPS_SHOWN = 3 / 1024  # the rule-of-three detection limit of 1,024 draws
PANELS = [  # of training.png: title, metrics of one population
    ("pass@1, of all drawn", ["pass@1", "pass@group"]),
    ("entropy of a group's answers (nats), of all drawn", ["answers/entropy"]),
    ("completion tokens, of all drawn", ["length/mean"]),
    ("reward, of what is learnt from", ["reward/mean"]),
    ("seconds a step", [f"seconds/{stage}" for stage in STAGES]),
    ("entropy of a token (nats), of what is learnt from", ["entropy/token"]),
    ("share of groups without a signal", ["signal/groups_without"]),
    ("gradient norm", ["update/gradient_norm"]),
    ("engine against learner, mean |log-probability|", ["engine/logprob_difference_mean", "engine/parity_mean"]),
]


def draw_curves(folder: RunFolder) -> list[Path]:
    """figures/training.png and, where exact audits were made, figures/support.png. Returns what was drawn."""
    import matplotlib

    matplotlib.use("Agg")
    drawn = []
    metrics = folder.records("metrics.jsonl")
    if metrics:
        drawn.append(_training(folder, metrics))
    exact = folder.records("exact.jsonl")
    if len(exact) > 1:
        drawn.append(_support(folder, exact))
    return drawn


def _training(folder: RunFolder, metrics: list[dict]) -> Path:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 3, figsize=(17, 9.5), layout="constrained")
    for axis, (title, names) in zip(axes.flat, PANELS, strict=True):
        for name in names:
            points = [(m["step"], m[name]) for m in metrics if m.get(name) is not None]
            if points:
                axis.plot(*zip(*points, strict=True), label=name, linewidth=1.2)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)

    # On the first panel dots: pass@1 of each evaluated set.
    by_set: dict[str, list[tuple[int, float]]] = {}
    for record in folder.records("evaluations.jsonl"):
        if "pass@1" in record:
            by_set.setdefault(record.get("set", "heldout"), []).append((record["step"], record["pass@1"]))
    for name, states in by_set.items():
        axes[0, 0].plot(*zip(*states, strict=True), linestyle=":", marker=".", linewidth=0.8, label=f"{name}/pass@1")
    for axis in axes.flat:
        _legend_beside(axis)
    figure.suptitle(folder.path.name)
    target = folder.path / "figures" / "training.png"
    figure.savefig(target, dpi=110)
    plt.close(figure)
    return target


def _legend_beside(axis: Any) -> None:
    """A legend that covers no curve; none where the title names the only one."""
    if len(axis.lines) > 1:
        axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _support(folder: RunFolder, exact: list[dict]) -> Path:
    import matplotlib.pyplot as plt

    steps = [record["step"] for record in exact]
    figure, (passes, support, regions) = plt.subplots(1, 3, figsize=(17, 4.2), layout="constrained")
    for k in ("1", "16", "256", "1024", "4096"):
        if k in exact[0]["pass_at_k"]:
            passes.plot(steps, [record["pass_at_k"][k] for record in exact], marker=".", label=f"pass@{k}")
    passes.set_title("exact pass@k on the audit problems")

    # At the rung of the ladder that is nearest to EPS_SHOWN: lost below the axis, gained above.
    for unit, style in (("mode", "-"), ("problem", "--")):
        rungs = [min(record["support"][unit], key=lambda rung: abs(rung["eps"] - EPS_SHOWN)) for record in exact]
        lost = [-rung["shrunk"] for rung in rungs]
        gained = [rung["expanded"] for rung in rungs]
        support.plot(steps, lost, style, color="tab:red", marker=".", label=f"{unit}s lost")
        support.plot(steps, gained, style, color="tab:green", marker=".", label=f"{unit}s gained")
    support.axhline(0, color="grey", linewidth=0.8)
    support.set_title(f"exact support against the base, eps = {EPS_SHOWN:.4f}")

    for name in exact[0]["regions"]:
        masses = [max(record["regions"][name], 1e-12) for record in exact]
        regions.semilogy(steps, masses, marker=".", label=name)
    regions.set_title("mass of correct answers by region")
    for axis in (passes, support, regions):
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        _legend_beside(axis)
    figure.suptitle(folder.path.name)
    target = folder.path / "figures" / "support.png"
    figure.savefig(target, dpi=110)
    plt.close(figure)
    return target
