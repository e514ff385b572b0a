"""The search tree of one problem, exactly: what a model would write, branch by branch, with every correct answer.

The leaves are all correct answers and each model's most probable wrong ones; every other completion is one branch
"other" at the place where it leaves the tree. A branch's probability is that of its beginning, so at every place the
branches and the other one add up to what came in.
"""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis.errors import InputError
from explore_rl.lab import countdown
from explore_rl.lab.families import FAMILIES, answers_of
from explore_rl.types import Problem

_NUMBERS = re.compile(r"(?P<numbers>[0-9]+( [0-9]+)*)=(?P<target>[0-9]+):?")


def problem_of(prompt: str, family: str) -> Problem:
    """The problem that a prompt of a family asks, with its numbers in the prompt's order.

    Raises InputError for a prompt that is none, and for one without a correct answer.

    >>> problem_of("5 3 10=8", "countdown").answer
    {'numbers': [5, 3, 10], 'target': 8}
    """
    if family == "worked_evaluation":
        expression = prompt.removesuffix(":")
        try:
            numbers = countdown.parse(expression).numbers
        except countdown.NotMinimal as error:
            raise InputError(f"{prompt!r}: not an expression in minimal writing: {error}") from None
        answer: dict[str, Any] = {"expression": expression}
    else:
        found = _NUMBERS.fullmatch(prompt)
        if found is None:
            raise InputError(f"{prompt!r}: not a prompt of {family}; expected numbers=target, such as '5 3 10=8'")
        numbers = [int(number) for number in found["numbers"].split(" ")]
        answer = {"numbers": numbers, "target": int(found["target"])}
    levels = FAMILIES[family].levels
    if len(numbers) not in levels:
        raise InputError(f"{prompt!r}: {len(numbers)} numbers; {family} has {', '.join(map(str, levels))}")
    shown = prompt.removesuffix(":") + ":"
    problem = Problem(id=shown, prompt=shown, answer=answer, verifier=family, metadata={"level": len(numbers)})
    if not answers_of(problem):
        raise InputError(f"{prompt!r}: has no correct answer")
    return problem


@dataclass
class Branch:
    """A beginning that several completions share, down to the next place where they part.

    text: what it adds to its parent.
    probability: [M] of the whole beginning, of each model.
    status: "correct" or "wrong" for a completion with its end, "" for a place where ways part, "other" for the rest.
    children: in a fixed order, the other one last.
    """

    text: str
    probability: np.ndarray
    status: str = ""
    children: list[Branch] = field(default_factory=list)

    @property
    def leaves(self) -> list[Branch]:
        return [leaf for child in self.children for leaf in child.leaves] or [self]

    @property
    def leads_to_correct(self) -> bool:
        return self.status == "correct" or any(child.leads_to_correct for child in self.children)


@dataclass(frozen=True)
class Tree:
    """problem: the one that is asked. models: their M names. root: the empty beginning, of probability 1."""

    problem: Problem
    models: tuple[str, ...]
    root: Branch


def search_tree(
    problem: Problem, models: Mapping[str, tuple[Any, Any]], *, wrong: int = 10, temperature: float = 1.0
) -> Tree:
    """The tree of a problem under several models.

    problem: from the laboratory.
    models: name -> (model, tokenizer), all with the laboratory's tokenizer, one character a token.
    wrong: how many wrong completions of each model are shown, the most probable ones.
    temperature: what the probabilities are taken at.
    """
    correct = answers_of(problem)
    prompt = str(problem.prompt)
    shown = dict.fromkeys(correct)
    for model, tokenizer in models.values():
        wanted = wrong + len(correct)  # the most probable may be correct ones
        found = most_probable(model, tokenizer, prompt=prompt, count=wanted, temperature=temperature)
        shown |= dict.fromkeys([text for text in found if text not in correct][:wrong])
    texts = list(shown)
    # [texts, M] lists of the probability of every beginning: of no token, of one, ... of all with the end token.
    steps = [
        prefix_probabilities(model, tokenizer, prompt=prompt, texts=texts, temperature=temperature)
        for model, tokenizer in models.values()
    ]
    known = {text: np.stack([of_model[row] for of_model in steps]) for row, text in enumerate(texts)}
    root = _grow(known, set(correct), start=0)
    root.text = ""
    return Tree(problem, tuple(models), root)


