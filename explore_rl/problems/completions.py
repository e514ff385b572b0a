"""Completions of other projects, one row each, for a verifier to grade: lm-evaluation-harness documents with several
responses, and the lists that verl's main_generation writes.

Their rows do not name a problem of ours. An lm-eval document is the problem at its place in the data set, if its target
is that problem's answer; a verl row is the problem whose prompt and answer are its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from analysis.errors import InputError
from explore_rl.problems.rows import Row
from explore_rl.types import Problem


class Completions:
    """Turns rows of a file into rows with `problem_id` and `completion`. problems: those that are answered."""

    def __init__(self, problems: Sequence[Problem]):
        self.problems = list(problems)
        self.drawn: Counter[str] = Counter()
        self.filter: str | None = None  # the first one that is met: the others have the same responses again
        self.by_content = {(_prompt(p.prompt), _answer(p.answer)): p for p in self.problems}

    def rows(self, row: Row) -> Iterator[Row]:
        """The completions of a row: our own as it is, another project's one by one. Raises InputError."""
        values = row.values
        if "problem_id" in values:
            yield row
        elif "doc_id" in values and "resps" in values:
            yield from self._of_lm_eval(row)
        elif "responses" in values and "reward_model" in values:
            yield from self._of_verl(row)
        else:
            yield row  # whoever needs the columns names those that are missing

    def _of_lm_eval(self, row: Row) -> Iterator[Row]:
        self.filter = self.filter or row.values.get("filter")
        if row.values.get("filter") != self.filter:
            return
        place = row.values["doc_id"]
        if not isinstance(place, int) or not 0 <= place < len(self.problems):
            raise row.error("doc_id", f"{place!r} is no place among the {len(self.problems)} problems given")
        problem = self.problems[place]
        target = row.values.get("target")
        if target is not None and _answer(target) != _answer(problem.answer):
            raise row.error(
                "target",
                f"{str(target)[-40:]!r} is not the answer of problem {problem.id!r} at this place "
                f"({problem.answer!r}): --problems has to be the data set that the harness read, in its order",
            )
        texts = row.values["resps"][0] if row.values["resps"] else []
        yield from self._spread(row, problem, texts=texts)

    def _of_verl(self, row: Row) -> Iterator[Row]:
        prompt = _prompt(row.values.get("prompt"))
        answer = _answer((row.values.get("reward_model") or {}).get("ground_truth"))
        problem = self.by_content.get((prompt, answer))
        if problem is None:
            raise row.error("prompt", "is the prompt of none of the problems, with this answer")
        yield from self._spread(row, problem, texts=row.values["responses"])

    def _spread(self, row: Row, problem: Problem, *, texts: Any) -> Iterator[Row]:
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{row.place}: its responses are not texts, so there is nothing to grade")
        for text in texts:
            # Further files, of other seeds, are further draws.
            sample = self.drawn[problem.id]
            self.drawn[problem.id] += 1
            values = {"problem_id": problem.id, "benchmark": problem.benchmark, "sample": sample, "completion": text}
            yield replace(row, values=values)


def _prompt(prompt: Any) -> str:
    if isinstance(prompt, list):
        return "\n".join(str(turn.get("content")) for turn in prompt if isinstance(turn, dict)).strip()
    return str(prompt).strip()


def _answer(answer: Any) -> str:
    """The last line behind GSM8K's ####, without blanks: targets are written with and without the solution."""
    return str(answer).rpartition("####")[2].strip().replace(",", "")
