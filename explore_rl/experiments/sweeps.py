"""Many runs in one process: a list of overrides over a list of seeds, the actors staying up between them.

    base: configs/lab/grpo.yaml        # what every run starts from, unless it names a recipe of its own
    seeds: [0, 1, 2]
    output: runs/trace_rate            # each run goes to output/NAME-seedN
    runs:
      - name: rate_0.25
        recipe: configs/lab/trace_injection.yaml
        overrides: ["strategies=[{name: trace_injection, rate: 0.25}]"]
    grid:                              # optional: each of the runs with each combination of these
      learner.learning_rate: [1e-4, 3e-4]
    anchor: configs/lab/grpo.yaml      # if the runs of several calls are to stand on one board: see `anchor`

A finished run is not run again, and a stopped one is resumed. So a killed sweep goes on when it is given again. Several
processes may have the same sweep: each passes over the runs that another one has.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from analysis.errors import InputError
from explore_rl.config.loading import load_config
from explore_rl.config.paths import absolute, of_home, refuse_variables
from explore_rl.config.recipes import find
from explore_rl.config.schema import Config
from explore_rl.experiments import anchor
from explore_rl.experiments.parallel import claimed
from explore_rl.experiments.preflight import Readings, check, output_folder
from explore_rl.experiments.resuming import refuse_other_settings
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.experiments.runs import run
from explore_rl.strategies.base import Needs, needs_of
from explore_rl.training.actors import Actors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """The runs of a sweep.

    output: the folder of all runs.
    configs: one a run, seed by seed.
    anchor: the anchor's config, where the sweep has one.
    """

    output: Path
    configs: list[Config]
    anchor: Config | None = None


def load_sweep(
    path: Path, overrides: Sequence[str] = (), *, seeds: list[int] | None = None, output: str | None = None
) -> Sweep:
    """Reads and checks every run of a sweep before any starts. Raises InputError.

    path: the file, or the name of a sweep that comes with the project, such as "lab/board".
    overrides: what holds for all runs; they win over the file's.
    seeds, output: in place of the file's.
    """
    path = find(path)
    data = _read(path)
    folder = of_home(output or data.get("output") or f"runs/{path.stem}")
    refuse_variables(str(folder))
    configs = []
    # Seed by seed, so that a sweep that is stopped early has all runs of its first seeds.
    for seed in seeds or data.get("seeds", [0]):
        for entry in data["runs"]:
            name = entry["name"]
            last = [f"name={name}", f"seed={seed}", f"run.output={folder}/{name}-seed{seed}"]
            given = [*data.get("overrides", []), *entry.get("overrides", []), *overrides, *last]
            recipe = entry.get("recipe", data.get("base"))
            recipe = recipe and absolute(recipe, path.parent)
            configs.append(load_config(recipe, given, beside=path.parent))
    anchored = None
    if "anchor" in data:
        given = [*data.get("overrides", []), *overrides, *anchor.FIXED, f"run.output={folder}/.anchor"]
        anchored = load_config(absolute(data["anchor"], path.parent), given, beside=path.parent)
    return Sweep(folder, configs, anchored)


@dataclass(frozen=True)
class Kind:
    """What the value of a key has to be: whether a value is right, and in words what would be."""

    is_right: Callable[[Any], bool]
    wanted: str


def _is_list_of(kind: type, value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


TEXT = Kind(lambda value: isinstance(value, str) and value != "", "text")
TEXTS = Kind(lambda value: _is_list_of(str, value), 'a list of texts such as ["run.steps=40"]')
SEEDS = Kind(
    lambda value: _is_list_of(int, value) and value != [] and not any(isinstance(seed, bool) for seed in value),
    "a list of whole numbers such as [0, 1, 2]",
)
RUNS = Kind(lambda value: _is_list_of(dict, value) and value != [], "a list of {name, recipe, overrides}")
GRID = Kind(
    lambda value: isinstance(value, dict) and value != {} and all(isinstance(v, list) and v for v in value.values()),
    "a mapping of settings to lists of values such as {algorithm.group_size: [8, 16]}",
)
SWEEP_KEYS = {
    "base": TEXT,
    "grid": GRID,
    "seeds": SEEDS,
    "output": TEXT,
    "overrides": TEXTS,
    "anchor": TEXT,
    "runs": RUNS,
}
RUN_KEYS = {"name": TEXT, "recipe": TEXT, "overrides": TEXTS}


def _read(path: Path) -> dict[str, Any]:
    """The content of a sweep's file, its keys and values checked. Raises InputError."""
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected keys base, seeds, output and runs")
    if "runs" not in data and data.keys() & {field.name for field in fields(Config)} - {"runs"}:
        raise InputError(f"{path}: a recipe of one run and no sweep; explore-rl train {path}")
    _check_keys(str(path), data, known=SWEEP_KEYS, needed="runs")

    for i, entry in enumerate(data["runs"]):
        _check_keys(f"{path}: runs[{i}]", entry, known=RUN_KEYS, needed="name")
    data["runs"] = _of_grid(data["runs"], data.get("grid", {}))

    # A name or a seed that stands twice would put two runs into one folder.
    names = set()
    for i, entry in enumerate(data["runs"]):
        if entry["name"] in names:
            raise InputError(f"{path}: runs[{i}].name: {entry['name']!r} is there already")
        names.add(entry["name"])
    seeds = data.get("seeds", [])
    if len(set(seeds)) < len(seeds):
        raise InputError(f"{path}: seeds: {seeds} holds one twice")
    return data