def _grow(known: Mapping[str, np.ndarray], correct: set[str], *, start: int) -> Branch:
    """The branch of texts that agree up to `start`; it runs on for as long as they agree.

    known: text -> [M, length + 2] probabilities of its beginnings.
    """
    texts = sorted(known)
    shared = len(os.path.commonprefix(texts))
    first = texts[0]
    if len(texts) == 1:
        status = "correct" if first in correct else "wrong"
        return Branch(first[start:], known[first][:, -1], status=status)
    branch = Branch(first[start:shared], known[first][:, shared])
    # By the next character; a text that ends here is a branch of its own.
    by_next: dict[str, dict[str, np.ndarray]] = {}
    for text in texts:
        by_next.setdefault(text[shared : shared + 1], {})[text] = known[text]
    branch.children = [_grow(group, correct, start=shared) for group in by_next.values()]
    # What leaves within a child's run of characters leaves here, as far as a picture can tell.
    rest = np.maximum(branch.probability - sum(child.probability for child in branch.children), 0.0)
    branch.children.append(Branch("", rest, status="other"))
    return branch


@torch.inference_mode()
def prefix_probabilities(
    model: Any, tokenizer: Any, *, prompt: str, texts: Sequence[str], temperature: float
) -> list[np.ndarray]:
    """For each text the probabilities of its beginnings.

    model, tokenizer: the checkpoint's; one character is one token.
    prompt: what all texts follow.
    texts: completions without the end token.
    temperature: the softmax's.
    Returns an array a text, float64 [length + 2]: 1 for the empty beginning, the last one with the end token.
    """
    prompt_ids = tokenizer(prompt).input_ids
    rows = [prompt_ids + tokenizer(text).input_ids + [tokenizer.eos_token_id] for text in texts]
    width = max(map(len, rows))
    tokens = torch.full((len(rows), width), tokenizer.pad_token_id)
    for row, ids in enumerate(rows):
        tokens[row, : len(ids)] = torch.tensor(ids)
    logits = model(tokens, use_cache=False).logits[:, :-1].double() / temperature
    logprobs = torch.log_softmax(logits, -1).gather(2, tokens[:, 1:, None])[:, :, 0].numpy()
    begin = len(prompt_ids) - 1
    found = []
    for row, ids in enumerate(rows):
        of_tokens = logprobs[row, begin : len(ids) - 1]
        found.append(np.exp(np.concatenate([[0.0], np.cumsum(of_tokens)])))
    return found


@torch.inference_mode()
def most_probable(model: Any, tokenizer: Any, *, prompt: str, count: int, temperature: float) -> list[str]:
    """The most probable completions, in order; exact, by best-first search over beginnings.

    A beginning is at least as probable as any of its continuations, so the first `count` completions that come off the
    queue are the most probable ones. A completion with a padding token in it is no text and is passed over.

    model, tokenizer: the checkpoint's.
    prompt: what the completions follow.
    count: how many are wanted; fewer come where there are no more that fit the model's length.
    temperature: the softmax's.
    Returns texts without the end token.
    """
    prompt_ids = tokenizer(prompt).input_ids
    room = model.config.max_position_embeddings - len(prompt_ids)
    queue: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    found: list[str] = []
    while queue and len(found) < count:
        # Some of the best beginnings go through the model at once; a complete one that is best is found.
        opened: list[tuple[float, tuple[int, ...]]] = []
        while queue and len(opened) < 32:
            cost, ids = heapq.heappop(queue)
            if ids and ids[-1] == tokenizer.eos_token_id:
                if opened:
                    heapq.heappush(queue, (cost, ids))
                    break
                found.append(tokenizer.decode(ids[:-1]))
                if len(found) == count:
                    break
            elif len(ids) < room:
                opened.append((cost, ids))
        if not opened:
            continue
        width = max(len(ids) for _, ids in opened)
        tokens = torch.full((len(opened), len(prompt_ids) + width), tokenizer.pad_token_id)
        for row, (_, ids) in enumerate(opened):
            tokens[row, : len(prompt_ids) + len(ids)] = torch.tensor([*prompt_ids, *ids])
        last = torch.tensor([len(prompt_ids) + len(ids) - 1 for _, ids in opened])
        logits = model(tokens, use_cache=False).logits[torch.arange(len(opened)), last].double() / temperature
        logprobs = torch.log_softmax(logits, -1)
        for (cost, ids), row in zip(opened, logprobs.tolist(), strict=True):
            for token, logprob in enumerate(row):
                if token != tokenizer.pad_token_id:
                    heapq.heappush(queue, (cost - logprob, (*ids, token)))
    return found


# --- the picture -----------------------------------------------------------------------------------------------------

CORRECT = "#1a9850"
WRONG = "#b2182b"
OTHER = "#8a8a8a"
SEEN = 0.005  # what is left over is drawn from this probability on


