"""What a verifier is, how it is named, and how it is made from a name and options.

A verifier is any callable `(completion, problem, *, truncated=False) -> Verdict`. The built-in ones are classes whose
keyword arguments are their options; they live one kind a file and are imported when first asked for. To add one, write
the class and name it in VERIFIERS.

What a verifier may rely on, and must keep to, when the pool calls it (`explore_rl.verifiers.pool`):
- It runs in a process of its own that is killed, with its process group, at the limits. Whatever it starts in another
  session must ask for PR_SET_PDEATHSIG to be killed with it.
- It may raise: the pool turns an exception into a verdict of status ERROR. It must not turn its own failures into
  WRONG.
- It is made once a process and called from one thread, so it may keep caches. The problem that it gets has no traces
  (they can be long).
- It imports no torch.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

from analysis.errors import InputError
from explore_rl.types import VERIFIER_MEMORY_MB, VERIFIER_TIME_S, Problem, Status, Verdict

# name -> "module:class", imported when first asked for
VERIFIERS = {
    "math": "explore_rl.verifiers.math:MathVerifier",
    "choice": "explore_rl.verifiers.choice:ChoiceVerifier",
    "text": "explore_rl.verifiers.text:TextVerifier",
    "numeric": "explore_rl.verifiers.numeric:NumericVerifier",
    "format": "explore_rl.verifiers.format:FormatVerifier",
    "combine": "explore_rl.verifiers.combine:CombinedVerifier",
    "code": "explore_rl.verifiers.code:CodeVerifier",
    "judge": "explore_rl.verifiers.judge:JudgeVerifier",
    "countdown": "explore_rl.verifiers.countdown:CountdownVerifier",
    "worked": "explore_rl.verifiers.worked:WorkedVerifier",
    "worked_evaluation": "explore_rl.verifiers.worked:WorkedEvaluationVerifier",
    "gym": "explore_rl.verifiers.gym:GymVerifier",
    "real_sum": "explore_rl.verifiers.line:LineVerifier",
    "real_product": "explore_rl.verifiers.line:LineVerifier",
    "real_mixed": "explore_rl.verifiers.line:LineVerifier",
    "real_gcd": "explore_rl.verifiers.line:LineVerifier",
    "real_pairs": "explore_rl.verifiers.line:LineVerifier",
    "real_steps": "explore_rl.verifiers.steps:StepsVerifier",
}
READS_STEPS = ("worked", "worked_evaluation", "real_steps")  # what they find right has every step right
PLUGIN = (
    "explore_rl.verifiers.plugin:PluginVerifier"  # PluginVerifier("module:function" or "path.py:function", **options)
)


@runtime_checkable
class Verifier(Protocol):
    """`truncated`: the completion was cut off by the length limit, so an answer it seems to end with may not be its
    answer."""

    def __call__(self, completion: str, problem: Problem, *, truncated: bool = False) -> Verdict: ...


@dataclass(frozen=True)
class Limits:
    """What one item may use before its process is killed.

    time_s: wall-clock seconds (verdict TIMEOUT). cpu_s: processor seconds (verdict TIMEOUT; whole seconds, rounded up);
    None: no limit of its own. memory_mb: growth of the process beyond its size when idle, in MiB (verdict ERROR).
    """

    time_s: float = VERIFIER_TIME_S
    cpu_s: float | None = None
    memory_mb: int = VERIFIER_MEMORY_MB

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "cpu_s" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise InputError(f"verifier limits: {field.name} must be a number above 0, got {value!r}")


# --- verdicts, in short ----------------------------------------------------------------------------------------------


def correct(answer: str | None = None, *, score: float = 1.0, mode: str | None = None, reason: str = "") -> Verdict:
    """A verdict CORRECT.

    answer: what was extracted.
    score: what the completion is worth, 0 to 1.
    mode: the solution's mode, where the verifier knows modes.
    reason: in words, for who reads rollouts.
    """
    return Verdict(Status.CORRECT, score, answer, mode, reason)


def wrong(answer: str | None = None, *, score: float = 0.0, mode: str | None = None, reason: str = "") -> Verdict:
    """A verdict WRONG; the arguments are those of `correct`.

    answer, score, mode, reason: as in `correct`.
    """
    return Verdict(Status.WRONG, score, answer, mode, reason)


def no_answer(reason: str) -> Verdict:
    return Verdict(Status.NO_ANSWER, 0.0, None, None, reason)


def timed_out(reason: str) -> Verdict:
    return Verdict(Status.TIMEOUT, None, None, None, reason)


def failed(reason: str) -> Verdict:
    return Verdict(Status.ERROR, None, None, None, reason)


# --- from a name to a verifier ---------------------------------------------------------------------------------------


def make_verifier(name: str, options: Mapping[str, Any] | None = None) -> Verifier:
    """The verifier of this name with these options.

    name: one of VERIFIERS, or a plug-in "module:function" or "path.py:function". options: keyword arguments of the
    verifier's class. Two further keys are for everyone: `kind` makes a verifier of another kind under this name
    ({"gsm8k": {"kind": "math"}}), and `limits` is what one item may use (a mapping of the fields of Limits); it becomes
    the verifier's attribute `limits`.

    Raises InputError for an unknown name, an unknown option (with the nearest right one) or a bad value.
    """
    options = dict(options or {})
    kind = options.pop("kind", name)
    limits = options.pop("limits", None)
    where = f"verifier {name!r}"
    factory, arguments = _factory(kind, where)
    _check_options(factory, arguments, options=options, where=where)
    try:
        verifier = factory(*arguments, **options)
    except TypeError as error:
        raise InputError(f"{where}: {error}") from error
    if limits is not None:
        verifier.limits = _limits(limits, where)
    return verifier


def limits_of(verifier: Verifier, default: Limits = Limits()) -> Limits:
    """What the verifier asks for one item (its attribute `limits`, which a class may set in its constructor), or the
    default."""
    return getattr(verifier, "limits", None) or default


def check_name(name: str) -> None:
    """Raises InputError unless the name is one of VERIFIERS or has the form of a plug-in. Imports nothing."""
    if name not in VERIFIERS and ":" not in name:
        raise InputError(
            f"unknown verifier {name!r}{_nearest(name, VERIFIERS)}; a function of your own is named module:function"
        )


def _factory(kind: str, where: str) -> tuple[Any, tuple[str, ...]]:
    if not isinstance(kind, str):
        raise InputError(f"{where}: a verifier's name must be text, got {kind!r}")
    check_name(kind)
    target, arguments = (VERIFIERS[kind], ()) if kind in VERIFIERS else (PLUGIN, (kind,))
    module, attribute = target.split(":")
    return getattr(importlib.import_module(module), attribute), arguments


def _check_options(factory: Any, arguments: tuple[str, ...], *, options: Mapping[str, Any], where: str) -> None:
    parameters = list(inspect.signature(factory).parameters.values())[len(arguments) :]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters]
    for key in options:
        if key not in known:
            takes = f"; its options are {', '.join(known)}" if known else "; it takes none"
            raise InputError(f"{where}: unknown option {key!r}{_nearest(key, known)}{takes}")


def _limits(given: Mapping[str, Any] | Limits, where: str) -> Limits:
    if isinstance(given, Limits):
        return given
    known = [field.name for field in fields(Limits)]
    if not isinstance(given, Mapping):
        raise InputError(f"{where}: limits must map {', '.join(known)} to numbers, got {given!r}")
    for key in given:
        if key not in known:
            raise InputError(f"{where}: unknown limit {key!r}{_nearest(key, known)}; limits are {', '.join(known)}")
    return Limits(**given)


def _nearest(name: Any, known: Any) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""