def _of_grid(runs: list[dict[str, Any]], grid: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Each run with each combination of the grid's values, which its name says.

    >>> [run["name"] for run in _of_grid([{"name": "grpo"}], {"learner.threads": [1, 2]})]
    ['grpo_threads_1', 'grpo_threads_2']
    """
    made = []
    for entry, values in itertools.product(runs, itertools.product(*grid.values())):
        chosen = dict(zip(grid, values, strict=True))
        name = "_".join([entry["name"], *(f"{key.rpartition('.')[2]}_{value}" for key, value in chosen.items())])
        overrides = [f"{key}={json.dumps(value)}" for key, value in chosen.items()]
        made.append(entry | {"name": name, "overrides": [*entry.get("overrides", []), *overrides]})
    return made


def _check_keys(where: str, mapping: dict[str, Any], *, known: dict[str, Kind], needed: str) -> None:
    if unknown := mapping.keys() - known:
        raise InputError(f"{where}: unknown key {min(map(str, unknown))}; known: {', '.join(known)}")
    if needed not in mapping:
        raise InputError(f"{where}: {needed} is missing; expected {known[needed].wanted}")
    for key, value in mapping.items():
        if not known[key].is_right(value):
            raise InputError(f"{where}: {key}: expected {known[key].wanted}, got {value!r}")


def is_begun(config: Config) -> bool:
    """Whether the run of `config` has made a step: one that has made none leaves its folder free."""
    path = output_folder(config)
    return (path / "config.yaml").exists() and not RunFolder(path).never_began()


def finished(config: Config) -> bool:
    """Whether the run of `config` is done.

    Raises InputError if its folder holds a run of other settings, finished or not.
    """
    path = output_folder(config)
    if not is_begun(config):
        return False
    folder = RunFolder.open(path)
    is_final = (path / "final" / "config.json").exists()
    steps = load_config(path / "config.yaml").run.steps
    try:
        refuse_other_settings(config, folder)
        if is_final and steps != config.run.steps:
            raise InputError(f"run.steps was {steps} and is now {config.run.steps}")
    except InputError as error:
        state = "finished" if is_final else "begun"
        raise InputError(f"{path}: was {state} under other settings; choose another --output ({error})") from None
    # A run that was taken up again for more steps keeps the final model of fewer until its end.
    last_records = folder.records("metrics.jsonl")[-1:]
    return is_final and [record["step"] + 1 for record in last_records] == [steps]


def check_runs(configs: list[Config]) -> list[Needs]:
    """Checks all runs as each would be before it starts, so that no run trains before a later one's mistake is found.

    Raises InputError, with the run's name and seed.
    """
    read = Readings()  # runs mostly share their problems and their model
    needs = []
    for config in configs:
        try:
            inputs = check(config, resume=is_begun(config), read=read)
        except InputError as error:
            raise InputError(f"{config.name}, seed {config.seed}: {error}") from None
        needs.append(needs_of(inputs.strategies, config))
    return needs


def run_sweep(
    sweep: Sweep,
    after_each: Callable[..., Any] | None = None,
    *,
    is_helper: bool = False,
    begin: Callable[[int], Any] | None = None,
) -> list[Path]:
    """Runs what is not finished and no other process has, one after the other on shared actors.

    Returns the folders of all runs, those that other processes have included.

    sweep: its runs, checked.
    after_each: called as after_each(config, folder, actors=actors), while the engines hold the run's weights.
    is_helper: whether another process has made the anchor.
    begin: called with the number of runs that are waiting, after all checks and before the first of them.
    """
    waiting = [config for config in sweep.configs if not finished(config)]
    log.info("%d runs, %d finished already", len(sweep.configs), len(sweep.configs) - len(waiting))
    base_engine = any(need.base_engine for need in check_runs(waiting))
    sweep.output.mkdir(parents=True, exist_ok=True)
    with SharedActors(base_engine) as shared:
        if waiting and sweep.anchor is not None and not is_helper:
            log.info("the anchor: %s, %d steps", sweep.anchor.run.output, anchor.STEPS)
            anchor.hold(sweep.output, sweep.anchor, make=lambda config: run(config, actors=shared.serving(config)))
        if begin:
            begin(len(waiting))
        for number, config in enumerate(waiting, start=1):
            with claimed(sweep.output / f".{output_folder(config).name}.lock") as mine:
                # Another process may have finished it since.
                if not mine or finished(config):
                    log.info("%s, seed %d: another process has it", config.name, config.seed)
                    continue
                log.info("run %d of %d: %s, seed %d", number, len(waiting), config.name, config.seed)
                actors = shared.serving(config)
                folder = run(config, resume=is_begun(config), actors=actors)
                if after_each:
                    after_each(config, folder, actors=actors)
    return [output_folder(config) for config in sweep.configs]


class SharedActors:
    """Actors that stay up from run to run, and make way for new ones where they cannot serve a config.

    base_engine: whether some run draws from the base.
    """

    def __init__(self, base_engine: bool):
        self.base_engine = base_engine
        self.actors: Actors | None = None

    def serving(self, config: Config) -> Actors:
        if self.actors is not None and not self.actors.serves(config, self.base_engine):
            self.close()
        self.actors = self.actors or Actors(config, base_engine=self.base_engine)
        return self.actors

    def close(self) -> None:
        if self.actors is not None:
            self.actors.close()
        self.actors = None

    def __enter__(self) -> SharedActors:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
