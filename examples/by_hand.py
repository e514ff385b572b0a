"""GRPO by hand: the laboratory's problems, its base model and the project's own objectives in one loop.

No Ray, no DeepSpeed, no vLLM.

    python examples/by_hand.py               # one step of 16 problems x 16 completions, some seconds on one core;
                                             # a single step goes up or down by chance (.279 -> .270 here)
    python examples/by_hand.py --steps 20    # exact pass@1 of 100 problems that are not trained on: .279 -> .308

Read it before anything else, in a debugger if you like: a step of explore_rl/training/trainer.py is these six blocks,
and each of them has a room of its own there.
"""

import argparse

import numpy as np
import torch

from explore_rl.lab import exact, logprobs, problems, sampling
from explore_rl.models import LAB_BASE
from explore_rl.objectives import advantages, losses
from explore_rl.objectives.normalisers import row_weights
from explore_rl.types import Status
from explore_rl.verifiers.base import make_verifier

PROMPTS, GROUP, MAX_TOKENS = 16, 16, 24
CLIP = {"clip_low": 0.2, "clip_high": 0.2}


def token_logprobs(model, prompt, *, completion):
    """log pi of every completion token given what stands before it: float32 [T], with its gradient."""
    logits = model(torch.tensor([prompt + completion]), use_cache=False).logits[0, len(prompt) - 1 : -1]
    targets = torch.tensor(completion)
    return torch.log_softmax(logits, dim=-1).gather(1, targets[:, None])[:, 0]


def step(model, tokenizer, optimizer, batch, *, generator, verifier):
    """One step on `batch` (problems). Returns the share of correct draws, pass@1."""
    # 1. Draw a group of completions for every problem, and keep the token ids: what was sampled is what is trained on.
    groups = []
    for problem in batch:
        prompt = tokenizer(problem.prompt).input_ids
        drawn = sampling.draw(model, prompt, count=GROUP, max_tokens=MAX_TOKENS, top_p=1.0, generator=generator)
        groups.append((problem, prompt, [list(tokens) for tokens in drawn]))

    # 2. Verify each, and turn the verdict into a reward: 1 for a correct answer, 0 for a wrong one or none.
    rewards = np.zeros((len(groups), GROUP))
    for i, (problem, _, drawn) in enumerate(groups):
        for j, tokens in enumerate(drawn):
            text = tokenizer.decode(tokens, skip_special_tokens=True)
            verdict = verifier(text, problem, truncated=tokens[-1] != tokenizer.eos_token_id)
            if verdict.score is None:  # an error or a timeout says nothing, and is never a reward of 0
                raise RuntimeError(f"{problem.id}: {verdict.status}: {verdict.reason}")
            rewards[i, j] = verdict.status is Status.CORRECT

    # 3. Compare the members of a group with each other. Where all are right, or all wrong, the advantage is 0.
    worth = np.array([advantages.grpo(of_group) for of_group in rewards])

    # 4. Weigh every token by one over all tokens of the step, as the loss is their mean.
    lengths = np.array([len(tokens) for _, _, drawn in groups for tokens in drawn])
    weights = row_weights(lengths, "token", max_new_tokens=MAX_TOKENS).reshape(len(groups), GROUP)

    # 5. The clipped policy gradient. The old policy is the one that drew: the ratio is 1, and its gradient is not 0.
    optimizer.zero_grad()
    for i, (_, prompt, drawn) in enumerate(groups):
        for j, tokens in enumerate(drawn):
            if worth[i, j] == 0:
                continue  # cannot pull
            logprob = token_logprobs(model, prompt, completion=tokens)
            advantage = torch.full_like(logprob, worth[i, j])
            (weights[i, j] * losses.ppo_clip(logprob, logprob.detach(), advantage, **CLIP)).sum().backward()

    # 6. One optimizer step. The next draws come from the new weights.
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return rewards.mean()


def exact_pass_at(model, tokenizer, *, audited, ks):
    """pass@k, by adding up the probabilities of all correct answers: no sampling, no error bars."""
    pairs, index = exact.sequences(audited, tokenizer)
    audit = exact.summarise(audited, index, logprobs=logprobs.completion_logprobs(model, pairs))
    return ", ".join(f"@{k} {value:.3f}" for k, value in audit.pass_at_k(ks).items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1, help="default: 1")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    model, tokenizer = logprobs.load_model(LAB_BASE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.0)
    training = problems.load("lab:countdown?level=3&split=train&size=300")
    audited = problems.load("lab:countdown?level=3&split=heldout&size=100")
    verifier = make_verifier("countdown", {})

    print("exact pass@k before:", exact_pass_at(model, tokenizer, audited=audited, ks=[1, 16, 1024]))
    order = np.random.default_rng(args.seed)
    for number in range(args.steps):
        batch = [training[i] for i in order.permutation(len(training))[:PROMPTS]]
        share = step(model, tokenizer, optimizer, batch, generator=generator, verifier=verifier)
        print(f"step {number}: {share:.3f} of {PROMPTS * GROUP} draws correct")
    print("exact pass@k after: ", exact_pass_at(model, tokenizer, audited=audited, ks=[1, 16, 1024]))


if __name__ == "__main__":
    main()
