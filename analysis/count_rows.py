"""Gathers rows of counts, one a problem, into one `ModelSamples`."""

from __future__ import annotations

import numpy as np

from analysis.columns import column
from analysis.errors import InputError
from analysis.files import RowBlock, Source, natural_key, several_models
from analysis.records import COUNT_COLUMNS, DEFAULT_BENCHMARK, ModelSamples

MOST_DRAWS = 10**9  # of a problem: tables over draws grow with them


class CountRows:
    """Rows of counts, one a problem."""

    WANTED = set(COUNT_COLUMNS)

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict[str, float | None]] = {}
        self.where: dict[tuple[str, str], str] = {}
        self.models: set[str] = set()
        self.seen = 0

    def add(self, batch: RowBlock, source: Source, *, file: int) -> None:
        got = {
            name: column(batch, source, name=name, kind=kind, missing_ok=name not in ("problem_id", "n", "correct"))
            for name, (kind, _) in COUNT_COLUMNS.items()
        }
        lists = {
            name: [None] * batch.table.num_rows if array is None else array.to_pylist() for name, array in got.items()
        }
        for i in range(batch.table.num_rows):
            row = {name: values[i] for name, values in lists.items()}
            at = source.at(batch.number(i))
            # Two models in one file would be added up into a third one that nobody ran.
            key = (row.pop("benchmark") or DEFAULT_BENCHMARK, row.pop("problem_id"))
            if not key[1]:
                raise InputError(f"{at}: problem_id is empty")
            if (model := row.pop("model")) is not None:
                self.models.add(model)
            if len(self.models) > 1:
                raise InputError(several_models(source, self.models))
            # What cannot be a count, or is there twice, names its row.
            if row["n"] < 0 or row["correct"] < 0:
                raise InputError(
                    f"{at}: {'n' if row['n'] < 0 else 'correct'} is {min(row['n'], row['correct'])}; "
                    "it should not be negative"
                )
            if row["n"] > MOST_DRAWS:
                raise InputError(f"{at}: n is {row['n']}; at most {MOST_DRAWS} draws of a problem can be worked with")
            if row["correct"] > row["n"]:
                raise InputError(f"{at}: correct is {row['correct']} of n = {row['n']}; it should be at most n")
            if key in self.where:
                raise InputError(
                    f"{at}: problem {key[1]!r} is there twice (also {self.where[key]}); add the counts "
                    "up if they are separate draws"
                )
            self.rows[key] = row
            self.where[key] = at
        self.seen += batch.table.num_rows

    def finish(self, sources: list[Source]) -> ModelSamples:
        if not self.rows:
            raise InputError(f"{sources[0].path}: no rows")
        keys = sorted(self.rows, key=lambda key: (key[0], natural_key(key[1])))

        def values(name: str, kind: type) -> np.ndarray | None:
            found = [self.rows[key][name] for key in keys]
            if any(v is None for v in found):
                return None
            return np.array(found, dtype=kind)

        def required(name: str) -> np.ndarray:
            return np.array([self.rows[key][name] or 0 for key in keys], dtype=np.int64)

        return ModelSamples(
            name="",
            problem_ids=[key[1] for key in keys],
            benchmarks=[key[0] for key in keys],
            n=required("n"),
            correct=required("correct"),
            excluded=required("excluded"),
            truncated=values("truncated", np.int64),
            num_tokens=values("num_tokens", np.float64),
            token_entropy=values("token_entropy", np.float64),
            settings={"model": sorted(self.models)} if self.models else {},
        )
