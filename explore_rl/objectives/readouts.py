"""What can be read out of a model for every token of a completion: pure functions, by name.

The learner computes log p, the next-token distribution at temperature 1, a chunk of tokens at a time, and applies the
readouts to it there. So one forward pass fills any number of columns, and no vocabulary meets a whole batch. Whatever
torch can differentiate may be a column of a loss term; the learner needs no formula for it.

    logprob(temperature)                  log-probability of the token
    entropy(temperature)                  entropy of the distribution that the token was drawn from, nats
    top_logprobs(k)                       the k largest log-probabilities
    mass_of(tokens, temperature)          log of the probability of some tokens together
    rank_of_target()                      how many tokens are more likely than the token
    nucleus_logprob(temperature, top_p)   log-probability within the nucleus; -inf outside
    HIDDEN_MEAN                           mean of the last layer's hidden states over a sequence
    head(name)                            value of a head on the hidden state; VALUE is the critic's

A readout of one's own is `Readout(function, (("name", value), ...))` with a module-level function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

LOG_P, HIDDEN, HEAD = "log_p", "hidden", "head"
MOST_TOP = 64
LARGEST = 1024  # most probable tokens in which a nucleus is looked for first


@dataclass(frozen=True)
class Readout:
    """A figure that a model gives for every token, or every sequence.

    function: module-level, so that it can be sent to the ranks. What it takes depends on `reads`:
        "log_p"   function(log_p [n, V], targets [n], **params) -> [n] or [n, k], n of the tokens at a time.
        "hidden"  function(hidden [n, h], sequence [n], sequences, **params) -> [sequences, ...]; `sequence` says which
                  of the sequences 0, 1, ... a token belongs to.
        "head"    function(value [n], **params) -> [n].
    params: keyword arguments of function.
    reads: what of the model it reads.
    """

    function: Callable[..., Tensor]
    params: tuple[tuple[str, Any], ...] = ()
    reads: str = LOG_P

    def of(self, *inputs: Any) -> Tensor:
        """The function's answer."""
        return self.function(*inputs, **dict(self.params))

    @property
    def per_token(self) -> bool:
        return self.reads != HIDDEN

    @property
    def head(self) -> str | None:
        """Name of the head that is read."""
        return dict(self.params)["name"] if self.reads == HEAD else None

    @property
    def name(self) -> str:
        """As messages name it."""
        return f"{self.function.__name__}({', '.join(f'{key}={value}' for key, value in self.params)})"


# --- of the distribution ----------------------------------------------------------------------------------------------


def logprob(temperature: float = 1.0) -> Readout:
    """log softmax(logits / temperature)[token]. [n]."""
    return Readout(token_logprob, (("temperature", _positive(temperature)),))


def entropy(temperature: float = 1.0) -> Readout:
    """-sum p log p over the vocabulary, p = softmax(logits / temperature). [n]."""
    return Readout(token_entropy, (("temperature", _positive(temperature)),))


def top_logprobs(k: int) -> Readout:
    """The k largest log-probabilities at temperature 1, the largest first. [n, k]. k: at most 64."""
    if not 1 <= k <= MOST_TOP:
        raise ValueError(f"top_logprobs({k}): expected 1 to {MOST_TOP}")
    return Readout(largest_logprobs, (("k", k),))


def mass_of(tokens: tuple[int, ...], temperature: float = 1.0) -> Readout:
    """Log of the probability that the next token is one of `tokens`. [n]."""
    if not tokens:
        raise ValueError("mass_of: expected at least one token")
    return Readout(token_mass, (("tokens", tuple(tokens)), ("temperature", _positive(temperature))))


def rank_of_target() -> Readout:
    """How many tokens of the vocabulary are more likely than the token; 0: it is the likeliest. [n], no gradient."""
    return Readout(token_rank)


def nucleus_logprob(temperature: float = 1.0, top_p: float = 1.0) -> Readout:
    """Log-probability under a temperature and nucleus sampling. [n].

    Temperature comes first, as in vLLM and transformers. Top-p then keeps the most probable tokens until their mass
    reaches top_p (the token that reaches it included), and renormalises. A token outside has log-probability -inf.
    """
    if not 0 < top_p <= 1:
        raise ValueError(f"nucleus_logprob: top_p={top_p}: expected above 0 and at most 1")
    return Readout(token_nucleus_logprob, (("temperature", _positive(temperature)), ("top_p", float(top_p))))


def at_temperature(log_p: Tensor, temperature: float) -> Tensor:
    """log softmax(log_p / temperature), [n, V]; at temperature 1 log_p itself."""
    return log_p if temperature == 1.0 else (log_p / temperature).log_softmax(1)


