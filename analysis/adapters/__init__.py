"""Files that other projects leave behind, read as ours. One file a format, each a `fits` on column names and a
`convert` of one row.

To add one: write the file, name it in ADAPTERS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.adapters import humaneval, limit_of_rlvr, lm_eval, verl, wide_counts


@dataclass(frozen=True)
class Adapter:
    """name: as errors say it. kind: samples or counts. fits(columns): whether a file with these columns is of this
    format.

    convert(row, path, select, at): our rows (as `records.SAMPLE_COLUMNS` or COUNT_COLUMNS) of one of its rows; unknown
    columns are kept; `select` is what the user put behind "::", `at` the place that errors name. Raises InputError.
    one_draw_a_file: several files are further draws, though each numbers its own from 0.
    """

    name: str
    kind: str
    fits: Callable[[set[str]], bool]
    convert: Callable[[dict[str, Any], Path, str | None, str], Iterator[dict[str, Any]]]
    one_draw_a_file: bool = False


ADAPTERS = (
    Adapter("lm-evaluation-harness samples", "samples", lm_eval.fits, lm_eval.convert, one_draw_a_file=True),
    Adapter("verl dump", "samples", verl.fits, verl.convert),
    Adapter("limit-of-RLVR results", "samples", limit_of_rlvr.fits, limit_of_rlvr.convert),
    Adapter("HumanEval results", "samples", humaneval.fits, humaneval.convert),
    Adapter("counts of several models, one column each", "counts", wide_counts.fits, wide_counts.convert),
)
