"""Problems as small numbers, while their rows are read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from analysis.columns import column
from analysis.errors import InputError
from analysis.files import RowBlock, Source, natural_key
from analysis.records import DEFAULT_BENCHMARK

pc: Any = pyarrow.compute  # its functions are made when it is imported, which no type checker sees


class ProblemCodes:
    """Codes for (benchmark, problem_id) in the order in which they are met."""

    def __init__(self) -> None:
        self.codes: dict[tuple[str, str], int] = {}

    def code(self, batch: RowBlock, source: Source) -> np.ndarray:
        """int32 [rows]."""
        problem = _encoded(
            column(batch, source, name="problem_id", kind=pa.string(), missing_ok=False),
            source=source,
            batch=batch,
            name="problem_id",
        )
        benchmark = column(batch, source, name="benchmark", kind=pa.string())
        names = ["" if v is None else v for v in problem.dictionary.to_pylist()]
        if "" in names and (empty := np.asarray(problem.indices) == names.index("")).any():
            raise InputError(f"{source.at(batch.number(int(empty.argmax())))}: problem_id is empty")
        # Each row as one number of (set, problem), by the batch's own dictionaries.
        index = np.asarray(problem.indices)
        if benchmark is None:
            sets = [DEFAULT_BENCHMARK]
            pair = index
        else:
            encoded = _encoded(
                benchmark.fill_null(DEFAULT_BENCHMARK) if not pa.types.is_dictionary(benchmark.type) else benchmark,
                source=source,
                batch=batch,
                name="benchmark",
            )
            sets = [DEFAULT_BENCHMARK if v is None else v for v in encoded.dictionary.to_pylist()]
            # A row without a benchmark gets the last entry.
            at = np.asarray(encoded.indices.fill_null(len(sets)))
            sets.append(DEFAULT_BENCHMARK)
            pair = at.astype(np.int64) * len(names) + index
        # Python meets each pair that occurs once, however many rows have it.
        table = np.full(len(sets) * len(names), -1, dtype=np.int32)
        for value in np.flatnonzero(np.bincount(pair, minlength=len(table))):
            key = (sets[value // len(names)], names[value % len(names)])
            table[value] = self.codes.setdefault(key, len(self.codes))
        return table[pair]

    def order(self) -> tuple[list[tuple[str, str]], np.ndarray]:
        """The keys sorted by (benchmark, problem_id, numbers as numbers), and the new place of each code, int64 [M]."""
        keys = sorted(self.codes, key=lambda key: (key[0], natural_key(key[1])))
        place = np.empty(len(keys), dtype=np.int64)
        place[[self.codes[key] for key in keys]] = np.arange(len(keys))
        return keys, place


def _encoded(array: pa.Array, *, source: Source, batch: RowBlock, name: str) -> pa.DictionaryArray:
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    if name == "problem_id" and encoded.null_count:
        i = int(np.asarray(pc.is_null(encoded)).argmax())
        raise InputError(f"{source.at(batch.number(i))}: problem_id is missing")
    return encoded
