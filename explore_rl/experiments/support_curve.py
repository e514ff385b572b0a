"""Support over training: the draws of a run's states, each audited against those of its base."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.audit import audit
from analysis.commands.audit import write_json
from analysis.errors import InputError
from analysis.pair import DEFAULTS
from analysis.readers import align, load
from explore_rl.config.loading import load_config
from explore_rl.config.schema import Config
from explore_rl.experiments.evaluation_draws import draws_of
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.experiments.run_models import run_model
from explore_rl.files import write_atomic

log = logging.getLogger(__name__)


def drawn(run: Path, *, of_set: str | None, every: int | None) -> dict[int, Path]:
    """Steps done -> the draws of the run's evaluation then, those of the base (step 0) among them.

    Raises InputError where there are none, or of several sets.
    """
    _refuse_no_run(run)
    sets = draws_of(run)
    if not sets:
        raise InputError(
            f"{run}: keeps no draws of evaluations (run.evaluate_every=0 and no run.evaluations); draw from its "
            "checkpoints with --samples N"
        )
    if of_set is None and len(sets) > 1:
        raise InputError(f"{run}: evaluates several sets; choose one with --set {' or --set '.join(sets)}")
    files = sets.get(of_set or next(iter(sets)))
    if files is None:
        raise InputError(f"--set {of_set}: the run evaluates {', '.join(sets)}")
    return _chosen(files, every)


def draw(run: Path, out: Path, *, samples: int, problems: str | None, every: int | None) -> dict[int, Path]:
    """Steps done -> draws made now: from the base (step 0) and from every kept checkpoint. Those that are there stay.

    Raises InputError for a folder that holds no run, and where there is nothing to draw on.

    run: its folder.
    out: where the draws go.
    samples: completions a problem.
    problems: file or spec; None: the run's held-out problems.
    every: of the states between the first and the last only those whose step it divides; None: all.
    """
    from explore_rl.rollout.sampling import engines, sample
    from explore_rl.training.actors import verifier_pool

    _refuse_no_run(run)
    config = load_config(run / "config.yaml")
    asked = problems or config.problems.heldout
    if asked is None:
        raise InputError("no problems to draw on: the recipe has no problems.heldout; give --problems")
    steps = RunFolder(run).checkpoints()
    if (run / "final" / "config.json").exists() and config.run.steps not in steps:
        steps.append(config.run.steps)
    states = _chosen({0: config.model.path} | {step: f"{run}@{step}" for step in steps}, every)
    out.mkdir(parents=True, exist_ok=True)
    files = {}
    with verifier_pool(config) as pool:
        for step, name in states.items():
            model = name if step == 0 else str(_path_of(name))
            settings = _settings(config, model, samples=samples, problems=asked)
            files[step] = out / f"step-{step:06d}-{samples}-{settings.digest()}.parquet"
            if not files[step].exists():
                sample(settings, files[step], drawing=engines(settings), pool=pool)
    return files


def _path_of(name: str) -> Path:
    model = run_model(name)
    assert model is not None  # the name was made of a run's folder
    return model.path()


def _settings(config: Config, model: str, *, samples: int, problems: str) -> Any:
    from explore_rl.rollout.sampling import SamplingSettings

    return SamplingSettings(
        model=model,
        problems=problems,
        n=samples,
        temperature=config.rollout.temperature,
        max_tokens=config.rollout.max_new_tokens,
        template=config.model.template,
        stop=tuple(config.rollout.stop),
        dtype=config.model.dtype,
        verifier_options=config.verifiers.options,
    )


def _chosen(states: dict[int, Any], every: int | None) -> dict[int, Any]:
    """Step 0, the last one, and the multiples of `every` between. Raises InputError where nothing stands beside 0."""
    if 0 not in states:
        raise InputError("there are no draws of step 0, the base, to audit against")
    last = max(states)
    if last == 0:
        raise InputError("there are no draws of a later step than 0, the base")
    return {step: states[step] for step in sorted(states) if every is None or step % every == 0 or step == last}


def _refuse_no_run(run: Path) -> None:
    if not (run / "config.yaml").is_file():
        raise InputError(f"{run}: holds no run (no config.yaml)")


COLUMNS = ("step", "pass@1", "pass@n", "lost", "gained", "lost_by_chance", "gained_by_chance", "verdict")


def audit_all(files: dict[int, Path], out: Path, *, replicates: int | None = None) -> list[dict[str, Any]]:
    """One row a step (COLUMNS), written to curve.csv and curve.png, the audits to audit-step-*.json."""
    settings = DEFAULTS if replicates is None else replace(DEFAULTS, replicates=replicates)
    base = load([str(files[0])], name="base")
    rows = []
    for step, file in files.items():
        if step == 0:
            continue
        tuned = load([str(file)], name=f"step {step}")
        document = audit(*align(base, tuned)[:2], settings=settings)
        write_json(out / f"audit-step-{step:06d}.json", document)
        if not rows:
            rows.append(_row(0, "base", document=document))
        rows.append(_row(step, "tuned", document=document))
        log.info("audited step %d: %s", step, rows[-1]["verdict"])
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(out / "curve.csv", text.getvalue())
    _picture(rows, out / "curve.png")
    return rows


def _row(step: int, side: str, *, document: dict[str, Any]) -> dict[str, Any]:
    section = document["benchmarks"]["all" if "all" in document["benchmarks"] else next(iter(document["benchmarks"]))]
    passes = section["pass_at_k"][side]
    null = section["null"]
    is_base = side == "base"
    return {
        "step": step,
        "pass@1": passes["1"]["value"],
        "pass@n": passes[max(passes, key=int)]["value"],
        "lost": None if is_base else null["observed_shrunk"],
        "gained": None if is_base else null["observed_expanded"],
        "lost_by_chance": None if is_base else null["expected_shrunk"],
        "gained_by_chance": None if is_base else null["expected_expanded"],
        "verdict": "the base" if is_base else f"{section['verdict']} {section['within'] or ''}".strip(),
    }


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """For a terminal, with a legend."""
    shown = [[_cell(row[name]) for name in COLUMNS] for row in rows]
    widths = [max(len(line[i]) for line in [list(COLUMNS), *shown]) for i in range(len(COLUMNS))]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in [COLUMNS, *shown]
    ]
    return [
        *lines,
        "lost, gained: problems solved by the base only, by the state only; by chance: where nothing changed",
    ]


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _picture(rows: Sequence[dict[str, Any]], target: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    steps = [row["step"] for row in rows]
    figure, (passes, support) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name in ("pass@1", "pass@n"):
        passes.plot(steps, [row[name] for row in rows], marker=".", label=name)
    passes.set(xlabel="step", title="pass@k on the audited problems")
    later = rows[1:]
    at = [row["step"] for row in later]
    support.plot(at, [-row["lost"] for row in later], color="tab:red", marker=".", label="lost")
    support.plot(at, [row["gained"] for row in later], color="tab:green", marker=".", label="gained")
    support.plot(at, [-row["lost_by_chance"] for row in later], ":", color="tab:red", label="lost by chance")
    support.plot(at, [row["gained_by_chance"] for row in later], ":", color="tab:green", label="gained by chance")
    support.axhline(0, color="grey", linewidth=0.8)
    support.set(xlabel="step", title="problems against the base")
    for axis in (passes, support):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(target, dpi=110)
    plt.close(figure)