def draw(tree: Tree, targets: Sequence[Path]) -> None:
    """One panel a model, side by side, with the same branches at the same places.

    tree: what `search_tree` gave.
    targets: files to write; their endings say the kinds (.svg, .png).
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    places = _places(tree.root)
    lowest = max(y for _, y in places.values())
    deepest = max(x for x, _ in places.values())
    height = 1.4 + 0.24 * (lowest + 1)
    with plt.rc_context({"svg.fonttype": "none", "font.size": 9}):
        figure, axes = plt.subplots(
            1, len(tree.models), figsize=(6.4 * len(tree.models), height), layout="constrained", squeeze=False
        )
        for position, (axis, name) in enumerate(zip(axes[0], tree.models, strict=True)):
            _draw_branch(axis, tree.root, places=places, position=position, before="")
            success = sum(leaf.probability[position] for leaf in tree.root.leaves if leaf.status == "correct")
            axis.set_title(f"{_short(name)}: correct in one draw {_figure(success)}", fontsize=10)
            axis.set(xlim=(-0.2, deepest + 2.4), ylim=(lowest + 0.8, -0.8))
            axis.axis("off")
        figure.suptitle(
            f"{tree.problem.prompt}  every correct answer (green), the likeliest wrong ones (red), the rest (grey);"
            " width: probability",
            fontsize=10,
        )
        for target in targets:
            figure.savefig(target, dpi=130)
        plt.close(figure)


def _places(root: Branch) -> dict[int, tuple[float, float]]:
    """Where each branch ends, by its identity: (how often ways have parted, the middle of its leaves)."""
    places: dict[int, tuple[float, float]] = {}
    rows = {id(leaf): float(row) for row, leaf in enumerate(filter(_is_shown, root.leaves))}

    def place(branch: Branch, depth: int) -> float:
        heights = [place(child, depth + 1) for child in branch.children if _is_shown(child)]
        y = (heights[0] + heights[-1]) / 2 if heights else rows[id(branch)]
        places[id(branch)] = (float(depth), y)
        return y

    place(root, 0)
    return places


def _is_shown(branch: Branch) -> bool:
    """Whether it is in the picture: what is left over is only where some model has a visible share there."""
    return branch.status != "other" or bool(branch.probability.max() >= SEEN)


def _draw_branch(
    axis: Any, branch: Branch, *, places: Mapping[int, tuple[float, float]], position: int, before: str
) -> None:
    """The branch's children with their lines, and what is below them."""
    from matplotlib.patheffects import withStroke

    x, y = places[id(branch)]
    for child in filter(_is_shown, branch.children):
        to_x, to_y = places[id(child)]
        p = float(child.probability[position])
        colour = OTHER if child.status == "other" else CORRECT if child.leads_to_correct else WRONG
        width = 0.4 + 9.0 * p
        # A smooth step from place to place; what is out of reach is dotted.
        steps = np.linspace(0, 1, 24)
        rise = steps * steps * (3 - 2 * steps)
        style = "-" if p > 1e-6 else ":"
        axis.plot(
            x + (to_x - x) * steps,
            y + (to_y - y) * rise,
            color=colour,
            linewidth=width,
            linestyle=style,
            alpha=0.85,
            solid_capstyle="butt",
        )
        text = before + child.text
        if child.status == "other":
            axis.text(to_x + 0.05, to_y, f"other {_figure(p)}", color=OTHER, va="center", fontsize=7)
        elif child.status:
            axis.text(to_x + 0.05, to_y, f"{text}  {_figure(p)}", color=colour, va="center", fontsize=8)
        else:
            halo = [withStroke(linewidth=2, foreground="white")]
            axis.text(to_x, to_y - 0.15, text, va="bottom", ha="right", fontsize=7, path_effects=halo)
        _draw_branch(axis, child, places=places, position=position, before=text)


def _short(name: str) -> str:
    """The run of a path that ends in its final model; any other name as it is."""
    path = Path(name)
    return path.parent.name if path.name == "final" and path.parent.name else name


def _figure(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def table(tree: Tree) -> str:
    """The completions with their probabilities, the correct ones first, for the terminal."""
    rows: list[tuple[str, str, np.ndarray]] = []

    def gather(branch: Branch, before: str) -> None:
        text = before + branch.text
        if branch.status in ("correct", "wrong"):
            rows.append((branch.status, text, branch.probability))
        for child in branch.children:
            gather(child, text)

    gather(tree.root, "")
    rows.sort(key=lambda row: (row[0], -row[2].max()))
    longest = max(len(text) for _, text, _ in rows)
    lines = [" " * (longest + 10) + "  ".join(name.rjust(12) for name in tree.models)]
    for status, text, probability in rows:
        figures = "  ".join(_figure(float(p)).rjust(12) for p in probability)
        lines.append(f"{status:9} {text.ljust(longest)}{figures}")
    return "\n".join(lines)
