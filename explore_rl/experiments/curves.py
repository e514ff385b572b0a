"""What a run looks like, drawn from its records: training curves and, in the laboratory, exact support lost and gained over the steps."""

from __future__ import annotations

from pathlib import Path

from explore_rl.experiments.run_folder import RunFolder

EPS_SHOWN = 3 / 1024  # the rule-of-three detection limit of 1,024 draws


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

    panels = [
        ("pass@1", ["pass@1", "pass@group"]),
        ("entropy (nats)", ["entropy/token", "answers/entropy"]),
        ("share of groups", ["signal/groups_without"]),
        ("gradient norm", ["update/gradient_norm"]),
        ("engine against learner, mean |log-probability|", ["engine/logprob_difference_mean"]),
        (
            "seconds a step",
            [
                "seconds/generate",
                "seconds/verify",
                "seconds/score",
                "seconds/train",
                "seconds/transfer",
                "seconds/other",
            ],
        ),
    ]
    figure, axes = plt.subplots(2, 3, figsize=(13, 6.5), layout="constrained")
    for axis, (title, names) in zip(axes.flat, panels, strict=True):
        for name in names:
            points = [(m["step"], m[name]) for m in metrics if m.get(name) is not None]
            if points:
                axis.plot(*zip(*points, strict=True), label=name, linewidth=1.2)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=8)
    for record in folder.records("evaluations.jsonl"):
        if "pass@1" in record:
            axes[0, 0].plot(record["step"], record["pass@1"], "k.", markersize=5)
    figure.suptitle(folder.path.name + (" (dots: held-out pass@1)" if folder.records("evaluations.jsonl") else ""))
    target = folder.path / "figures" / "training.png"
    figure.savefig(target, dpi=110)
    plt.close(figure)
    return target


def _support(folder: RunFolder, exact: list[dict]) -> Path:
    import matplotlib.pyplot as plt

    steps = [r["step"] for r in exact]
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    for k in ("1", "16", "256", "1024", "4096"):
        if k in exact[0]["pass_at_k"]:
            axes[0].plot(steps, [r["pass_at_k"][k] for r in exact], marker=".", label=f"pass@{k}")
    axes[0].set_title("exact pass@k on the audit problems")
    for unit, style in (("mode", "-"), ("problem", "--")):
        rows = [min(r["support"][unit], key=lambda row: abs(row["eps"] - EPS_SHOWN)) for r in exact]
        axes[1].plot(steps, [-row["shrunk"] for row in rows], style, color="tab:red", marker=".", label=f"{unit}s lost")
        axes[1].plot(
            steps, [row["expanded"] for row in rows], style, color="tab:green", marker=".", label=f"{unit}s gained"
        )
    axes[1].axhline(0, color="grey", linewidth=0.8)
    axes[1].set_title(f"exact support against the base, eps = {EPS_SHOWN:.4f}")
    for name in exact[0]["regions"]:
        axes[2].semilogy(steps, [max(r["regions"][name], 1e-12) for r in exact], marker=".", label=name)
    axes[2].set_title("mass of correct answers by region")
    for axis in axes:
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.suptitle(folder.path.name)
    target = folder.path / "figures" / "support.png"
    figure.savefig(target, dpi=110)
    plt.close(figure)
    return target
