"""The curves of the methods' pages, from runs that were audited as they trained: one picture, and a line on every page.

    python scripts/method_curves.py runs/families runs/families_worked

Every folder with an exact.jsonl below those given is a run; runs whose settings differ but for the seed are methods of
their own, named as the sweep named them. Writes docs/pictures/method_curves.svg and .png, a panel a method with GRPO
in grey, docs/methods/curves.csv, and a line "**Curve.**" on the page of each method that has none of its own.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.errors import InputError
from analysis.figures import save
from explore_rl.config.loading import load_config
from explore_rl.config.schema import Config
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.files import write_atomic

DOCS = Path(__file__).resolve().parent.parent / "docs"
KS = ("1", "16", "1024")
COLOURS = dict(zip(KS, ("tab:blue", "tab:orange", "tab:green"), strict=True))
PLAIN = "grpo"
COLUMNS = 5
PICTURE = "pictures/method_curves.svg"
LOSSES = {"ppo_clip": "grpo", "gspo": "gspo", "cispo": "cispo", "clip_cov": "covariance", "kl_cov": "covariance"}


@dataclass(frozen=True)
class Curve:
    """One run. passes: steps done -> k -> exact pass@k on `problems`."""

    method: str
    page: str
    problems: str
    seed: int
    passes: dict[int, dict[str, float]]


@dataclass(frozen=True)
class Method:
    """The runs of a method on one set of problems. values: k -> [runs, steps]."""

    name: str
    page: str
    problems: str
    seeds: list[int]
    steps: list[int]
    values: dict[str, np.ndarray]


def pages() -> dict[str, str]:
    """A method's file -> the page that names it."""
    found = {}
    for page in sorted((DOCS / "methods").glob("*.md")):
        for name in re.findall(r"strategies/methods/(\w+)\.py", page.read_text()):
            found.setdefault(name, page.stem)
    return found


def page_of(config: Config, known: dict[str, str]) -> str:
    """The page of the first strategy, or of the loss; empty where there is none."""
    if config.strategies:
        return known.get(config.strategies[0]["name"], "")
    return LOSSES.get(config.algorithm.loss, "")


def read(folders: list[Path]) -> list[Curve]:
    """Raises InputError where there is no run."""
    known = pages()
    curves = []
    for file in sorted(file for folder in folders for file in folder.rglob("exact.jsonl")):
        config = load_config(file.parent / "config.yaml")
        records = RunFolder(file.parent).records("exact.jsonl")
        passes = {record["step"]: {k: float(record["pass_at_k"][k]) for k in KS} for record in records}
        name = re.sub(r"-seed\d+$", "", file.parent.name)
        problems = str(config.run.exact_problems)
        curves.append(Curve(name, page_of(config, known), problems, config.seed, passes))
    if not curves:
        raise InputError(
            f"{', '.join(map(str, folders))}: no run with an exact.jsonl; expected folders of run.exact_every"
        )
    return curves


def methods(curves: list[Curve]) -> list[Method]:
    """Seeds put together, at the steps that all of them have."""
    groups: dict[tuple[str, str, str], list[Curve]] = defaultdict(list)
    for curve in curves:
        groups[curve.problems, curve.method, curve.page].append(curve)
    made = []
    for (problems, name, page), runs in groups.items():
        runs.sort(key=lambda run: run.seed)
        steps = sorted(set.intersection(*(set(run.passes) for run in runs)))
        values = {k: np.array([[run.passes[step][k] for step in steps] for run in runs]) for k in KS}
        made.append(Method(name, page, problems, [run.seed for run in runs], steps, values))
    return sorted(made, key=lambda method: (method.problems, method.name != PLAIN, method.name))


def plain_of(every: list[Method], problems: str) -> Method | None:
    return next((method for method in every if method.name == PLAIN and method.problems == problems), None)


