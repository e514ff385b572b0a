"""The anchor of a board: a short run that has to give the same weights in every call that adds rows.

A board grows over calls, and its rows can be compared only if the code that made them trains alike. So a call that has
runs to make first makes the anchor again (the sweep's recipe `anchor`, seed 0, 20 steps). The first call records the
weights' hash in anchor.json; a later one whose anchor gives another hash is refused.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.experiments.identity import settings_hash, weights_hash
from explore_rl.experiments.run_folder import environment
from explore_rl.files import write_atomic

FILE = "anchor.json"
STEPS = 20
FIXED = (
    "name=anchor",
    "seed=0",
    f"run.steps={STEPS}",
    f"run.checkpoint_every={STEPS}",
    "run.evaluate_every=0",
    "run.exact_every=0",
)


def hold(output: Path, config: Config, *, make: Callable[[Config], Path]) -> None:
    """Makes the anchor and holds it to the recorded one, or records it where there is none.

    Raises InputError if the weights moved; it names both commits.

    output: the folder of the board.
    config: the anchor's, with its own run folder.
    make: trains a config and returns its run folder.
    """
    folder = Path(config.run.output)
    shutil.rmtree(folder, ignore_errors=True)
    folder = make(config)
    facts = environment(config.seed, config.devices.device)
    now = {
        "settings": settings_hash(config),
        "weights": weights_hash(folder / "final"),
        "commit": facts["commit"],
        "uncommitted_changes": facts["uncommitted_changes"],
        "versions": facts["versions"],
    }
    shutil.rmtree(folder)
    if not (output / FILE).exists():
        write_atomic(output / FILE, json.dumps(now, indent=1) + "\n")
        return
    compare(json.loads((output / FILE).read_text()), now, where=output / FILE)


def compare(recorded: dict[str, Any], now: dict[str, Any], *, where: Path) -> None:
    """Raises InputError if two anchors are not of the same settings and weights."""
    for key, what in (("settings", "has other settings"), ("weights", "gives other weights")):
        if recorded[key] == now[key]:
            continue
        moved = [
            f"{name} {old} -> {now['versions'].get(name)}"
            for name, old in recorded["versions"].items()
            if now["versions"].get(name) != old
        ]
        raise InputError(
            f"{where}: the board's anchor {what}: {recorded[key]} at commit {_commit(recorded)}, {now[key]} at commit"
            f" {_commit(now)}{' (' + ', '.join(moved) + ')' if moved else ''}; rows made now could not stand beside the"
            " others: make the board anew in another --output"
        )


def _commit(anchor: dict[str, Any]) -> str:
    changes = " with uncommitted changes" if anchor["uncommitted_changes"] else ""
    return f"{anchor['commit'] or 'unknown'}{changes}"
