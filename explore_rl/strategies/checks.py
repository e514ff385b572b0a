"""The tests that every strategy has to pass, on anyone's class: `check_strategy`.

    from explore_rl.strategies.checks import check_strategy
    from short_answers import ShortAnswers

    def test_short_answers():
        report = check_strategy(ShortAnswers, on={"size": 0.2}, off={"size": 0.0})
        assert report.ok, report

or, from a shell, `python -m explore_rl.strategies.checks short_answers:ShortAnswers`. It takes some seconds, and
neither Ray nor a model nor an engine: the steps are those of the real Trainer over a table (`explore_rl.testing`).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.errors import InputError
from explore_rl import strategies
from explore_rl.config.schema import Config
from explore_rl.strategies.base import Strategy
from explore_rl.strategies.parameters import names_of
from explore_rl.strategies.together import check_class
from explore_rl.testing import FinishedSteps, digits_config, run_steps

STEPS, STOP = 6, 3
SETTINGS = (
    "algorithm.prompts_per_step=3", "algorithm.group_size=4", f"run.steps={STEPS}",
    "rollout.max_new_tokens=4", "algorithm.divide_by_std=false",  # room for a bonus on length, and nothing rescales it
    "learner.optimizer=adamw", "learner.learning_rate=0.1",
)  # fmt: skip
ROUNDING = 1e-6  # relative: less is no effect
SWITCHES = ("coefficient", "rate", "scale", "strength", "size")  # parameters whose 0 should switch a strategy off


@dataclass(frozen=True)
class Finding:
    """The outcome of one test. passed: None where it could not be made."""

    test: str
    passed: bool | None
    said: str


@dataclass(frozen=True)
class Report:
    """What `check_strategy` found; as text a line a test."""

    name: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether every test was made and passed."""
        return all(finding.passed for finding in self.findings)

    def __str__(self) -> str:
        words = {True: "passed", False: "FAILED", None: "NOT MADE"}
        lines = [f"{words[f.passed]:<9} {f.test:<11} {f.said}" for f in self.findings]
        return "\n".join([f"strategy {self.name}:", *lines])


def check_strategy(
    kind: type[Strategy],
    *,
    on: dict[str, Any] | None = None,
    off: dict[str, Any] | None = None,
    settings: Sequence[str] | None = None,
) -> Report:
    """Runs a strategy for six steps in several ways, and says what it does wrong.

        active       its steps are others than GRPO's
        inert        switched off, every gradient and all weights are GRPO's, bit for bit
        repeatable   the same run twice gives the same weights: what it draws, it draws from `context.rng`
        resume       steps 0-3 and, in a new process's place, 3-6 give the weights and samples of 0-6: its state is kept

    kind: the class.
    on: the constructor's arguments; none: those of the class's `trial`.
    off: the arguments that switch it off; none: those of its `trial`, or `on` with the first of coefficient, rate,
        scale, strength and size that the constructor has set to 0.
    settings: overrides of the run's config, as on the command line, for example "algorithm.importance_cap=null"; none:
        those of its `trial`.
    Raises InputError for a class or settings that a run would refuse too.
    """
    check_class(kind)
    # Arguments of one's own leave the trial's out: its `off` may not go with them.
    trial = kind.trial
    off = trial.off if on is None and off is None else off
    on = trial.on if on is None else on
    off = _switched_off(kind, on) if off is None else off
    settings = trial.settings if settings is None else settings
    config = digits_config(*SETTINGS, *settings)
    # What it equals where it is switched off may be asked for by a setting that it refuses beside itself.
    left = digits_config(*SETTINGS, *settings, *trial.left)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = run_steps(folder / "plain", config=left)
        whole = run_steps(folder / "whole", [kind(**on)], config=config)
        again = run_steps(folder / "again", [kind(**on)], config=config)
        # The second call finds the first one's folder, and goes on from its checkpoint.
        run_steps(folder / "broken", [kind(**on)], config=config, stop_after=STOP)
        resumed = run_steps(folder / "broken", [kind(**on)], config=config)
        findings = [_active(plain, whole)]
        if off is None:
            said = f"say which arguments switch it off: off={{...}}; none of {', '.join(SWITCHES)} is one of its own"
            findings.append(Finding("inert", None, said))
        else:
            findings.append(_inert(plain, run_steps(folder / "off", [kind(**off)], config=config), options=off))
        findings.append(_repeatable(whole, again))
        findings.append(_resumes(whole, resumed, config=config))
    return Report(kind.name, tuple(findings))


def _switched_off(kind: type[Strategy], on: dict[str, Any]) -> dict[str, Any] | None:
    known = names_of(kind)
    switch = next((name for name in SWITCHES if name in known), None)
    return None if switch is None else on | {switch: 0.0}


def _active(plain: FinishedSteps, whole: FinishedSteps) -> Finding:
    gaps = [_gap(mine.gradient, theirs.gradient) for mine, theirs in zip(whole.updates, plain.updates, strict=True)]
    sizes = [float(np.abs(theirs.gradient).max()) for theirs in plain.updates]
    first = next((step for step, gap in enumerate(gaps) if gap > ROUNDING * sizes[step]), None)
    if first is None:
        return Finding("active", False, f"its {STEPS} gradients are GRPO's; no place of it had any effect")
    return Finding("active", True, f"from step {first} on its gradient is another (by {gaps[first]:.1e} at most there)")


def _inert(plain: FinishedSteps, off: FinishedSteps, *, options: dict[str, Any]) -> Finding:
    with_options = ", ".join(f"{name}={value!r}" for name, value in options.items())
    for step, (mine, theirs) in enumerate(zip(off.updates, plain.updates, strict=True)):
        gap = _gap(mine.gradient, theirs.gradient)
        if gap:
            said = f"with {with_options} the gradient of step {step} differs from GRPO's by {gap:.1e}"
            return Finding("inert", False, said)
    return Finding("inert", True, f"with {with_options} all {STEPS} gradients are GRPO's, bit for bit")


def _repeatable(whole: FinishedSteps, again: FinishedSteps) -> Finding:
    step = _first_other_step(whole, again)
    if step is None:
        return Finding("repeatable", True, f"{STEPS} steps twice gave the same samples and weights")
    return Finding("repeatable", False, f"the same run gave another step {step}; draw random numbers from context.rng")


def _resumes(whole: FinishedSteps, resumed: FinishedSteps, *, config: Config) -> Finding:
    parts = f"steps 0-{STOP} and {STOP}-{config.run.steps}"
    step = _first_other_step(whole, resumed)
    if step is None:
        return Finding("resume", True, f"{parts} gave the samples and weights of 0-{config.run.steps}")
    why = "what a step leaves on the strategy belongs in state()"
    return Finding("resume", False, f"{parts} differ from 0-{config.run.steps} in step {step}; {why}")


def _first_other_step(one: FinishedSteps, other: FinishedSteps) -> int | None:
    """The first step whose samples differ; the last one if only the weights do."""
    for step in range(STEPS):
        if one.samples(step) != other.samples(step):
            return step
    return None if (one.table == other.table).all() else STEPS - 1


def _gap(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


def main(arguments: list[str], say: Callable[[str], None] = print) -> int:
    """Checks the class that is named "module:Class", as its `trial` says. Returns 0 if it passes, else 1 or 2."""
    if len(arguments) != 1 or ":" not in arguments[0]:
        say("usage: python -m explore_rl.strategies.checks module:Class")
        return 2
    sys.path.insert(0, "")
    try:
        kind = strategies.class_of(arguments[0])
        strategies.make([{"name": arguments[0], **kind.trial.on}])
        report = check_strategy(kind)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    say(str(report))
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
