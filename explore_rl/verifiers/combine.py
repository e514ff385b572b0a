"""A weighted sum of verifiers: for example nine tenths the answer, one tenth the format."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from analysis.errors import InputError
from explore_rl.types import Problem, Status, Verdict
from explore_rl.verifiers.base import Limits, limits_of, make_verifier


class CombinedVerifier:
    """score = sum(weight * score) / sum(weight) over the parts. The first part is the answer: status, answer and mode
    are its.

    parts: a list of {verifier: name, weight: number (1), options: {...}}; a part may name any verifier, and each judges
    the same completion.
    gate: where the first part is not CORRECT the score is 0, so that a good format cannot pay for a wrong answer.

    A TIMEOUT or ERROR of any part is that of the whole: half a verdict is none. NO_ANSWER keeps the other parts' share
    of the score.

        answer_and_format:
          kind: combine
          parts: [{verifier: math, weight: 0.9}, {verifier: format, weight: 0.1}]
    """

    def __init__(self, parts: list[Mapping[str, Any]], gate: bool = False):
        if not isinstance(parts, (list, tuple)) or not parts:
            raise InputError("combine verifier: parts must be a list of {verifier, weight, options}")
        self.gate, self.parts = gate, []
        for number, part in enumerate(parts, 1):
            where = f"combine verifier: part {number}"
            if not isinstance(part, Mapping) or "verifier" not in part:
                raise InputError(f"{where} must be a mapping with the key verifier, got {part!r}")
            for key in part:
                if key not in ("verifier", "weight", "options"):
                    close = difflib.get_close_matches(str(key), ("verifier", "weight", "options"), n=1)
                    hint = f", did you mean {close[0]!r}?" if close else ""
                    raise InputError(f"{where}: unknown key {key!r}{hint}; keys are verifier, weight, options")
            weight = part.get("weight", 1.0)
            if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < float("inf"):
                raise InputError(f"{where}: weight must be a number above 0, got {weight!r}")
            self.parts.append((part["verifier"], float(weight), make_verifier(part["verifier"], part.get("options"))))
        self.total = sum(weight for _, weight, _ in self.parts)
        limits = [limits_of(verifier) for _, _, verifier in self.parts if getattr(verifier, "limits", None)]
        if limits:  # the parts run one after the other
            rest = Limits().time_s * (len(self.parts) - len(limits))
            cpu = [limit.cpu_s for limit in limits if limit.cpu_s is not None]
            memory = max(limit.memory_mb for limit in limits)
            self.limits = Limits(
                sum(limit.time_s for limit in limits) + rest,
                sum(cpu) + rest if len(cpu) == len(limits) else None,
                memory,
            )

    def __call__(self, completion: str, problem: Problem, *, truncated: bool = False) -> Verdict:
        verdicts = []
        scores = []
        for name, _, verifier in self.parts:
            verdict = verifier(completion, problem, truncated=truncated)
            if verdict.score is None:
                return Verdict(verdict.status, None, verdict.answer, verdict.mode, f"{name}: {verdict.reason}")
            verdicts.append(verdict)
            scores.append(verdict.score)
        first = verdicts[0]
        score = sum(weight * given for (_, weight, _), given in zip(self.parts, scores, strict=False)) / self.total
        if self.gate and first.status is not Status.CORRECT:
            score = 0.0
        reason = "; ".join(
            f"{name}: {verdict.reason}"
            for (name, _, _), verdict in zip(self.parts, verdicts, strict=False)
            if verdict.reason
        )
        return Verdict(first.status, score, first.answer, first.mode, reason)
