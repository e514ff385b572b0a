"""Worked evaluation: compute an expression in written steps, and *all* correct chains of steps can be listed.

    5*(3+4)-2:               prompt: an expression; its value stands nowhere in it
    3+4=7 5*7=35 35-2=33     one of its correct chains

A chain is written and true as in worked countdown (`explore_rl.lab.worked`). It is correct if it computes this very
expression: what it says, read as a formula, is the expression up to the order and the bracketing of sums and products
(`countdown.mode`), so 2+3+4 may begin with 3+4=7, and 8-3-2 with 3+2=5. A chain that comes to the right value in
another way is wrong, though its *answer* is right: the two shares are what this kind is for.

Built independently of each other, so that each can be held against the other: `enumerate_chains` takes the expression
apart into bags of signed parts, and `computes` builds the formula of a chain and compares.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Sequence
from fractions import Fraction

from explore_rl.lab import countdown, worked
from explore_rl.lab.countdown import NUMBER, PRODUCT, SUM, Node
from explore_rl.lab.worked import Step, result_of


def prompt(expression: str) -> str:
    """The question as the model sees it."""
    return f"{expression}:"


# --- forwards: every chain -------------------------------------------------------------------------------------------

# A number, or a kind ("sum" or "product") and its parts, each with its sign (of a product: its exponent), +1 or -1.
Bag = int | tuple[str, tuple]


def enumerate_chains(expression: str) -> list[str]:
    """All chains that compute the expression, sorted.

    >>> enumerate_chains("8-3-2")
    ['2+3=5 8-5=3', '3+2=5 8-5=3', '8-2=6 6-3=3', '8-3=5 5-2=3']
    """
    return sorted(set(_chains(_bag(ast.parse(expression, mode="eval").body))))


def _bag(tree: ast.expr) -> Bag:
    """Nested sums of a sum are parts of one bag, and nested products of a product too."""
    if not isinstance(tree, ast.BinOp):
        return ast.literal_eval(tree)
    kind, _ = _KINDS[type(tree.op)]
    parts: list[tuple[int, Bag]] = []

    def gather(inner: ast.expr, sign: int) -> None:
        if isinstance(inner, ast.BinOp) and _KINDS[type(inner.op)][0] == kind:
            gather(inner.left, sign)
            gather(inner.right, sign * _KINDS[type(inner.op)][1])
        else:
            parts.append((sign, _bag(inner)))

    gather(tree, 1)
    return kind, tuple(parts)


_KINDS = {ast.Add: (SUM, 1), ast.Sub: (SUM, -1), ast.Mult: (PRODUCT, 1), ast.Div: (PRODUCT, -1)}


def _chains(bag: Bag) -> Iterator[str]:
    """Every chain that takes the bag down to a number; one comes several times where equal values change places."""
    if isinstance(bag, int):
        yield ""
        return
    for step, left in _moves(bag):
        for rest in _chains(left):
            yield f"{step} {rest}".rstrip()


def _moves(bag: Bag) -> Iterator[tuple[Step, Bag]]:
    """Every step that the bag allows, here or in a bag within it, and the bag that it leaves."""
    if isinstance(bag, int):
        return
    kind, parts = bag
    for i, (sign, part) in enumerate(parts):
        # Within a part.
        for step, left in _moves(part):
            yield step, (kind, (*parts[:i], (sign, left), *parts[i + 1 :]))
        # This part and another one, this one on the left.
        for j, (other_sign, other) in enumerate(parts):
            if i == j or not isinstance(part, int) or not isinstance(other, int):
                continue
            # Two parts of one sign are added and keep it; of two signs the left one's is kept.
            operator = ("+" if kind == SUM else "*") if sign == other_sign else ("-" if kind == SUM else "/")
            result = result_of(operator, left=part, right=other)
            if result is None:
                continue
            step = Step(left=part, operator=operator, right=other, result=result)
            others = tuple(parts[k] for k in range(len(parts)) if k not in (i, j))
            if others:
                yield step, (kind, (*others, (sign, result)))
            elif sign > 0:
                yield step, result


# --- backwards: one chain --------------------------------------------------------------------------------------------


def computes(steps: Sequence[Step], expression: str) -> bool:
    """Whether some reading of a chain is the expression, up to the order and the bracketing of sums and products.

    steps: without a fault over the expression's numbers (`worked.fault`).

    >>> computes(worked.read("3+4=7 2+7=9"), "2+3+4"), computes(worked.read("2*4=8 1+8=9"), "2+3+4")
    (True, False)
    """
    wanted = countdown.parse(expression)
    # What each value at hand stands for, as a formula; equal values make several readings.
    readings = {tuple(_number(value) for value in wanted.numbers)}
    for step in steps:
        readings = {after for reading in readings for after in _after(reading, step)}
    return any(reading[0].mode == wanted.mode for reading in readings)


def _number(value: int) -> Node:
    return Node(NUMBER, Fraction(value), (str(value),))


def _after(reading: tuple[Node, ...], step: Step) -> Iterator[tuple[Node, ...]]:
    """The readings that a step makes of one, over the choices of which formulas stand for its two values."""
    kind = SUM if step.operator in "+-" else PRODUCT
    first = "+" if kind == SUM else "*"
    for i, left in enumerate(reading):
        for j, right in enumerate(reading):
            if i != j and left.value == step.left and right.value == step.right:
                others = [node for k, node in enumerate(reading) if k not in (i, j)]
                made = countdown.combine(kind, [(first, left), (step.operator, right)])
                yield tuple(sorted([*others, made], key=lambda node: node.mode))


# --- at random: what a base model is pre-trained on, and what problems are made of ------------------------------------


def random_expression(
    numbers: Sequence[int], operators: dict[str, float], *, rng: random.Random
) -> tuple[str, list[Step]]:
    """The expression that a random chain over the numbers computes, in its canonical writing, and the chain.

    numbers: in any order.
    operators: relative weight of each.
    rng: what is drawn from.
    """
    steps = worked.random_chain(numbers, operators, rng=rng)
    reading = tuple(_number(value) for value in numbers)
    for step in steps:
        reading = next(_after(reading, step))
    return reading[0].mode, steps