def draw(every: list[Method], target: Path) -> list[Path]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = -(-len(every) // COLUMNS)
    figure, axes = plt.subplots(
        rows, COLUMNS, figsize=(3.0 * COLUMNS, 2.5 * rows), layout="constrained", sharey=True, squeeze=False
    )
    for axis, method in zip(axes.flat, every, strict=False):
        plain = plain_of(every, method.problems)
        for k in KS:
            if plain is not None and plain is not method:
                axis.plot(plain.steps, plain.values[k].mean(0), color="grey", linewidth=0.9, alpha=0.7)
            for run in method.values[k]:
                axis.plot(method.steps, run, color=COLOURS[k], linewidth=0.5, alpha=0.6)
            axis.plot(method.steps, method.values[k].mean(0), color=COLOURS[k], marker=".", label=f"pass@{k}")
        family = method.problems.removeprefix("lab:").partition("?")[0]
        axis.set_title(method.name if family == "countdown" else f"{method.name}, {family}", fontsize=9)
        axis.grid(alpha=0.3)
    for axis in list(axes.flat)[len(every) :]:
        axis.set_axis_off()
    axes[0, 0].legend(fontsize=7)
    figure.supxlabel("step", fontsize=9)
    figure.suptitle(
        "exact pass@k over training: the mean of the seeds, each of them thin, GRPO's mean in grey", fontsize=10
    )
    written = save(figure, target)
    plt.close(figure)
    return written


def table(every: list[Method]) -> str:
    """One line a run and step."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "problems", "seed", "step", *(f"pass@{k}" for k in KS)])
    for method in every:
        for i, seed in enumerate(method.seeds):
            for j, step in enumerate(method.steps):
                figures = [f"{method.values[k][i, j]:.6f}" for k in KS]
                writer.writerow([method.name, method.problems, seed, step, *figures])
    return text.getvalue()


def line_of(of_page: list[Method], every: list[Method]) -> str:
    """What a page says: of each method of it the first and the last step, GRPO's last one beside."""
    said = []
    for method in of_page:
        seeds = f"seed{'s' * (len(method.seeds) > 1)} {', '.join(map(str, method.seeds))}"
        moved = [f"@{k} {_at(method, k, place=0)} -> {_at(method, k, place=-1)}" for k in KS]
        plain: Any = plain_of(every, method.problems)
        beside = ""
        if plain is not None and plain is not method and plain.steps[-1] == method.steps[-1]:
            beside = f" (GRPO's: {', '.join(_at(plain, k, place=-1) for k in KS)})"
        said.append(
            f"`{method.name}`, {seeds}, {method.steps[-1]} steps, exactly, on `{method.problems}`:"
            f" pass{', '.join(moved)}{beside}"
        )
    return f"**Curve.** {'; '.join(said)}. All of them: [picture](../{PICTURE}), [figures](curves.csv)."


def _at(method: Method, k: str, *, place: int) -> str:
    """The mean over the seeds, without the leading 0."""
    return f"{method.values[k][:, place].mean():.3f}".replace("0.", ".", 1)


def write_page(page: Path, line: str) -> None:
    """Puts the line at the page's end, in the place of one that this script wrote; a curve of its own stays alone."""
    paragraphs = page.read_text().rstrip("\n").split("\n\n")
    kept = [paragraph for paragraph in paragraphs if PICTURE not in paragraph]
    if not any(paragraph.startswith("**Curve.**") for paragraph in kept):
        write_atomic(page, "\n\n".join([*kept, line]) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUNS")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the pages are (default: this repository's)")
    args = parser.parse_args()
    try:
        every = methods(read(args.folders))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    written = draw(every, args.docs / "pictures" / "method_curves")
    write_atomic(args.docs / "methods" / "curves.csv", table(every))
    by_page: dict[str, list[Method]] = defaultdict(list)
    for method in every:
        by_page[method.page].append(method)
    for page, of_page in by_page.items():
        if page:
            write_page(args.docs / "methods" / f"{page}.md", line_of(of_page, every))
    without = [method.name for method in by_page.get("", [])]
    print(f"{len(every)} methods; written: {', '.join(map(str, written))}, {len(by_page)} pages")
    print(f"without a page: {', '.join(without) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
