"""What a run drew at its evaluations, found by step and set: samples as `analysis` reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from analysis.errors import InputError

NAME = re.compile(r"^(?P<run>.+)@(?P<step>\d+)(/(?P<set>[^/]+))?$")
FILE = re.compile(r"^step-(?P<step>\d+)-(?P<set>.+)\.parquet$")


def draws_of(run: Path) -> dict[str, dict[int, Path]]:
    """set -> steps done -> the file of its draws, in the order of the steps."""
    found: dict[str, dict[int, Path]] = {}
    for path in sorted((run / "evaluations").glob("step-*.parquet")):
        if named := FILE.match(path.name):
            found.setdefault(named["set"], {})[int(named["step"])] = path
    return found


def expanded(files: Sequence[str] | None) -> list[str] | None:
    """`files` with the file of its draws in place of every RUN@STEP[/SET]. Raises InputError where there is none."""
    return files if files is None else [_file_of(name) for name in files]


def _file_of(name: str) -> str:
    named = NAME.match(name)
    if not named or Path(name).exists() or not (Path(named["run"]) / "config.yaml").is_file():
        return name
    run = Path(named["run"])
    sets = draws_of(run)
    if named["set"] is None and len(sets) > 1:
        raise InputError(f"{name}: the run evaluates several sets; choose one, as in {name}/{min(sets)}")
    of_set = sets.get(named["set"] or next(iter(sets), ""), {})
    if int(named["step"]) not in of_set:
        kept = "; ".join(f"{one}: steps {', '.join(map(str, steps))}" for one, steps in sets.items()) or "none"
        raise InputError(
            f"{name}: the run keeps no draws of an evaluation then (kept are {kept}); draw some with "
            f"explore-rl sample {run}@{named['step']} --problems FILE --out FILE"
        )
    return str(of_set[int(named["step"])])
