"""The search tree of one audit problem under the base and the trained models, for the report of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from explore_rl.lab import exact, logprobs, tree
from explore_rl.lab.families import answers_of
from explore_rl.types import Problem

MOST_ANSWERS = 12  # of the problem that is shown, so that the tree can be read
PANELS = 3  # the base's among them
WRONG = 4  # wrong completions of each model


def telling(asked: list[Problem], base: exact.ExactAudit, *, tuned: exact.ExactAudit) -> int | None:
    """The place of the problem whose modes have changed most in the logarithm, of those that fit; None if none does.

    base, tuned: the exact audits of the problems in `asked`.
    """
    eps = 1e-6  # below it nothing is to be seen in a picture
    logs = [np.log(np.maximum(audit.mode_probabilities, eps)) for audit in (base, tuned)]
    moved = np.zeros(len(asked))
    np.add.at(moved, base.index.mode_problem, np.abs(logs[1] - logs[0]))
    fits = [place for place, problem in enumerate(asked) if 1 < len(answers_of(problem)) <= MOST_ANSWERS]
    return max(fits, key=lambda place: moved[place]) if fits else None


def draw(problem: Problem, models: Mapping[str, Path], *, folder: Path) -> dict[str, Any]:
    """Draws tree.svg and tree.png into `folder`; returns what the report shows: {"problem", "svg"}.

    models: name -> checkpoint folder, the base first.
    """
    loaded = {name: logprobs.load_model(path) for name, path in list(models.items())[:PANELS]}
    found = tree.search_tree(problem, loaded, wrong=WRONG)
    folder.mkdir(parents=True, exist_ok=True)
    tree.draw(found, [folder / "tree.svg", folder / "tree.png"])
    return {"problem": problem.prompt, "svg": (folder / "tree.svg").read_text(encoding="utf-8")}
