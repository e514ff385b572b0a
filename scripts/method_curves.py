"""The curves of the methods' pages, from runs that were audited as they trained: pictures, and a line on every page.

    explore-rl sweep configs/lab/methods.yaml --no-compare
    python scripts/method_curves.py runs/methods
    python scripts/method_curves.py runs/families runs/families_worked

Every folder with an exact.jsonl below those given is a run; runs whose settings differ but for the seed are methods of
their own, named as the sweep named them. Writes docs/pictures/method_curves.svg and .png, a panel a method with GRPO
in grey, docs/methods/curves.csv, a table of all methods on docs/methods/measured.md, and on the page of each method
that has no curve of its own a line "**Curve.**" and a picture. The first comment of configs/lab/NAME.yaml gets the
figures to expect, where the run is of that recipe and nothing else.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import sys
import textwrap
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.errors import InputError
from analysis.figures import save
from explore_rl.config.loading import load_config
from explore_rl.config.schema import Config
from explore_rl.experiments.identity import settings_hash
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.files import write_atomic

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
EPS = 3 / 1024  # a mode below it is seldom seen in 1,024 draws
KS = ("1", "16", "1024")
COLOURS = dict(zip(KS, ("tab:blue", "tab:orange", "tab:green"), strict=True))
PLAIN = "grpo"
COLUMNS = 5
LOSSES = {"ppo_clip": "grpo", "gspo": "gspo", "cispo": "cispo", "clip_cov": "covariance", "kl_cov": "covariance"}


@dataclass(frozen=True)
class Curve:
    """One run.

    passes: steps done -> k -> exact pass@k on `problems`.
    modes: of the base's modes at EPS how many there were, and in the end lost; and how many gained.
    recipe: configs/lab/NAME.yaml, if the run is of it and nothing else.
    """

    method: str
    page: str
    problems: str
    seed: int
    passes: dict[int, dict[str, float]]
    modes: tuple[int, int, int]
    recipe: Path | None


@dataclass(frozen=True)
class Method:
    """The runs of a method on one set of problems. values: k -> [runs, steps]. modes: a run, as `Curve` has them."""

    name: str
    page: str
    problems: str
    seeds: list[int]
    steps: list[int]
    values: dict[str, np.ndarray]
    modes: list[tuple[int, int, int]]
    recipe: Path | None


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
        done = records[-1]["step"] if records else 0
        if done < config.run.steps:
            print(f"{file.parent}: step {done} of {config.run.steps}, left out", file=sys.stderr)
            continue
        passes = {record["step"]: {k: float(record["pass_at_k"][k]) for k in KS} for record in records}
        name = re.sub(r"-seed\d+$", "", file.parent.name)
        problems = str(config.run.exact_problems)
        curves.append(
            Curve(
                name,
                page_of(config, known),
                problems,
                config.seed,
                passes,
                modes=_modes(records[-1], file),
                recipe=_recipe(name, config),
            )
        )
    if not curves:
        raise InputError(
            f"{', '.join(map(str, folders))}: no run with an exact.jsonl; expected folders of run.exact_every"
        )
    return curves


def _modes(record: dict[str, Any], file: Path) -> tuple[int, int, int]:
    counts = next((row for row in record.get("support", {}).get("mode", []) if row["eps"] == EPS), None)
    if counts is None:
        raise InputError(f"{file}: no modes at eps {EPS:g}; expected an audit of a laboratory family")
    return counts["preserved"] + counts["shrunk"], counts["shrunk"], counts["expanded"]


def _recipe(name: str, config: Config) -> Path | None:
    """The recipe of that name, where a run of it has the same settings but for its folder and seed."""
    path = REPOSITORY / "configs" / "lab" / f"{name}.yaml"
    if not path.exists():
        return None
    return path if settings_hash(config) == settings_hash(load_config(path)) else None


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
        seeds = [run.seed for run in runs]
        modes = [run.modes for run in runs]
        made.append(Method(name, page, problems, seeds, steps, values, modes=modes, recipe=runs[0].recipe))
    return sorted(made, key=lambda method: (method.problems, method.name != PLAIN, method.name))


def plain_of(every: list[Method], problems: str) -> Method | None:
    return next((method for method in every if method.name == PLAIN and method.problems == problems), None)


def draw(shown: list[Method], every: list[Method], *, target: Path, columns: int) -> list[Path]:
    """A panel a method of `shown`."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = -(-len(shown) // columns)
    size = (3.0 * columns, 2.5 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", sharey=True, squeeze=False)
    for axis, method in zip(axes.flat, shown, strict=False):
        plain = plain_of(every, method.problems)
        for k in KS:
            if plain is not None and plain is not method:
                axis.plot(plain.steps, plain.values[k].mean(0), color="grey", linewidth=0.9, alpha=0.7)
            for run in method.values[k] if len(method.seeds) > 1 else []:
                axis.plot(method.steps, run, color=COLOURS[k], linewidth=0.5, alpha=0.6)
            axis.plot(method.steps, method.values[k].mean(0), color=COLOURS[k], marker=".", label=f"pass@{k}")
        family = method.problems.removeprefix("lab:").partition("?")[0]
        axis.set_title(method.name if family == "countdown" else f"{method.name}, {family}", fontsize=9)
        axis.set_ylim(0, 1)
        axis.grid(alpha=0.3)
    for axis in list(axes.flat)[len(shown) :]:
        axis.set_axis_off()
    axes[0, 0].legend(fontsize=7)
    figure.supxlabel("step", fontsize=9)
    several = any(len(method.seeds) > 1 for method in shown)
    seeds = ": the mean of the seeds, each of them thin" if several else ""
    figure.suptitle(f"exact pass@k{seeds}; GRPO's in grey", fontsize=9)
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


def measured(every: list[Method]) -> str:
    """The table of all methods, GRPO first and the others by pass@1024."""
    lines = []
    for problems in dict.fromkeys(method.problems for method in every):
        of_it = [method for method in every if method.problems == problems]
        base = of_it[0].modes[0][0]
        lines += [f"Exactly, on `{problems}`, where the base has {base} modes of at least 3/1024; after training:", ""]
        lines += [f"| method | seeds | steps | {' | '.join(f'pass@{k}' for k in KS)} | modes lost | gained |"]
        lines += ["|---" * (5 + len(KS)) + "|"]
        first = [_at(of_it[0], k, place=0) for k in KS]
        lines += [f"| base | | 0 | {' | '.join(first)} | | |"]
        for method in sorted(of_it, key=lambda one: (one.name != PLAIN, -float(one.values["1024"][:, -1].mean()))):
            name = f"[{method.name}]({method.page}.md)" if method.page else method.name
            figures = " | ".join(_at(method, k, place=-1) for k in KS)
            lost, gained = (np.mean([modes[i] for modes in method.modes]) for i in (1, 2))
            seeds = ", ".join(map(str, method.seeds))
            lines += [f"| {name} | {seeds} | {method.steps[-1]} | {figures} | {lost:g} | {gained:g} |"]
        lines += [""]
    return "\n".join(lines)


def expectation(method: Method) -> str:
    """What the recipe's first comment says."""
    base, lost, gained = method.modes[0]
    moved = ", ".join(f"@{k} {_at(method, k, place=0)} -> {_at(method, k, place=-1)}" for k in KS)
    unit = dict(part.split("=", 1) for part in method.problems.partition("?")[2].split("&") if "=" in part)
    where = f"{unit['size']} {unit['split']} problems" if {"size", "split"} <= unit.keys() else method.problems
    return (
        f"Expect, exactly, on {where}, seed {method.seeds[0]}, after {method.steps[-1]}"
        f" steps: pass{moved}; {lost} of the base's {base} modes lost, {gained} gained."
    )


def write_expectation(path: Path, said: str) -> None:
    """In the place of what the first comment expects so far; what stands before and after that stays."""
    lines = path.read_text().splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    begin = next((i for i in range(end) if re.match(r"# (Expect|What to expect|Not trained)", lines[i])), end)
    after = next((i for i in range(begin + 1, end) if re.match(r"# (docs/|First,)", lines[i])), end)
    page = re.search(r"docs/(methods/)?\w+\.md", " ".join(lines[begin:after]))
    if page and page[0] not in " ".join(lines[:begin]):
        said += f" {page[0]}"
    new = textwrap.wrap(said, 118, initial_indent="# ", subsequent_indent="# ")
    write_atomic(path, "\n".join([*lines[:begin], *new, *lines[after:]]) + "\n")


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
        base, lost, gained = (round(float(np.mean([modes[i] for modes in method.modes]))) for i in range(3))
        command = f"`explore-rl train configs/lab/{method.recipe.name}`" if method.recipe else f"`{method.name}`"
        said.append(
            f"{command}, {seeds}, {method.steps[-1]} steps, exactly, on `{method.problems}`:"
            f" pass{', '.join(moved)}{beside}; {lost} of the base's {base} modes lost, {gained} gained"
        )
    picture = f"../pictures/methods/{of_page[0].page}.svg"
    return (
        f"**Curve.** {'; '.join(said)}. Beside all others: [measured](measured.md), [figures](curves.csv).\n\n"
        f"![exact pass@k by step]({picture})"
    )


def _at(method: Method, k: str, *, place: int) -> str:
    """The mean over the seeds, without the leading 0."""
    return f"{method.values[k][:, place].mean():.3f}".replace("0.", ".", 1)


def write_page(page: Path, line: str) -> bool:
    """Puts the line at the page's end, in the place of one that this script wrote. False where the page has its own."""
    paragraphs = page.read_text().rstrip("\n").split("\n\n")
    ours = ("pictures/methods/", "(curves.csv)")
    kept = [p for p in paragraphs if not any(mark in p for mark in ours) and not p.startswith("**Run.** None was made")]
    if any(paragraph.startswith("**Curve.**") for paragraph in kept):
        return False
    write_atomic(page, "\n\n".join([*kept, line]) + "\n")
    return True


MEASURED = """# What the methods do in the laboratory

Written by `python scripts/method_curves.py`, from `explore-rl sweep configs/lab/methods.yaml --no-compare`: every
recipe as it stands, the same base, problems and number of steps. The figures are of the models themselves (the tree is
summed), so that nothing is sampled but the training. GSPO, CISPO, Clip-Cov, KL-Cov, DAPO and ProRL make four updates a
step, and the learning rate is the recipe's: what is compared are recipes, not ideas at their best. One seed says little
of small differences: over [five seeds](../unleashed.md) GRPO's pass@1024 on these problems goes from .581 to .651.
Rows are added as runs end; a recipe that is not in the table was not run so yet.

![exact pass@k by step, a panel a method](../pictures/method_curves.png)

"""


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
    pictures = args.docs / "pictures"
    (pictures / "methods").mkdir(parents=True, exist_ok=True)
    written = draw(every, every, target=pictures / "method_curves", columns=COLUMNS)
    write_atomic(args.docs / "methods" / "curves.csv", table(every))
    write_atomic(args.docs / "methods" / "measured.md", MEASURED + measured(every))
    by_page: dict[str, list[Method]] = defaultdict(list)
    for method in every:
        by_page[method.page].append(method)
    for page, of_page in by_page.items():
        if page:
            if write_page(args.docs / "methods" / f"{page}.md", line_of(of_page, every)):
                draw(of_page, every, target=pictures / "methods" / page, columns=len(of_page))
                (pictures / "methods" / f"{page}.png").unlink()  # the page shows the one that scales
    for method in every:
        if method.recipe and len(method.seeds) == 1:
            write_expectation(method.recipe, expectation(method))
    without = [method.name for method in by_page.get("", [])]
    print(f"{len(every)} methods; written: {', '.join(map(str, written))}, {len(by_page)} pages")
    print(f"without a page: {', '.join(without) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
