"""Controls that cost no training: what anyone who has a base and a trained model could do instead of a new method.

    at a temperature   the same weights, drawn from at another one
    between            weights on the straight line from the base to the trained model (WiSE-FT, arXiv 2109.01903)
    split              one draw of the trained model, all others of the base

No method keeps support if it does not beat the second and the third, since both are free.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from analysis.errors import InputError
from explore_rl.lab.audits import audit_of, audit_of_loaded
from explore_rl.lab.exact import ExactAudit
from explore_rl.lab.logprobs import load_model
from explore_rl.types import Problem

TEMPERATURES = (0.8, 1.25, 1.5, 2.0)
SHARES = (0.25, 0.5, 0.75)  # of the trained weights


def between(base: Path, tuned: Path, *, share: float, asked: list[Problem], temperature: float) -> ExactAudit:
    """The exact audit of (1 - share) base + share tuned, weight by weight.

    Raises InputError if the two do not have the same weights' names and shapes.

    base, tuned: checkpoint folders.
    share: the tuned weights', 0 to 1.
    asked: the problems.
    temperature: what it is taken at.
    """
    model, tokenizer = load_model(base)
    other, _ = load_model(tuned)
    ours = model.state_dict()
    theirs = other.state_dict()
    if {name: value.shape for name, value in ours.items()} != {name: value.shape for name, value in theirs.items()}:
        raise InputError(f"{tuned}: its weights are not those of {base} by name and shape, so nothing lies between")
    for name, value in ours.items():
        value.lerp_(theirs[name], share)  # state_dict holds the parameters themselves
    audit = audit_of_loaded(model, tokenizer, asked=asked, temperature=temperature)
    audit.settings |= {"temperature": temperature, "top_p": 1.0, "model": f"{share:g} from {base} to {tuned}"}
    return audit


def split_pass_at_k(base: ExactAudit, tuned: ExactAudit, *, ks: Iterable[int]) -> dict[int, float]:
    """Exact pass@k where the first draw is the tuned model's and the other k - 1 are the base's.

    Mean over problems of 1 - (1 - p_tuned) (1 - p_base)^(k - 1).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        fails = {k: (1 - tuned.success) * np.power(1 - base.success, k - 1) for k in ks}
    return {k: float(np.mean(1 - failed)) for k, failed in fails.items()}


def kept(path: Path, asked: list[Problem], *, temperature: float, model: Path, base: Path, share: float) -> ExactAudit:
    """The audit of a control from its file, made and written there if it is not there yet.

    path: the JSON file's.
    asked: the problems.
    temperature: what it is taken at.
    model: the trained model's folder.
    base: the base's.
    share: the trained weights'; 1: the trained model itself.
    """
    if not path.exists():
        if share == 1:
            audit = audit_of(model, asked, temperature=temperature)
        else:
            audit = between(base, model, share=share, asked=asked, temperature=temperature)
        audit.save(path)
    return audit_of(path, asked, temperature=temperature)
