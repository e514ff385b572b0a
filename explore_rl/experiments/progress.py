"""What a run says while it works: a bar in a terminal that log lines do not break, elsewhere a line a step."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from explore_rl.experiments.run_folder import RunFolder

log = logging.getLogger(__name__)

SHOWN_K = (1, 16, 256, 1024)  # of a curve of pass@k
FIGURES = {  # of a step: metric -> what it is called here
    "pass@1": "pass@1",
    "reward/mean": "reward",
    "length/mean": "length",
    "length/truncated": "cut off",
    "entropy/token": "entropy",
    "seconds/step": "s/step",
}


def is_terminal() -> bool:
    """Whether a bar can be drawn: somebody looks, and there is room for it."""
    return sys.stderr.isatty() and shutil.get_terminal_size((80, 0)).lines > 0


class Progress:
    """How far a run is. `step` after every step, `state` after every evaluation or audit.

    name: the run's, for the lines.
    steps: all of the run.
    begin: steps done before, which no time left is reckoned from.
    bar: what is moved on a terminal; None: lines go to the log.
    """

    def __init__(self, name: str, steps: int, *, begin: int, bar: tqdm | None):
        self.name, self.steps, self.begin, self.bar = name, steps, begin, bar
        self.started = time.monotonic()

    def step(self, number: int, metrics: dict[str, float]) -> None:
        """number: of the step, from 0."""
        figures = {called: metrics[name] for name, called in FIGURES.items() if metrics.get(name) is not None}
        if self.bar is not None:
            self.bar.set_postfix({called: f"{value:.3g}" for called, value in figures.items()}, refresh=False)
            self.bar.update()
            return
        done = number + 1
        left = (time.monotonic() - self.started) / (done - self.begin) * (self.steps - done)
        said = ", ".join(f"{called} {value:.3g}" for called, value in figures.items())
        log.info("%s: step %d of %d: %s; %s left", self.name, done, self.steps, said, duration(left))

    def state(self, done: int, metrics: dict[str, float]) -> None:
        """An evaluation or audit of the state after `done` steps."""
        said = ", ".join(f"{name} {value:.3g}" for name, value in metrics.items() if _is_shown(name))
        log.info("%s: after %d of %d steps: %s", self.name, done, self.steps, said)


@contextmanager
def progress(name: str, steps: int, *, begin: int) -> Iterator[Progress]:
    """Around the steps of a run. begin: steps done before."""
    if not is_terminal():
        yield Progress(name, steps, begin=begin, bar=None)
        return
    with (
        logging_redirect_tqdm(),
        tqdm(total=steps, initial=begin, desc=name, unit="step", dynamic_ncols=True) as bar,
    ):
        yield Progress(name, steps, begin=begin, bar=bar)


def _is_shown(name: str) -> bool:
    k = name.rpartition("pass@")[2]
    return name.endswith("/explained_variance") or k.isdigit() and int(k) in SHOWN_K


def duration(seconds: float) -> str:
    """In words.

    >>> duration(42), duration(605), duration(7300)
    ('42 s', '10 min', '2 h 2 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def before_and_after(folder: RunFolder, until: int | None = None) -> list[str]:
    """The first and the last state that was measured, one line a set and one for the exact support.

    until: nothing after so many steps counts; None: all does.
    """
    lines = []
    most = float("inf") if until is None else until
    by_set: dict[str, list[dict[str, Any]]] = {}
    for record in (r for r in folder.records("evaluations.jsonl") if r["step"] <= most):
        by_set.setdefault(record.get("set", "heldout"), []).append(record)
    for name, records in by_set.items():
        first = records[0]
        last = records[-1]
        both = [key for key in first if key in last]
        largest = max((int(key[5:]) for key in both if key.startswith("pass@")), default=0)
        figures = [key for key in both if _is_shown(key) or key == f"pass@{largest}"]
        said = ", ".join(f"{key} {first[key]:.3f} -> {last[key]:.3f}" for key in figures)
        lines.append(f"{name}, {last['problems']} problems, step {first['step']} -> {last['step']}: {said}")
    audits = [record for record in folder.records("exact.jsonl") if record["step"] <= most]
    if audits:
        first = audits[0]["pass_at_k"]
        last = audits[-1]["pass_at_k"]
        said = ", ".join(f"pass@{k} {first[k]:.3f} -> {last[k]:.3f}" for k in map(str, SHOWN_K) if k in first)
        rung = min(audits[-1]["support"]["mode"], key=lambda rung: abs(rung["eps"] - EPS_SHOWN))
        support = f"of the base's solutions {rung['shrunk']} lost, {rung['expanded']} new ones gained"
        lines.append(f"exact, step {audits[0]['step']} -> {audits[-1]['step']}: {said}; {support}")
    return lines


EPS_SHOWN = 3 / 1024  # the rule-of-three detection limit of 1,024 draws
