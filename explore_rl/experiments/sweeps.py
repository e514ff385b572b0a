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
from explore_rl.config.loading import load_config
from explore_rl.config.schema import Config
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.experiments.runs import output_folder, refuse_other_settings, run
from explore_rl.models import resolve_model
from explore_rl.problems import load_problems
from explore_rl.strategies.base import Needs, needs_of
from explore_rl.training.actors import Actors
from explore_rl.types import Problem

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """output: the folder of all runs. configs: one a run, seed by seed."""

    output: Path
    configs: list[Config]


def load_sweep(
    path: Path, overrides: list[str] = (), seeds: list[int] | None = None, output: str | None = None
) -> Sweep:
    """Reads and checks every run of a sweep before any starts. overrides go last, to all runs. Raises InputError."""
    data = _read(path)
    folder = Path(output or data.get("output") or f"runs/{path.stem}")
    configs = []
    for seed in seeds or data.get("seeds", [0]):  # seed by seed, so that a sweep that is stopped early has whole boards
        for entry in data["runs"]:
            last = [f"name={entry['name']}", f"seed={seed}", f"run.output={folder}/{entry['name']}-seed{seed}"]
            given = [*data.get("overrides", []), *entry.get("overrides", []), *overrides, *last]
            configs.append(load_config(entry.get("recipe", data.get("base")), given))
    return Sweep(folder, configs)


# key -> (whether a value is right, what would be)
TEXT = (lambda value: isinstance(value, str) and value != "", "text")
TEXTS = (
    lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value),
    'a list of texts such as ["run.steps=40"]',
)
SEEDS = (
    lambda value: isinstance(value, list) and value and all(type(v) is int for v in value),
    "a list of whole numbers such as [0, 1, 2]",
)
RUNS = (
    lambda value: isinstance(value, list) and value and all(isinstance(v, dict) for v in value),
    "a list of {name, recipe, overrides}",
)
SWEEP_KEYS = {"base": TEXT, "seeds": SEEDS, "output": TEXT, "overrides": TEXTS, "runs": RUNS}
RUN_KEYS = {"name": TEXT, "recipe": TEXT, "overrides": TEXTS}


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected keys base, seeds, output and runs")
    _check_keys(str(path), data, SWEEP_KEYS, "runs")
    names = set()
    for i, entry in enumerate(data["runs"]):
        _check_keys(f"{path}: runs[{i}]", entry, RUN_KEYS, "name")
        if entry["name"] in names:
            raise InputError(f"{path}: runs[{i}].name: {entry['name']!r} is there already")
        names.add(entry["name"])
    if len(set(data.get("seeds", []))) < len(data.get("seeds", [])):
        raise InputError(f"{path}: seeds: {data['seeds']} holds one twice")
    return data


def _check_keys(
    where: str, given: dict[str, Any], known: dict[str, tuple[Callable[[Any], Any], str]], needed: str
) -> None:
    if unknown := given.keys() - known:
        raise InputError(f"{where}: unknown key {min(map(str, unknown))}; known: {', '.join(known)}")
    if needed not in given:
        raise InputError(f"{where}: {needed} is missing; expected {known[needed][1]}")
    for key, value in given.items():
        is_right, wanted = known[key]
        if not is_right(value):
            raise InputError(f"{where}: {key}: expected {wanted}, got {value!r}")


def finished(config: Config) -> bool:
    """Whether the run of `config` is done. Raises InputError if its folder holds one of other settings, finished or not."""
    path = output_folder(config)
    if not (path / "config.yaml").exists():
        return False
    folder = RunFolder.open(path)
    is_final, steps = (path / "final" / "config.json").exists(), load_config(path / "config.yaml").run.steps
    try:
        refuse_other_settings(config, folder)
        if is_final and steps != config.run.steps:
            raise InputError(f"run.steps was {steps} and is now {config.run.steps}")
    except InputError as error:
        raise InputError(
            f"{path}: was {'finished' if is_final else 'begun'} under other settings; choose another --output ({error})"
        ) from None
    done = [record["step"] + 1 for record in folder.records("metrics.jsonl")[-1:]]
    return is_final and done == [
        steps
    ]  # a run that was taken up again for more steps has the final model of fewer until its end


def check_runs(configs: list[Config]) -> list[Needs]:
    """What a run looks at before it starts, for all of them, so that the last one's mistake is found before the first has trained."""
    loaded: dict[tuple, list[Problem]] = {}
    needs = []
    for config in configs:
        try:
            resolve_model(config.model.path)
            p, chosen = config.problems, strategies.make(config.strategies)
            key = (p.train, p.format, p.limit)
            if key not in loaded:
                loaded[key] = load_problems(p.train, format=p.format, limit=p.limit)
            for strategy in chosen:
                strategy.check(config, loaded[key])
        except InputError as error:
            raise InputError(f"{config.name}, seed {config.seed}: {error}") from None
        needs.append(needs_of(chosen, config))
    return needs


def run_sweep(sweep: Sweep, after_each: Callable[[Config, Path, Actors], Any] | None = None) -> list[Path]:
    """Runs what is not finished, one after the other on shared actors. after_each(config, folder, actors): with the run's weights in the engines."""
    waiting = [c for c in sweep.configs if not finished(c)]
    log.info("%d runs, %d finished already", len(sweep.configs), len(sweep.configs) - len(waiting))
    base_engine = any(need.base_engine for need in check_runs(waiting))
    actors: Actors | None = None
    try:
        for number, config in enumerate(waiting, start=1):
            if actors is not None and not actors.serves(config, base_engine):
                actors.close()
                actors = None
            actors = actors or Actors(config, base_engine=base_engine, base_model=False)
            log.info("run %d of %d: %s, seed %d", number, len(waiting), config.name, config.seed)
            folder = run(config, resume=(output_folder(config) / "config.yaml").exists(), actors=actors)
            if after_each:
                after_each(config, folder, actors)
    finally:
        if actors is not None:
            actors.close()
    return [output_folder(c) for c in sweep.configs]
