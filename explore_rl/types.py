"""The nouns of the system, in the order in which one training step meets them. Read this file first.

    Problem -> plan -> Request -> vLLM -> Rollout -> verify -> Verdict
            -> inject -> Group -> columns -> objective -> Row -> DeepSpeed -> weights

They are plain dataclasses. What is asked for, drawn and learnt from is compared by identity: two draws of the same
tokens are two draws. Token ids are int32 arrays from the engine to the learner; a list or tuple is made one. Verifier
workers, the trainer and the engines share this file, so it imports neither torch nor Ray nor vLLM.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, cast

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
class Flat:
    """Draw uniformly over the likely tokens (`rollout.flat`).

    top: how many of the most probable tokens at most.
    least: the probability that one has to have, but for the most probable.
    plain: tokens at the beginning that are drawn as ever.
    """

    top: int
    least: float
    plain: int


@dataclass(frozen=True, eq=False)
class Request:
    """One completion to draw.

    problem: the problem's id.
    group: position of the problem among the groups of the draw.
    prompt_ids: token ids of the templated prompt, int32.
    max_tokens: the response budget, in tokens.
    seed: 64 bits, a different one for every completion. It belongs to the trainer, which gives it after the last
        strategy's plan: what a strategy leaves or puts here is never used.
    source: the behaviour that draws it, as strategies and records name it ("policy", "base", "hot", "hint", ...).
    engine: which engine family serves it: "policy" (current weights) or "base" (frozen).
    temperature: that of the softmax it is sampled from.
    top_p: share of the probability mass that it is sampled from.
    prefix_ids: completion tokens that are given rather than drawn (a hint), int32.
    in_baseline: whether the sample counts for the group's mean and spread.
    share: chance that each component of a mixture had to make this draw, by name, sum 1; None: no mixture planned it.
    limit: entropy in nats from which the expert of a token-level mixture speaks alone (`rollout.mixture`); None: it is
        not asked.
    flat: draw uniformly over the likely tokens; None: as the model has them.
    """

    problem: str
    group: int
    prompt_ids: np.ndarray
    _: KW_ONLY
    max_tokens: int
    seed: int = 0
    source: str = "policy"
    engine: str = "policy"
    temperature: float = 1.0
    top_p: float = 1.0
    prefix_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    in_baseline: bool = True
    share: Mapping[str, float] | None = None
    limit: float | None = None
    flat: Flat | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompt_ids", np.asarray(self.prompt_ids, dtype=np.int32))
        object.__setattr__(self, "prefix_ids", np.asarray(self.prefix_ids, dtype=np.int32))


@dataclass(eq=False)
class Rollout:
    """One completion: what an engine drew for a request, or a trace that a strategy put in its place.

    request: what was asked for.
    tokens: completion token ids, prefix and end token included, int32 [T]. What was sampled is what is trained on; the
        text is never tokenised again.
    text: the tokens decoded, without special tokens, for people and verifiers.
    finish_reason: "stop" (end token or stop string) or "length" (cut off).
    logprobs: the engine's log-probability of each sampled token at the request's temperature, float32 [T]; 0 where a
        token was given. None for traces. NaN is a fault of the engine and marks nothing.
    weight_version: version of the weights that drew it, or began to; -1 where no engine drew it.
    changes: (token, version) for each place where the weights changed while it was drawn: from that token on they were
        of that version. Empty but with rollout.streaming.
    given: true where nobody drew the token, bool [T]. By default the request's prefix, and all of a rollout without
        log-probabilities.
    """

    request: Request
    tokens: np.ndarray
    text: str
    finish_reason: str
    logprobs: np.ndarray | None = None
    weight_version: int = -1
    given: np.ndarray = cast(np.ndarray, None)
    changes: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        self.tokens = np.asarray(self.tokens, dtype=np.int32)
        if self.given is None:
            prefix = len(self.tokens) if self.logprobs is None else len(self.request.prefix_ids)
            if prefix in (0, len(self.tokens)):  # a constant takes no room, whatever the length
                self.given = np.broadcast_to(np.bool_(prefix > 0), len(self.tokens))
            else:
                self.given = np.arange(len(self.tokens)) < prefix

    @property
    def drawn(self) -> bool:
        """Whether an engine drew any of it: it is no trace."""
        return not self.given.all()

    @property
    def truncated(self) -> bool:
        return self.finish_reason == "length"

    @property
    def versions(self) -> np.ndarray:
        """Of the weights that drew each token, int64 [T]; the first one's where a token was given before it."""
        versions = np.full(len(self.tokens), self.weight_version, dtype=np.int64)
        for place, version in self.changes:
            versions[place:] = version
        return versions


# --- what is found ---------------------------------------------------------------------------------------------------


class Status(enum.StrEnum):
    """What a verifier can say. Only CORRECT and WRONG are evidence about the model."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    TIMEOUT = "timeout"
    ERROR = "error"


# What a verifier may use for one item where nothing else is said: wall-clock seconds, and growth of its process in MiB.
VERIFIER_TIME_S = 10.0
VERIFIER_MEMORY_MB = 2048


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


@dataclass(eq=False)
class Sample:
    """One member of a group: a rollout, the verdict on it, and what it is worth.

    rollout: the completion.
    verdict: what the verifier found.
    reward: the verdict's score after the config's rules and the strategies' bonuses; None leaves the sample out of its
        group.
    advantage: scalar, after group normalisation and the strategies' advantage bonuses.
    weight: multiplies the advantage (importance weight of a mixture policy); fixed over the updates of the batch.
    terms: loss terms that this sample's row feeds: name -> coefficient.
    columns: what is known of each token, float32 [T] each: what the learner filled in ("old_logprob", "entropy",
        "base_logprob", ...) and what strategies wrote. Four are read when rows are made: "advantage", in place of the
        scalar; "correction", which multiplies it; "mask", 0 where nothing is learnt; and "learn_given", 1 at given
        tokens of a draw that are learnt from all the same.
    """

    rollout: Rollout
    verdict: Verdict
    reward: float | None = None
    advantage: float = 0.0
    weight: float = 1.0
    terms: dict[str, float] = field(default_factory=lambda: {"policy_gradient": 1.0})
    columns: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(eq=False)
class Group:
    """All samples of one problem in one draw. A problem that comes twice has two groups."""

    problem: Problem
    samples: list[Sample]


@dataclass(eq=False)
class Row:
    """One sequence as the learner sees it. The learner knows nothing else: no groups, no strategies, no rewards.

    tokens: prompt + completion ids, int32 [L].
    prompt_length: P; the completion's tokens are tokens[P:], T = L - P >= 1 of them.
    terms: loss term name -> weight that multiplies the term's loss at every unmasked completion token. The weight
        already contains the term's coefficient, and is already divided by the term's global normaliser over the whole
        mini-batch and all ranks.
    columns: per-token inputs of the terms, float32 [T] each: "advantage", "old_logprob", "base_logprob", ...
    mask: float32 [T]; 0 leaves a token out (one that was given within a draw).

    The learner minimises  sum over rows, terms and tokens of  terms[name] * mask[t] * term(name)[t].
    """

    tokens: np.ndarray
    prompt_length: int
    terms: dict[str, float]
    columns: dict[str, np.ndarray]
    mask: np.ndarray
