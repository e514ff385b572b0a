"""Files that other projects leave behind, read as ours. One file a format, each a `fits` on column names and a
`convert` of rows. Formats that are one JSON document in place of rows are in `documents`.

To add one: write the file, name it in ADAPTERS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from analysis.adapters import (
    chosen_column,
    humaneval,
    lighteval,
    limit_of_rlvr,
    lists,
    live_code_bench,
    lm_eval,
    openrlhf,
    trl,
    verl,
    verl_generation,
    wide_counts,
)
from analysis.adapters.asked import Asked, Rows


@dataclass(frozen=True)
class Adapter:
    """The format of another project.

    name: as errors say it.
    kind: samples or counts.
    fits: fits(columns): whether a file with these columns is of this format.
    convert: convert(rows, asked): our rows (as `records.SAMPLE_COLUMNS` or COUNT_COLUMNS) of its rows, each with the
        number of the row that it comes from; unknown columns are kept. Raises InputError.
    selects: what stands behind "::" is the adapter's own affair; else it is the model of our rows.
    one_draw_a_file: several files are further draws, though each numbers its own from 0.
    """

    name: str
    kind: str
    fits: Callable[[set[str]], bool]
    convert: Callable[[Rows, Asked], Rows]
    selects: bool = False
    one_draw_a_file: bool = False


ADAPTERS = (
    Adapter(
        "lm-evaluation-harness samples", "samples", lm_eval.fits, lm_eval.convert, selects=True, one_draw_a_file=True
    ),
    Adapter("verl dump", "samples", verl.fits, verl.convert),
    Adapter("verl generation", "samples", verl_generation.fits, verl_generation.convert),
    Adapter("TRL completions", "samples", trl.fits, trl.convert),
    Adapter("OpenRLHF samples", "samples", openrlhf.fits, openrlhf.convert),
    Adapter("limit-of-RLVR results", "samples", limit_of_rlvr.fits, limit_of_rlvr.convert),
    Adapter("LiveCodeBench results", "samples", live_code_bench.fits, live_code_bench.convert),
    Adapter("lighteval details", "samples", lighteval.fits, lighteval.convert),
    Adapter("HumanEval results", "samples", humaneval.fits, humaneval.convert),
    Adapter("counts of several models, one column each", "counts", wide_counts.fits, wide_counts.convert, selects=True),
)

# Our own columns in another shape: lists over draws, or a column of the user's choice that says what is correct.
LISTS = Adapter("one row a problem, lists over draws", "samples", lists.fits, lists.convert)
CHOSEN = Adapter("a column chosen by --metric", "samples", chosen_column.fits, chosen_column.convert)
