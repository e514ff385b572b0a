"""A million draws against the exact audit of a laboratory model.

python scripts/check_exact.py [MODEL] [--draws N] [--top-p P] [--seed S]
"""

import argparse
import sys

from explore_rl.lab import exact, logprobs, problems, sampling
from explore_rl.models import LAB_BASE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default=LAB_BASE)
    parser.add_argument("--draws", type=int, default=1_000_000)
    parser.add_argument("--problems", default="lab:countdown?level=3&split=audit&size=500")
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model, tokenizer = logprobs.load_model(args.model)
    asked = problems.load(args.problems)
    pairs, index = exact.sequences(asked, tokenizer)
    found = logprobs.completion_logprobs(model, pairs, top_p=args.top_p)
    audit = exact.summarise(asked, index, logprobs=found, settings={"top_p": args.top_p})
    drawn = sampling.draw_all(
        model, tokenizer, problems=asked, draws=args.draws, top_p=args.top_p, seed=args.seed, progress=True
    )
    found = sampling.check(drawn, audit, tokenizer=tokenizer, problems=asked)
    print(
        f"draws {found.draws:,}  correct {found.correct:,}"
        f"  expected {found.expected_correct:,.1f} +- {found.standard_deviation:.1f}"
    )
    print(f"accepted but not listed, or listed but not accepted: {len(found.unlisted)} {found.unlisted[:5]}")
    print(f"correct text from other tokens: {found.odd}")
    print(f"G = {found.g:.1f} with {found.degrees} degrees of freedom, p = {found.p_value:.3f}")
    return 0 if not found.unlisted and found.p_value > 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main())
