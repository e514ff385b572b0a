"""A task that fits into a table: two digits with a given sum.

The prompt "4=" asks for two digits from 0 to 3 that add up to 4. "13", "31" and "22" are right; "13" and "31" are two
writings of one solution. So groups have signal, problems have several solutions, and the right answers make traces:
there is something for every kind of strategy to act on.
"""

from __future__ import annotations

import copy
from functools import cache

import numpy as np

from explore_rl.config.loading import load_config
from explore_rl.config.schema import Config
from explore_rl.models import load_tokenizer
from explore_rl.problems.templates import load_template
from explore_rl.testing.table import LogitTable
from explore_rl.types import Problem, Trace, Verdict
from explore_rl.verifiers.base import correct, no_answer, wrong

DIGITS = "0123"
LENGTH = 3  # two digits and the end token
UNLIKELY = -6.0  # logit of what is no answer: it happens, seldom
SETTINGS = [
    "name=digits", "rollout.max_new_tokens=3", "algorithm.prompts_per_step=4", "algorithm.group_size=8",
    "algorithm.old_logprob=score",  # whatever strategies read, so that they can be compared bit for bit
    "learner.optimizer=sgd", "learner.learning_rate=1.0", "learner.max_grad_norm=0",
    "run.steps=2", "run.checkpoint_every=1000",
]  # fmt: skip


def digits_config(*overrides: str) -> Config:
    """Two steps of GRPO on 4 problems of 8 samples with plain SGD; overrides as on the command line."""
    return copy.deepcopy(_config(overrides))


@cache
def _config(overrides: tuple[str, ...]) -> Config:
    """Reading a config takes longer than the steps do."""
    return load_config(None, [*SETTINGS, *overrides])


def digit_problems() -> list[Problem]:
    """The sums 1 to 5; every right answer is a trace, of region "double" if its digits are equal, else "mixed".

    >>> problem = digit_problems()[1]
    >>> problem.prompt, [trace.text for trace in problem.traces]
    ('2=', ['02', '11', '20'])
    """
    pairs = [a + b for a in DIGITS for b in DIGITS]
    problems = []
    for total in range(1, 6):
        right = [pair for pair in pairs if int(pair[0]) + int(pair[1]) == total]
        traces = tuple(
            Trace(text=pair, source="enumerator", region="double" if pair[0] == pair[1] else "mixed") for pair in right
        )
        problems.append(Problem(f"sum-{total}", f"{total}=", total, "digits", traces))
    return problems


def verify_digits(completion: str, problem: Problem, *, truncated: bool = False) -> Verdict:
    """CORRECT for two digits with the problem's sum; the mode is the digits in order. Without two digits, no answer.

    >>> verify_digits("31", digit_problems()[3]).mode
    '13'
    """
    if truncated or len(completion) != 2 or not set(completion) <= set(DIGITS):
        return no_answer("not two digits from 0 to 3")
    mode = "".join(sorted(completion))
    if int(completion[0]) + int(completion[1]) == problem.answer:
        return correct(completion, mode=mode)
    return wrong(completion, mode=mode, reason=f"does not add up to {problem.answer}")


def digit_table(problems: list[Problem] | None = None, *, seed: int = 0, config: Config | None = None) -> LogitTable:
    """The base policy: a row for each prompt and position, digits about as likely as each other, then the end.

    There are as many positions as a completion may have tokens.
    """
    config = config or digits_config()
    tokenizer = load_tokenizer(config.model.path)
    template = load_template(config.model.template)
    prompts = [tuple(template.encode(problem, tokenizer)) for problem in problems or digit_problems()]
    positions = max(LENGTH, config.rollout.max_new_tokens)
    table = LogitTable.by_position(prompts, positions=positions, vocabulary=len(tokenizer))
    table.logits[:] = UNLIKELY
    rows = np.arange(len(table.logits))
    digits = [tokenizer.convert_tokens_to_ids(digit) for digit in DIGITS]
    drawn = np.random.default_rng(seed).normal(0.0, 0.5, (len(rows), len(digits)))
    is_digit = rows % positions < LENGTH - 1
    table.logits[np.ix_(rows[is_digit], digits)] = drawn[is_digit]
    table.logits[rows[~is_digit], template.end_id(tokenizer)] = 0.0
    return table
