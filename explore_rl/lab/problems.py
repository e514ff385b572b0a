"""Laboratory problems by name: "lab:countdown?level=3&split=train&size=all".

The splits share no multiset of numbers, so no problem of one is a reordering, or even another target, of a problem of
another. Each level's multisets are put in a fixed pseudo-random order (a hash) and dealt out: 40 % train, 40 % audit,
20 % held out. Of the held-out problems the first 100 are the split `heldout`, which serves evaluation during training,
and the next 500 the split `final`: choices are made on `train`, `audit` has been looked at by earlier work, and `final`
is audited once, when nothing is left to choose. A smaller size is the beginning of a larger one.

On the training split `orders=N` asks for each problem N times, with its numbers in as many orders: the answers are the
same, the prompts are not. A critic that would learn the prompts by heart sees more of them.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from analysis.errors import InputError
from explore_rl.lab import countdown, names, worked, worked_evaluation
from explore_rl.lab.families import FAMILIES
from explore_rl.types import Problem, Trace


@dataclass(frozen=True)
class Split:
    """A part of a level's problems.

    multisets: the share of the level's multisets of numbers whose problems it holds, from and to.
    problems: the first one and the one after the last, of the problems of these multisets; None: to their end.
    size: how many are meant where no size is named.
    """

    multisets: tuple[float, float]
    problems: tuple[int, int | None] = (0, None)
    size: int = 500


SPLITS = {
    "train": Split((0.0, 0.4), size=300),
    "audit": Split((0.4, 0.8)),
    "heldout": Split((0.8, 1.0), (0, 100), size=100),
    names.FINAL: Split((0.8, 1.0), (100, 600)),
}
OF_ONE_MULTISET = 3  # worked problems; in countdown every target is one


def load(name: str) -> list[Problem]:
    """The problems that a name stands for.

    Problems of the train split carry every correct answer as a trace (source "enumerator", with its region); the others
    carry none. Raises InputError for an unknown name, key or value, and for a size larger than the split.

    name: "lab:countdown", "lab:worked" or "lab:worked_evaluation", optionally followed by "?" and any of level=N,
        split=train|audit|heldout|final, size=N (or size=all), orders=N, joined by "&".

    >>> problem = load("lab:countdown?level=3&split=train&size=1")[0]
    >>> problem.verifier, sorted(problem.answer), problem.metadata["level"]
    ('countdown', ['numbers', 'target'], 3)
    """
    family, options = names.parse(name)
    if not name.startswith(names.PREFIX) or family not in FAMILIES:
        known = ", ".join(names.PREFIX + known for known in FAMILIES)
        raise InputError(f"{name}: unknown laboratory problems; known: {known}, each with ?level=..&split=..&size=..")
    # Level and split name the pool.
    levels = FAMILIES[family].levels
    level = options.get("level", str(FAMILIES[family].default_level))
    if not level.isdigit() or int(level) not in levels:
        raise InputError(f"{name}: level={level}: must be one of {', '.join(map(str, levels))}")
    split = options.get("split", "train")
    if split not in SPLITS:
        raise InputError(f"{name}: split={split}: must be one of {', '.join(SPLITS)}")
    # Size cuts off its beginning.
    size = options.get("size", "")
    if size and size != "all" and (not size.isdigit() or int(size) == 0):
        raise InputError(f"{name}: size={size}: must be all or a whole number from 1")
    first, last = SPLITS[split].problems
    if size != "all":
        end = first + int(size or SPLITS[split].size)
        last = end if last is None else min(last, end)
    chosen = list(itertools.islice(_POOLS[family](int(level), split), first, last))
    if not chosen or (size.isdigit() and len(chosen) < int(size)):
        raise InputError(
            f"{name}: size={size or SPLITS[split].size}: must be at most {len(chosen)}, which is what this split holds"
        )
    return _in_orders(name, chosen, asked=options.get("orders", "1"))


def _in_orders(name: str, problems: list[Problem], *, asked: str) -> list[Problem]:
    """The problems, then all of them in a second order of their numbers, and so on up to the number of orders asked.

    A problem with equal numbers may have fewer orders. Raises InputError, which begins with `name`.
    """
    if asked == "1":
        return problems
    if not asked.isdigit() or int(asked) == 0:
        raise InputError(f"{name}: orders={asked}: must be a whole number from 1")
    if any("numbers" not in problem.answer or problem.metadata["split"] != "train" for problem in problems):
        raise InputError(f"{name}: orders={asked}: only countdown and worked problems of split=train have other orders")
    others = [_other_orders(problem) for problem in problems]
    rounds = [[own[n] for own in others if n < len(own)] for n in range(int(asked) - 1)]
    return problems + list(itertools.chain.from_iterable(rounds))


def _other_orders(problem: Problem) -> list[Problem]:
    """The problem with its numbers in every other order, in a fixed pseudo-random sequence; the id names the order."""
    numbers = problem.answer["numbers"]
    target = problem.answer["target"]
    prompts = {countdown.prompt(order, target): order for order in itertools.permutations(numbers)}
    return [
        replace(problem, id=f"{problem.id}-as-{'.'.join(map(str, order))}", prompt=prompt)
        for prompt, order in sorted(prompts.items(), key=lambda item: _hash("orders", item[0]))
        if prompt != problem.prompt
    ]


def _multisets(rules: countdown.Level, split: str, *, label: str) -> list[tuple[int, ...]]:
    """The multisets of numbers of a split, each sorted, in their fixed order."""
    multisets = list(itertools.combinations_with_replacement(range(1, rules.max_number + 1), rules.count))
    multisets.sort(key=lambda numbers: _hash(label, rules.count, numbers))
    start, end = (round(share * len(multisets)) for share in SPLITS[split].multisets)
    return multisets[start:end]


def _hash(*parts: object) -> int:
    """What fixed pseudo-random orders are sorted by, the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