def token_logprob(log_p: Tensor, targets: Tensor, *, temperature: float) -> Tensor:
    """See `logprob`."""
    return at_temperature(log_p, temperature).gather(1, targets[:, None])[:, 0]


def token_entropy(log_p: Tensor, targets: Tensor, *, temperature: float) -> Tensor:
    """See `entropy`."""
    log_q = at_temperature(log_p, temperature)
    return -(log_q.exp() * log_q).sum(1)


def largest_logprobs(log_p: Tensor, targets: Tensor, *, k: int) -> Tensor:
    """See `top_logprobs`."""
    return log_p.topk(k, dim=1).values


def token_mass(log_p: Tensor, targets: Tensor, *, tokens: tuple[int, ...], temperature: float) -> Tensor:
    """See `mass_of`.

    log_p: [n, V], before temperature.
    targets: int64 [n]; not looked at.
    tokens: whose mass it is, ids.
    temperature: above 0.
    Returns [n], log-probabilities.
    """
    return at_temperature(log_p, temperature)[:, list(tokens)].logsumexp(1)


def token_rank(log_p: Tensor, targets: Tensor) -> Tensor:
    """See `rank_of_target`."""
    return (log_p > log_p.gather(1, targets[:, None])).sum(1).to(log_p.dtype)


def token_nucleus_logprob(log_p: Tensor, targets: Tensor, *, temperature: float, top_p: float) -> Tensor:
    """See `nucleus_logprob`.

    log_p: [n, V], before temperature.
    targets: int64 [n], the tokens that were taken.
    temperature: above 0.
    top_p: mass of the nucleus; 1: everything.
    Returns [n]; -inf outside the nucleus.
    """
    log_q = at_temperature(log_p, temperature)
    taken = log_q.gather(1, targets[:, None])[:, 0]
    if top_p == 1:
        return taken
    # Sorting a vocabulary of 150,000 takes ten times as long as finding its first thousand, which mostly are enough.
    size = min(LARGEST, log_q.shape[1])
    found, reached = _within_nucleus(log_q, targets, top_p=top_p, size=size)
    if size < log_q.shape[1] and not reached.all():
        wide = (~reached).nonzero()[:, 0]
        whole, _ = _within_nucleus(log_q[wide], targets[wide], top_p=top_p, size=log_q.shape[1])
        found = found.index_copy(0, wide, whole)
    return taken + found


def _within_nucleus(log_q: Tensor, targets: Tensor, *, top_p: float, size: int) -> tuple[Tensor, Tensor]:
    """What makes a token's log-probability that within the nucleus, -inf outside; and whether `size` tokens have top_p.

    log_q: [n, V].
    targets: int64 [n].
    top_p: mass of the nucleus.
    size: most probable tokens that are looked at.
    """
    ranked, order = log_q.topk(size, dim=1)
    mass = ranked.exp()
    total = mass.cumsum(1)
    outside = total - mass >= top_p  # the mass before a token already reaches top_p
    of_nucleus = ranked.masked_fill(outside, float("-inf")).logsumexp(1)
    is_inside = ((order == targets[:, None]) & ~outside).any(1)
    return (-of_nucleus).masked_fill(~is_inside, float("-inf")), total[:, -1] >= top_p


def _positive(temperature: float) -> float:
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature={temperature}: expected a finite number above 0")
    return float(temperature)


# --- of the hidden state ----------------------------------------------------------------------------------------------


def mean_of_hidden(hidden: Tensor, sequence: Tensor, sequences: int) -> Tensor:
    """The mean of each sequence's hidden states, [sequences, h]; zeros for one without tokens."""
    hidden = hidden.float() if hidden.element_size() < 4 else hidden
    total = hidden.new_zeros(sequences, hidden.shape[1]).index_add(0, sequence, hidden)
    count = sequence.bincount(minlength=sequences).clamp(min=1)
    return total / count[:, None]


# The last layer's hidden states that predict a completion's tokens, averaged over the completion: [h] a sequence.
HIDDEN_MEAN = Readout(mean_of_hidden, reads=HIDDEN)


def head(name: str) -> Readout:
    """Value of the head `name` of the model that is read, [n]: a function of the hidden state, at first zero.

    The critic's is linear; one on the policy has three layers.
    """
    if not name.isidentifier():
        raise ValueError(f"head {name!r}: expected a name of letters, digits and _")
    return Readout(value_of_head, (("name", name),), reads=HEAD)


def value_of_head(value: Tensor, *, name: str) -> Tensor:
    """See `head`."""
    return value


VALUE = head("value")  # the critic's head
