"""The gradient of a batch that is written down by hand, over a table: columns, rewards, advantages, rows, update."""

import numpy as np

from explore_rl.strategies import together
from explore_rl.strategies.base import StepContext, needs_of
from explore_rl.testing import LogitTable, TableLearner
from explore_rl.training.actors import models_of
from explore_rl.training.columns import fill_columns
from explore_rl.training.rows import make_minibatches
from explore_rl.types import Group, Problem, Request, Rollout, Row, Sample, Status, Verdict

PROMPT = (1,)


def coin_table(positions, p=0.5):
    """After the prompt (1,) the token 0 has probability p at every position, the token 1 the rest."""
    table = LogitTable.by_position([PROMPT], positions=positions, vocabulary=2)
    table.logits[:] = np.log([p, 1 - p])
    return table


def sample(tokens, reward, *, source="policy"):
    request = Request("p", 0, PROMPT, max_tokens=len(tokens), source=source, in_baseline=source == "policy")
    logprobs = np.zeros(len(tokens), dtype=np.float32)
    rollout = Rollout(request, np.array(tokens), "", "stop", logprobs=logprobs)
    status = Status.ERROR if reward is None else Status.CORRECT if reward else Status.WRONG
    return Sample(rollout, Verdict(status, reward), reward=reward)


def group(*samples):
    return Group(Problem("p", "", None, "digits"), list(samples))


def gradient_of_groups(groups, strategies, *, config, table, base=None, update=0):
    """By the table's logits. base: the frozen model, where it is another. update: which of the step's."""
    every = together.assemble(strategies, config)
    together.check(every, config, problems=[])
    needs = needs_of(every, config)
    terms, free = together.terms_of(every, config)
    learner = TableLearner(config, base or table, needs=models_of(needs))
    learner.policy.logits[:] = table.logits
    fill_columns(groups, needs.columns, learner=learner, config=config)
    for drawn in (s for g in groups for s in g.samples):
        drawn.rollout.logprobs = drawn.columns["old_logprob"]  # engine and learner agree
    acting = [
        (s, StepContext(0, np.random.default_rng(0), config, None, None, None, terms={t.name: t for t in terms}))
        for s in every
    ]
    for strategy, context in acting:
        strategy.reward(groups, context)
    for strategy, context in acting:
        strategy.advantage(groups, context)
    for strategy, context in acting:
        groups, _ = strategy.keep(groups, context)
    learner.update([minibatch.rows for minibatch in make_minibatches(groups, terms, config=config, step=0)], terms)
    return learner.history[update].gradient


def gradient_of_rows(probabilities, old, advantage, *, term, config, lengths=None, also=None):
    """Of tokens whose probability, old probability and advantage are given, mean over tokens; by their logits.

    lengths: how many of the tokens are one sequence; None: one each.
    also: name of another column that is an old log-probability too -> the probabilities.
    """
    lengths = lengths or [1] * len(probabilities)
    table = LogitTable.by_position([(i,) for i in range(len(lengths))], positions=max(lengths), vocabulary=2)
    ends = np.cumsum(lengths)
    rows, places = [], []
    for i, (end, length) in enumerate(zip(ends, lengths, strict=True)):
        own = slice(end - length, end)
        first = i * max(lengths)
        table.logits[first : first + length] = [[np.log(p), np.log(1 - p)] for p in probabilities[own]]
        columns = {"old_logprob": np.log(old[own]), "advantage": np.array(advantage[own])}
        columns |= {name: np.log(values[own]) for name, values in (also or {}).items()}
        columns = {name: column.astype(np.float32) for name, column in columns.items()}
        tokens = np.array([i] + [0] * length, dtype=np.int32)
        weight = 1 / len(probabilities)
        rows.append(Row(tokens, 1, {term.name: weight}, columns, np.ones(length, dtype=np.float32)))
        places += range(first, first + length)
    learner = TableLearner(config, table)
    learner.update([rows], [term])
    return learner.history[0].gradient[places, 0]
