"""The nouns of the system, in the order in which one training step meets them. Read this file first.

    Problem -> plan -> Request -> vLLM -> Rollout -> verify -> Verdict
            -> inject -> Group -> columns -> objective -> Row -> DeepSpeed -> weights

They are plain dataclasses without behaviour. Verifier workers, the trainer and the engines share this file, so it
imports neither torch nor Ray nor vLLM.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# --- what is asked ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trace:
    """A worked solution that somebody (a teacher, a data set, an enumerator) wrote for a problem.

    text: the completion as the policy would have to write it, without the end token.
    source: where it comes from, for example "openr1" or "enumerator".
    logprob: its log-probability under the model that wrote it (nats, whole sequence), where known.
    region: a label of the answer's region, where known (in the laboratory, for example, "division"); controls can leave
        a region out.
    """

    text: str
    source: str
    logprob: float | None = None
    region: str | None = None


@dataclass(frozen=True)
class Problem:
    """One problem with a verifiable answer.

    id: unique within its file.
    prompt: plain text, or chat messages [{"role": ..., "content": ...}].
    answer: the reference, in whatever form the verifier wants it.
    verifier: a name of `explore_rl.verifiers`, or a plug-in "module:function".
    traces: known solutions.
    benchmark: the set it belongs to.
    metadata: everything else that its file held.
    """

    id: str
    prompt: str | list[dict[str, str]]
    answer: Any
    verifier: str
    traces: tuple[Trace, ...] = ()
    benchmark: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


# --- what is drawn ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """One completion to draw.

    problem: the problem's id.
    group: position of the problem in the step's batch.
    prompt_ids: token ids of the templated prompt.
    seed: 64 bits, a different one for every completion. Seeds are hashed, since neighbouring seeds share draws in vLLM.
    max_tokens: the response budget, in tokens.
    source: the behaviour that draws it, as strategies and records name it ("policy", "base", "hot", "hint", ...).
    engine: which engine family serves it: "policy" (current weights) or "base" (frozen).
    temperature: of the softmax that it is sampled from.
    top_p: share of the probability mass that it is sampled from.
    prefix_ids: completion tokens that are given rather than drawn (a hint).
    in_baseline: whether the sample counts for the group's mean and spread.
    """

    problem: str
    group: int
    prompt_ids: tuple[int, ...]
    seed: int
    max_tokens: int
    source: str = "policy"
    engine: str = "policy"
    temperature: float = 1.0
    top_p: float = 1.0
    prefix_ids: tuple[int, ...] = ()
    in_baseline: bool = True


@dataclass
class Rollout:
    """One completion: what an engine drew for a request, or a trace that a strategy put in its place.

    request: what was asked for.
    tokens: completion token ids, prefix and end token included. What was sampled is what is trained on; the text is
        never tokenised again.
    text: the tokens decoded, without special tokens, for people and verifiers.
    finish_reason: "stop" (end token or stop string) or "length" (cut off).
    logprobs: the engine's log-probability of each sampled token at the request's temperature, [len(tokens)]. NaN where
        a token was given rather than drawn; None for traces.
    weight_version: version of the weights that drew it; -1 where no engine drew it.
    """

    request: Request
    tokens: tuple[int, ...]
    text: str
    finish_reason: str
    logprobs: np.ndarray | None = None
    weight_version: int = -1

    @property
    def truncated(self) -> bool:
        return self.finish_reason == "length"


# --- what is found ---------------------------------------------------------------------------------------------------


class Status(enum.StrEnum):
    """What a verifier can say. Only CORRECT and WRONG are evidence about the model."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    TIMEOUT = "timeout"
    ERROR = "error"


@dataclass(frozen=True)
class Verdict:
    """What a verifier found.

    status: the outcome.
    score: in [0, 1]; None for TIMEOUT and ERROR, since an error is never a reward of 0.
    answer: the extracted final answer.
    mode: canonical form of the answer, where the verifier knows one. Answers with one mode are the same solution.
    reason: one line for a person; mostly given when the status is not CORRECT.
    """

    status: Status
    score: float | None
    answer: str | None = None
    mode: str | None = None
    reason: str = ""

    @property
    def is_evidence(self) -> bool:
        return self.status in (Status.CORRECT, Status.WRONG)


# --- what is learnt from ---------------------------------------------------------------------------------------------


@dataclass
class Sample:
    """One member of a group: a rollout, the verdict on it, and what it is worth.

    rollout: the completion.
    verdict: what the verifier found.
    reward: the verdict's score after the config's rules and the strategies' bonuses; None leaves the sample out of its
        group.
    advantage: scalar, after group normalisation and the strategies' advantage bonuses.
    weight: multiplies the advantage (importance weight of a mixture policy); fixed over the updates of the batch.
    terms: loss terms that this sample's row feeds: name -> coefficient.
    columns: per-token columns [len(rollout.tokens)] that the learner scored, for example "old_logprob", "base_logprob".
    """

    rollout: Rollout
    verdict: Verdict
    reward: float | None = None
    advantage: float = 0.0
    weight: float = 1.0
    terms: dict[str, float] = field(default_factory=lambda: {"policy_gradient": 1.0})
    columns: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Group:
    """All samples of one problem in one step."""

    problem: Problem
    samples: list[Sample]


@dataclass
class Row:
    """One sequence as the learner sees it. The learner knows nothing else: no groups, no strategies, no rewards.

    tokens: prompt + completion ids, int32 [L].
    prompt_length: P; the completion's tokens are tokens[P:], T = L - P >= 1 of them.
    terms: loss term name -> weight that multiplies the term's loss at every unmasked completion token. The weight
        already contains the term's coefficient, and is already divided by the term's global normaliser over the whole
        mini-batch and all ranks.
    columns: per-token inputs of the terms, float32 [T] each: "advantage", "old_logprob", "base_logprob", ...
    mask: float32 [T]; 0 leaves a token out (a given prefix).

    The learner minimises  sum over rows, terms and tokens of  terms[name] * mask[t] * term(name)[t].
    """

    tokens: np.ndarray
    prompt_length: int
    terms: dict[str, float]
    columns: dict[str, np.ndarray]
    mask: np.ndarray
