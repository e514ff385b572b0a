"""Many runs in one process: a list of overrides over a list of seeds, the actors staying up between them.

    base: configs/lab/grpo.yaml        # what every run starts from, unless it names a recipe of its own
    seeds: [0, 1, 2]
    output: runs/trace_rate            # each run goes to output/NAME-seedN
    runs:
      - {name: rate_0.25, recipe: configs/lab/trace_injection.yaml, overrides: ["strategies=[{name: trace_injection, rate: 0.25}]"]}

A run that is finished is not run again; one that was stopped is resumed. So a sweep that was killed goes on when it is given again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from analysis.errors import InputError
from explore_rl import strategies
from explore_rl.actors import Actors
from explore_rl.config import Config, load_config
from explore_rl.runs import output_folder, run
from explore_rl.trainer import needs_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """output: the folder of all runs. configs: one a run, seed by seed."""

    output: Path
    configs: list[Config]


def load_sweep(path: Path, overrides: list[str] = (), seeds: list[int] | None = None, output: str | None = None) -> Sweep:
    """Reads and checks every run of a sweep before any starts. overrides go last, to all runs. Raises InputError."""
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    known = {"base", "seeds", "output", "runs", "overrides"}
    if not isinstance(data, dict) or not isinstance(data.get("runs"), list) or not data["runs"]:
        raise InputError(f"{path}: expected keys base, seeds, output and runs, a list of {{name, overrides}}")
    if unknown := set(data) - known:
        raise InputError(f"{path}: unknown key {sorted(unknown)[0]}; known: {', '.join(sorted(known))}")
    folder = Path(output or data.get("output") or f"runs/{path.stem}")
    seeds = seeds if seeds is not None else data.get("seeds", [0])
    names = set()
    for i, entry in enumerate(data["runs"]):
        if not isinstance(entry, dict) or "name" not in entry or set(entry) - {"name", "recipe", "overrides"}:
            raise InputError(f"{path}: runs[{i}]: expected a mapping with name and, if wanted, recipe and overrides, got {entry!r}")
        if entry["name"] in names:
            raise InputError(f"{path}: runs[{i}]: the name {entry['name']!r} is there already")
        names.add(entry["name"])
    configs = []
    for seed in seeds:  # seed by seed, so that a sweep that is stopped early has whole boards
        for entry in data["runs"]:
            last = [f"name={entry['name']}", f"seed={seed}", f"run.output={folder}/{entry['name']}-seed{seed}"]
            given = [*data.get("overrides", []), *entry.get("overrides", []), *overrides, *last]
            configs.append(load_config(entry.get("recipe", data.get("base")), given))
    return Sweep(folder, configs)


def finished(config: Config) -> bool:
    return (output_folder(config) / "final" / "config.json").exists()


def run_sweep(sweep: Sweep, after_each: Callable[[Config, Path, Actors], Any] | None = None) -> list[Path]:
    """Runs what is not finished, one after the other on shared actors. after_each(config, folder, actors): with the run's weights in the engines."""
    waiting = [c for c in sweep.configs if not finished(c)]
    log.info("%d runs, %d finished already", len(sweep.configs), len(sweep.configs) - len(waiting))
    actors: Actors | None = None
    try:
        for number, config in enumerate(waiting, start=1):
            needs = [needs_of(strategies.make(c.strategies), c) for c in waiting]
            base_engine = any(n.base_engine for n in needs)
            if actors is not None and not actors.serves(config, base_engine):
                actors.close()
                actors = None
            actors = actors or Actors(config, base_engine, base_model=False)
            log.info("run %d of %d: %s, seed %d", number, len(waiting), config.name, config.seed)
            folder = run(config, resume=(output_folder(config) / "config.yaml").exists(), actors=actors)
            if after_each:
                after_each(config, folder, actors)
    finally:
        if actors is not None:
            actors.close()
    return [output_folder(c) for c in sweep.configs]
