"""What is read out of logits: pure functions of a distribution over the next token."""

from __future__ import annotations

import torch


def step_logprobs(logits: torch.Tensor, tokens: torch.Tensor, *, temperature: float, top_p: float) -> torch.Tensor:
    """Log-probabilities [S] of given tokens under a temperature and nucleus sampling.

    Temperature comes first, as in vLLM and transformers. Top-p then keeps the most probable tokens until their mass
    reaches top_p (the token that reaches it included), and renormalises. A token outside has log-probability -inf.

    logits: [S, V], before temperature.
    tokens: [S].
    temperature: by which the logits are divided.
    top_p: 1 keeps every token.
    """
    logprobs = torch.log_softmax(logits / temperature, dim=-1)
    if top_p < 1:
        ranked, order = logprobs.sort(dim=-1, descending=True)
        mass_before = ranked.exp().cumsum(-1) - ranked.exp()
        kept = torch.zeros_like(mass_before, dtype=torch.bool).scatter(-1, order, mass_before < top_p)
        logprobs = torch.log_softmax(logprobs.masked_fill(~kept, -torch.inf), dim=-1)
    return logprobs.gather(-1, tokens[:, None]).squeeze(-1)
