"""Whether a completion keeps to a format of tags, such as <think>...</think><answer>...</answer> (DeepSeek-R1)."""

from __future__ import annotations

import re

from analysis.errors import InputError
from explore_rl.types import Problem, Verdict
from explore_rl.verifiers.base import correct, wrong


class FormatVerifier:
    """CORRECT if every tag is there exactly once, opened, closed and not empty, in this order, with nothing but blanks
    around and between.

    tags: names in order. prefilled: the prompt's template has opened the first tag already, so that the completion
    begins inside it.
    partial: the score of a wrong format is the share of tags that are there exactly once and closed, in order;
    otherwise 0. A completion that was cut off is judged as it is: its last tag is not closed. The reference answer does
    not matter. Use it in `combine`.
    """

    def __init__(
        self, tags: list[str] | tuple[str, ...] = ("think", "answer"), prefilled: bool = False, *, partial: bool = False
    ):
        if (
            not isinstance(tags, (list, tuple))
            or not tags
            or not all(isinstance(t, str) and re.fullmatch(r"[A-Za-z][\w-]*", t) for t in tags)
        ):
            raise InputError(f"format verifier: tags must be a list of names such as [think, answer], got {tags!r}")
        if len(set(tags)) != len(tags):
            raise InputError(f"format verifier: a tag is named twice in {tags!r}")
        self.tags, self.prefilled, self.partial = tuple(tags), prefilled, partial
        self._whole = re.compile(
            r"\s*" + r"\s*".join(rf"<{tag}>(?P<t{i}>.*?)</{tag}>" for i, tag in enumerate(tags)) + r"\s*", re.DOTALL
        )

    def __call__(self, completion: str, problem: Problem, *, truncated: bool = False) -> Verdict:
        text = f"<{self.tags[0]}>{completion}" if self.prefilled else completion
        marks = re.findall(r"</?(?:" + "|".join(map(re.escape, self.tags)) + ")>", text)
        expected = [mark for tag in self.tags for mark in (f"<{tag}>", f"</{tag}>")]
        if (
            marks == expected
            and (match := self._whole.fullmatch(text))
            and all(inside.strip() for inside in match.groups())
        ):
            return correct()
        return wrong(score=self._share(text, marks) if self.partial else 0.0, reason=self._fault(marks, expected))

    def _share(self, text: str, marks: list[str]) -> float:
        """Half at most where all tags are there but something stands outside them or one is empty."""
        good = 0
        at = 0
        for tag in self.tags:
            start = text.find(f"<{tag}>", at)
            end = text.find(f"</{tag}>", at)
            if marks.count(f"<{tag}>") == marks.count(f"</{tag}>") == 1 and 0 <= start < end:
                good = good + 1
                at = end
        return good / len(self.tags) if good < len(self.tags) else 0.5

    def _fault(self, marks: list[str], expected: list[str]) -> str:
        for mark in expected:
            if marks.count(mark) != 1:
                return f"{mark} is there {marks.count(mark)} times, not once"
        return "the tags are not in order" if marks != expected else "text outside the tags, or an empty tag"
