"""Methods x seeds against the base: sampled audits through `analysis`, in the laboratory with the exact board beside them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from analysis import readers
from analysis.compare import compare
from analysis.errors import InputError
from analysis.report import write_comparison
from explore_rl import board
from explore_rl.actors import Actors
from explore_rl.config import Config, load_config
from explore_rl.rollout.group import RolloutGroup
from explore_rl.sampling import SamplingSettings, engines, sample
from explore_rl.verifiers.pool import VerifierPool

log = logging.getLogger(__name__)

REDRAW_SEED = 1  # the base is drawn twice, and stands on the board as a method: what one model drawn twice shows


class Comparison:
    """Samples what runs need for their audit, and writes the comparison.

    output: the folder of the board and the report. samples: completions a problem. problems: audit problems of the samples; None: the
    first `SAMPLED` of the recipe's exact audit problems, or its held-out problems outside the laboratory.
    """

    SAMPLED = 100

    def __init__(self, output: Path, samples: int, problems: str | None = None):
        self.output, self.samples, self.problems = output, samples, problems

    def settings(self, config: Config, model: str, seed: int = 0) -> SamplingSettings:
        laboratory = board.is_laboratory(config)
        problems = self.problems or (config.run.exact_problems if laboratory else config.problems.heldout)
        if problems is None:
            raise InputError("no audit problems: the recipe has no problems.heldout; give --problems")
        return SamplingSettings(
            model=model, problems=problems, n=self.samples, temperature=config.rollout.temperature, max_tokens=config.rollout.max_new_tokens,
            seed=seed, template=config.model.template, stop=tuple(config.rollout.stop), dtype=config.model.dtype,
            limit=None if self.problems else self.SAMPLED,
        )  # fmt: skip

    def sample_run(self, config: Config, folder: Path, actors: Actors) -> None:
        """Draws a run's audit samples from the engines that its training left behind, and the base's, once."""
        if not self.run_samples(folder).exists():
            self._sample(self.settings(config, str(folder / "final")), self.run_samples(folder), nullcontext(actors.rollouts), actors.verifiers)
        waiting = [seed for seed in (0, REDRAW_SEED) if not self.base_samples(seed).exists()]
        if waiting:
            actors.reset(config, base_model=False)
            actors.weights.send(0)
            for seed in waiting:
                self._sample(self.settings(config, config.model.path, seed), self.base_samples(seed), nullcontext(actors.rollouts), actors.verifiers)

    def sample_missing(self, folders: Sequence[Path]) -> None:
        """The same for runs that were trained elsewhere: starts engines for each model that has no samples yet."""
        with VerifierPool() as pool:
            for folder in folders:
                config = load_config(folder / "config.yaml")
                wanted = [(str(folder / "final"), self.run_samples(folder), 0)]
                wanted += [(config.model.path, self.base_samples(seed), seed) for seed in (0, REDRAW_SEED)]
                for model, out, seed in wanted:
                    if not out.exists():
                        settings = self.settings(config, model, seed)
                        self._sample(settings, out, engines(settings), pool)

    def run_samples(self, folder: Path) -> Path:
        return folder / f"samples-{self.samples}.parquet"

    def base_samples(self, seed: int) -> Path:
        return self.output / f"base-{self.samples}-draw{seed}.parquet"

    def _sample(self, settings: SamplingSettings, out: Path, drawing: AbstractContextManager[RolloutGroup], pool: VerifierPool) -> None:
        counts = sample(settings, out, drawing, pool)
        log.info("%s: %s", out, ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))

    def write(self, folders: Sequence[Path]) -> dict[str, Any]:
        """Board (in the laboratory), comparison.json and the report, into `output`; prints the table."""
        configs = {folder: load_config(folder / "config.yaml") for folder in folders}
        base = readers.load([str(self.base_samples(0))], name="base")
        methods: dict[str, list] = {"base, drawn again": [readers.load([str(self.base_samples(REDRAW_SEED))], name="base, drawn again")]}
        for folder, config in configs.items():
            methods.setdefault(config.name, []).append(readers.load([str(self.run_samples(folder))], name=f"{config.name}, seed {config.seed}"))
        warnings = dict.fromkeys(line for runs in methods.values() for run in runs for line in readers.align(base, run)[2])
        document = compare(base, methods, warnings=list(warnings), progress=lambda line: log.info("auditing %s", line))
        if board.is_laboratory(configs[folders[0]]):
            exact = board.build(folders)
            board.write(exact, self.output)
            document["exact"] = exact
            print(f"\nexact, on {exact['settings']['problems']}, support at eps = {board.EPS:.4f}:\n\n{board.text_table(exact)}")
        write_comparison(document, self.output)
        print(f"\nreport: {self.output / 'report.html'}")
        return document