# --- the problems of each family, in their fixed order ----------------------------------------------------------------


def _countdown(level: int, split: str) -> Iterator[Problem]:
    """All (multiset, target) pairs that have a correct answer."""
    rules = countdown.LEVELS[level]
    multisets = _multisets(rules, split, label="multiset")
    pairs = [(numbers, target) for numbers in multisets for target in countdown.targets(numbers, rules)]
    for numbers, target in sorted(pairs, key=lambda pair: _hash("problem", level, *pair)):
        yield _problem(numbers, target, level=level, split=split)


def _problem(numbers: tuple[int, ...], target: int, *, level: int, split: str, family: str = "countdown") -> Problem:
    """The problem; its numbers are shown in an order that hangs on numbers and target alone."""
    order = list(numbers)
    random.Random(_hash("order", numbers, target)).shuffle(order)
    return _with_traces(
        family,
        id=f"{family}-{level}-{'.'.join(map(str, numbers))}-{target}",
        prompt=countdown.prompt(order, target),
        answer={"numbers": list(numbers), "target": target},
        level=level,
        split=split,
    )


def _worked(level: int, split: str) -> Iterator[Problem]:
    """One target of every multiset, then a second one of each, and so on.

    A target is picked as often as chains lead to it, so that most problems have many.
    """
    rules = worked.LEVELS[level]
    multisets = _multisets(rules, split, label="worked")
    for round_ in range(OF_ONE_MULTISET):
        for numbers in multisets:
            rng = random.Random(_hash("target", level, numbers))
            counts = {t: n for t, n in sorted(worked.chain_counts(numbers).items()) if 0 < t <= rules.max_target}
            # The targets of the rounds before are drawn again, so that no round asks for one twice.
            if len(counts) <= round_:
                continue
            target = 0
            for _ in range(round_ + 1):
                target = rng.choices(list(counts), list(counts.values()))[0]
                del counts[target]
            yield _problem(numbers, target, level=level, split=split, family="worked")


def _worked_evaluation(level: int, split: str) -> Iterator[Problem]:
    """One expression over every multiset, then a second one over each, and so on; all four operators are as likely."""
    rules = worked.LEVELS[level]
    seen: set[str] = set()
    multisets = _multisets(rules, split, label="worked")
    for round_ in range(OF_ONE_MULTISET):
        for numbers in multisets:
            rng = random.Random(_hash("expression", level, numbers, round_))
            value = 0
            expression = ""
            while not 0 < value <= rules.max_target or expression in seen:
                expression, steps = worked_evaluation.random_expression(numbers, dict.fromkeys("+-*/", 1.0), rng=rng)
                value = steps[-1].result
            seen.add(expression)
            yield _with_traces(
                "worked_evaluation",
                id=f"worked_evaluation-{level}-{expression}",
                prompt=worked_evaluation.prompt(expression),
                answer={"expression": expression},
                level=level,
                split=split,
                value=value,
            )


_POOLS: dict[str, Callable[[int, str], Iterator[Problem]]] = {
    "countdown": _countdown,
    "worked": _worked,
    "worked_evaluation": _worked_evaluation,
}


def _with_traces(
    family: str, *, id: str, prompt: str, answer: dict[str, Any], level: int, split: str, **known_of_it: Any
) -> Problem:
    """The problem, on the training split with all its correct answers: only training may look at them.

    known_of_it: further metadata.
    """
    known = FAMILIES[family]
    traces = known.answers(answer) if split == "train" else []
    return Problem(
        id=id,
        prompt=prompt,
        answer=answer,
        verifier=family,
        traces=tuple(Trace(text=text, source="enumerator", region=known.region(text)) for text in traces),
        benchmark=f"{family}-{level}",
        metadata={"level": level, "split": split, **known_of_it},
    )
