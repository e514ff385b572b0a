"""Methods x seeds against the base: sampled audits through `analysis`; in the laboratory the exact board beside it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from analysis import readers
from analysis.compare import POOLED, compare
from analysis.errors import InputError
from analysis.pair import DEFAULTS
from analysis.report import write_comparison
from explore_rl.config.loading import load_config
from explore_rl.config.schema import Config
from explore_rl.experiments import board, tree_figure
from explore_rl.experiments.pooling import differences, differing, method_names
from explore_rl.experiments.training_curves import differing_settings, training_curves
from explore_rl.lab.audits import audit_of
from explore_rl.lab.problems import load as load_lab_problems
from explore_rl.learner.messages import POLICY_ALONE
from explore_rl.models import resolve_model
from explore_rl.problems import load_problems
from explore_rl.rollout.engines import Engines
from explore_rl.rollout.sampling import SamplingSettings, at_least_1, engines, sample
from explore_rl.training.actors import Actors, verifier_pool
from explore_rl.verifiers.pool import VerifierPool

log = logging.getLogger(__name__)

# The base is drawn twice, and its second draw stands beside the methods: what one model drawn twice shows.
REDRAW_SEED = 1


class Comparison:
    """Samples what runs need for their audit, and writes the comparison.

    output: the folder of the board and the report.
    samples: completions a problem.
    problems: the problems to sample; None: the first `SAMPLED` of the recipe's exact audit problems or, outside the
        laboratory, of its held-out problems.
    replicates: how many the audits' bootstrap draws; None: the audit's own default.
    """

    SAMPLED = 100

    def __init__(self, output: Path, samples: int, *, problems: str | None = None, replicates: int | None = None):
        at_least_1("samples", samples)
        self.audited = DEFAULTS if replicates is None else replace(DEFAULTS, replicates=replicates)
        self.output = output
        self.samples = samples
        self.problems = problems

    def check(self, configs: Sequence[Config]) -> None:
        """Finds mistakes before any work: reads the audit problems, and sees whether one base can serve all runs.

        Raises InputError.
        """
        # The base of every run has to be sampled like the first one's.
        wanted = [self.settings(config, config.model.path) for config in configs]
        first = wanted[0]
        for config, other in zip(configs, wanted, strict=True):
            differing = [f.name for f in fields(other) if getattr(other, f.name) != getattr(first, f.name)]
            if differing:
                said = ", ".join(
                    f"{name} {getattr(first, name)!r} against {getattr(other, name)!r}" for name in differing
                )
                runs = " and ".join(f"{c.name}, seed {c.seed}" for c in (configs[0], config))
                raise InputError(
                    f"runs {runs} would be sampled differently ({said}),"
                    " and no one base stands against both; compare them apart"
                )
        # Each set of audit problems is read once, for the check alone.
        for problems, form, limit in dict.fromkeys((s.problems, s.format, s.limit) for s in wanted):
            load_problems(problems, format=form, limit=limit)

    def settings(self, config: Config, model: str, *, seed: int = 0) -> SamplingSettings:
        """How `model` is sampled for the audit of a run of `config`. Raises InputError without audit problems."""
        laboratory = board.is_laboratory(config)
        problems = self.problems or (config.run.exact_problems if laboratory else config.problems.heldout)
        if problems is None:
            raise InputError("no audit problems: the recipe has no problems.heldout; give --problems")
        return SamplingSettings(
            model=model,
            problems=problems,
            n=self.samples,
            temperature=config.rollout.temperature,
            max_tokens=config.rollout.max_new_tokens,
            seed=seed,
            template=config.model.template,
            stop=tuple(config.rollout.stop),
            dtype=config.model.dtype,
            limit=None if self.problems else self.SAMPLED,
            verifier_options=config.verifiers.options,
            format=None if self.problems or laboratory else config.problems.format,
        )

    def wanted(self, config: Config, folder: Path) -> list[tuple[SamplingSettings, Path]]:
        """What a run's audit reads, each with its file: the run's own samples, then the two draws from its base.

        Other settings are other files.
        """
        run = self.settings(config, str(folder / "final"))
        wanted = [(run, folder / f"samples-{self.samples}-{run.digest()}.parquet")]
        for seed in (0, REDRAW_SEED):
            base = self.settings(config, config.model.path, seed=seed)
            wanted.append((base, self.output / f"base-{self.samples}-draw{seed}-{base.digest()}.parquet"))
        return wanted

    def sample_run(self, config: Config, folder: Path, *, actors: Actors, base: bool = True) -> None:
        """Draws a run's audit samples from the engines that its training left behind, and the base's, once.

        config: the run's.
        folder: the run's.
        actors: those it trained on; the engines still hold its weights.
        base: whether this process draws the base's; of several processes one does.
        """
        (settings, out), *of_base = self.wanted(config, folder)
        if not out.exists():
            self._sample(settings, out, drawing=nullcontext(actors.engines), pool=actors.verifiers)
        if not base:
            return

        # For the base the engines get the initial weights back.
        missing = [(settings, out) for settings, out in of_base if not out.exists()]
        if missing:
            actors.reset(config, POLICY_ALONE)
            actors.weights.send(0)
        for settings, out in missing:
            self._sample(settings, out, drawing=nullcontext(actors.engines), pool=actors.verifiers)

    def sample_missing(self, folders: Sequence[Path]) -> None:
        """The same for runs whose engines are gone: starts engines once for each model that has no samples yet."""
        by_model: dict[str, list[tuple[SamplingSettings, Path, Config]]] = {}
        for folder in folders:
            config = load_config(folder / "config.yaml")
            for settings, out in self.wanted(config, folder):
                if not out.exists():
                    # Draws of one model that differ in their seed alone, which belongs to requests.
                    of_model = by_model.setdefault(str(replace(settings, seed=0)), [])
                    if out not in [known for _, known, _ in of_model]:
                        of_model.append((settings, out, config))
        for draws in by_model.values():
            with engines(draws[0][0]) as started, verifier_pool(draws[0][2]) as pool:
                for settings, out, _ in draws:
                    self._sample(settings, out, drawing=nullcontext(started), pool=pool)

    def _sample(
        self, settings: SamplingSettings, out: Path, *, drawing: AbstractContextManager[Engines], pool: VerifierPool
    ) -> None:
        counts = sample(settings, out, drawing=drawing, pool=pool)
        log.info("%s: %s", out, ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))

    def write(self, folders: Sequence[Path]) -> dict[str, Any]:
        """Board (in the laboratory), comparison.json and the report, into `output`; prints the table."""
        configs = {folder: load_config(folder / "config.yaml") for folder in folders}
        files = {folder: [out for _, out in self.wanted(config, folder)] for folder, config in configs.items()}

        # The base stands against its own second draw and against every run, by method.
        _, drawn, again = files[folders[0]]
        base = readers.load([str(drawn)], name="base")
        names = dict(zip(configs, method_names(list(configs.values())), strict=True))
        methods: dict[str, list] = {"base, drawn again": [readers.load([str(again)], name="base, drawn again")]}
        for folder, config in configs.items():
            run = readers.load([str(files[folder][0])], name=f"{names[folder]}, seed {config.seed}")
            methods.setdefault(names[folder], []).append(run)
        # What differs between the methods besides their names is said, since all of it may be what is measured.
        different = differences(list(configs.values()))
        warnings: dict[str, None] = dict.fromkeys(different if _is_more_than_the_method(configs) else [])
        for run in (run for runs in methods.values() for run in runs):
            warnings |= dict.fromkeys(readers.align(base, run)[2])

        document = compare(
            base,
            methods,
            settings=self.audited,
            warnings=list(warnings),
            progress=lambda line: log.info("auditing %s", line),
        )
        # By the names under which the comparison knows the methods.
        named = {folder: replace(config, name=names[folder]) for folder, config in configs.items()}
        document["training"] = training_curves(named)
        document["differing"] = differing_settings(named)
        if board.is_laboratory(configs[folders[0]]):
            exact = board.build(folders, methods=names)
            board.write(exact, self.output)
            exact["tree"] = self._tree(configs, names)
            document["exact"] = exact
            print(f"\nexact, on {exact['settings']['problems']}, support at eps = {board.EPS:.4f}:\n")
            print(board.text_table(exact))
            print(board.LEGEND)
        write_comparison(document, self.output)
        print(f"\nreport: {self.output / 'report.html'}")
        for line in different:
            print(line)
        print("verdicts, from all runs of a method:")
        for name, method in document["methods"].items():
            print(f"  {name}: {method['verdict'][POOLED]['verdict']}")
        return document

    def _tree(self, configs: dict[Path, Config], names: dict[Path, str]) -> dict[str, Any] | None:
        """The search tree of one problem under the base and each method's first run."""
        first: dict[str, Path] = {}
        for folder in configs:
            first.setdefault(names[folder], folder)
        config = next(iter(configs.values()))
        asked = load_lab_problems(config.run.exact_problems)
        temperature = config.rollout.temperature
        base = resolve_model(config.model.path)
        tuned = board.final_audit(next(reversed(first.values())), asked, temperature=temperature)
        place = tree_figure.telling(asked, audit_of(base, asked, temperature=temperature), tuned=tuned)
        if place is None:
            return None
        models = {"base": Path(base)} | {name: folder / "final" for name, folder in first.items()}
        return tree_figure.draw(asked[place], models, folder=self.output / "figures")


def _is_more_than_the_method(configs: dict[Path, Config]) -> bool:
    """Whether runs differ in settings that no method needs to differ in: how long, how fast or on what they learnt."""
    found = differing(list(configs.values()))
    return any(key in found for key in MATCHED)


# Settings in which methods that are compared are expected to agree.
MATCHED = ("run.steps", "learner.learning_rate", "algorithm.group_size", "algorithm.prompts_per_step", "problems.train")
