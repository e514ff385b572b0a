"""Gathers batches of sample rows into one `ModelSamples`, by code arrays of a few bytes a draw. Counts:
analysis.count_rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from analysis.clusters import COPY, copies, grouping_codes, multiplicity
from analysis.columns import check_ranges, column, floats, verdicts
from analysis.errors import InputError
from analysis.files import RowBlock, Source, several_models
from analysis.problem_codes import ProblemCodes
from analysis.records import SAMPLE_COLUMNS, AnswerCounts, Draws, ModelSamples
from analysis.turns import SESSIONS, TURNS, refuse_turns

pc: Any = pyarrow.compute  # its functions are made when it is imported, which no type checker sees

SETTINGS = ("model", "temperature", "top_p", "max_tokens", "template", "seed")
MOST_SETTINGS = 20  # distinct values that are listed (a seed of its own for every draw is not a setting)
# Finish reasons of a truncated completion, in lower case and without a leading "finish_reason_".
CUT_OFF = ("length", "max_tokens", "max_length", "model_length", "max_new_tokens")
DRAWS_A_FILE = 1 << 32  # most draws of a problem in one file, where each file is numbered from 0
VARIED = 5  # different numbers of correct draws from which rows are taken for doubled
COUNTED_ONCE = "The verdict takes each for one draw; pass@k does not"
MERGE_ANSWERS = 2_000_000  # rows of partial answer counts after which they are merged


class SampleRows:
    """Rows of samples. Per draw it keeps problem code, verdict, and index, seed, log-probability and length where
    given."""

    WANTED = set(SAMPLE_COLUMNS) - {"completion"} | {"lm_eval_filter", *TURNS, *SESSIONS}

    def __init__(self) -> None:
        self.problems = ProblemCodes()
        self.seen = 0
        self.kept: dict[str, list[np.ndarray]] = {
            name: [] for name in ("code", "correct", "sample", "seed", "logprob", "num_tokens", "file", "cluster")
        }
        self.cluster_names: dict[str, int] = {}
        self.sums: dict[str, np.ndarray] = {}  # per problem code, grown as problems appear
        self.answers: list[pa.Table] = []
        self.given: dict[str, int] = {}  # column -> rows of batches that had it
        self.settings: dict[str, set] = {}

    def add(self, batch: RowBlock, source: Source, *, file: int) -> None:
        # the columns, as the schema has them
        rows = batch.table.num_rows
        code = self.problems.code(batch, source)
        refuse_turns(batch, source, code=code)
        got = {
            name: column(batch, source, name=name, kind=kind)
            for name, (kind, _) in SAMPLE_COLUMNS.items()
            if name not in ("completion", "problem_id", "benchmark")
        }
        # files of one draw a problem number their rows from 0 each
        if source.adapter and source.adapter.one_draw_a_file:
            inside = np.zeros(rows, dtype=np.int64) if got["sample"] is None else np.asarray(got["sample"].fill_null(0))
            got["sample"] = pa.array(file * DRAWS_A_FILE + inside)
        # what is summed up and dropped at once
        correct, evidence = verdicts(got, batch, source=source)
        for name, array in got.items():
            if array is not None and array.null_count < rows:
                self.given[name] = self.given.get(name, 0) + rows
        check_ranges(got, batch, source=source)
        self._add_sums(code, correct, evidence=evidence, got=got)
        self._add_answers(code, correct, evidence=evidence, got=got)
        self._add_settings(got, batch, source=source)
        # what is kept of every draw that is evidence
        for name in ("sample", "seed"):
            if (values := got[name]) is not None and not values.null_count:
                drawn = np.asarray(values)
                small = name == "sample" and drawn.max(initial=0) < 2**31  # as nearly always: half the memory
                drawn = drawn.astype(np.int32 if small else np.int64)
                self.kept[name].append(drawn if evidence.all() else drawn[evidence])
            else:
                self.kept[name].append(np.full(int(evidence.sum()), -1, dtype=np.int32))
        for name in ("logprob", "num_tokens"):
            values = (
                np.full(rows, np.nan, dtype=np.float32) if got[name] is None else floats(got[name]).astype(np.float32)
            )
            self.kept[name].append(values[evidence])
        if got["cluster"] is not None:
            self.kept["cluster"].append(self._cluster_codes(got["cluster"])[evidence])
        self.kept["code"].append(code[evidence])
        self.kept["correct"].append(correct[evidence].astype(np.uint8))
        self.kept["file"].append(np.array([file, int(evidence.sum())]))
        self.seen += rows

    def _cluster_codes(self, clusters: pa.Array) -> np.ndarray:
        """Numbers of the names, int32 [rows]; -1 for a draw that shares nothing."""
        encoded = clusters if pa.types.is_dictionary(clusters.type) else clusters.dictionary_encode()
        known = [
            self.cluster_names.setdefault(name, len(self.cluster_names)) for name in encoded.dictionary.to_pylist()
        ]
        return np.array([*known, -1], dtype=np.int32)[np.asarray(encoded.indices.fill_null(len(known)))]

    def _add_sums(
        self, code: np.ndarray, correct: np.ndarray, *, evidence: np.ndarray, got: dict[str, pa.Array | None]
    ) -> None:
        size = len(self.problems.codes)

        def add(name: str, at: np.ndarray, *, weights: np.ndarray | None = None) -> None:
            total = np.bincount(at, weights, minlength=size).astype(np.float64)
            if (old := self.sums.get(name)) is not None:
                total[: len(old)] += old
            self.sums[name] = total

        # Mostly every draw is evidence; then the codes are not copied.
        whole = bool(evidence.all())
        kept = code if whole else code[evidence]
        add("n", kept)
        add("correct", code[correct])
        add("excluded", code[:0] if whole else code[~evidence])
        if got["finish_reason"] is not None:
            reason = pc.utf8_lower(got["finish_reason"].cast(pa.string()))
            # Some engines write their enum's name: FINISH_REASON_LENGTH.
            reason = pc.replace_substring_regex(reason, r"^finish_reason_", "")
            cut = np.asarray(pc.is_in(reason, value_set=pa.array(CUT_OFF)))
            add("truncated", code[cut & evidence])
        if got["cot_correct"] is not None:
            judged = np.asarray(got["cot_correct"].is_valid())
            add("cot_unjudged", code[correct & ~judged])
            add("cot_correct", code[correct & np.asarray(got["cot_correct"].fill_null(False))])
        # Means are over the rows that have a value, so these are counted as well.
        for name in ("token_entropy", "num_tokens"):
            if got[name] is not None:
                values = floats(got[name])
                there = evidence & np.isfinite(values)
                add(f"{name} rows", code[there])
                add(name, code[there], weights=values[there])

    def _add_answers(
        self, code: np.ndarray, correct: np.ndarray, *, evidence: np.ndarray, got: dict[str, pa.Array | None]
    ) -> None:
        if got["answer"] is None and got["mode"] is None:
            return
        rows = len(code)
        columns = {"problem": pa.array(code), "correct": pa.array(correct)}
        for name in ("answer", "mode"):
            texts = got[name]
            columns[name] = pa.nulls(rows, pa.string()) if texts is None else texts.cast(pa.string())
        table = pa.table(columns)
        table = table if evidence.all() else table.filter(pa.array(evidence))
        table = table.append_column("count", pa.array(np.ones(table.num_rows, dtype=np.int64)))
        self.answers.append(_counted([table]))
        if len(self.answers) > 1 and sum(t.num_rows for t in self.answers[1:]) > MERGE_ANSWERS:
            self.answers = [_counted(self.answers)]

    def _add_settings(self, got: dict[str, pa.Array | None], batch: RowBlock, *, source: Source) -> None:
        for name in SETTINGS:
            if got[name] is not None and len(self.settings.setdefault(name, set())) <= MOST_SETTINGS:
                self.settings[name] |= {
                    v for v in pc.unique(got[name]).to_pylist()[: MOST_SETTINGS + 1] if v is not None
                }
        if len(models := self.settings.get("model", ())) > 1:
            raise InputError(several_models(source, models))
        if source.foreign and "metric" in batch.table.column_names:
            self.settings.setdefault("metric", set()).update(pc.unique(batch.table["metric"]).drop_null().to_pylist())
        if "lm_eval_filter" in batch.table.column_names:
            filters = self.settings.setdefault("lm_eval_filter", set())
            filters |= set(pc.unique(batch.table["lm_eval_filter"]).to_pylist())
            if len(filters) > 1:
                raise InputError(
                    f"{source.given}: answers were taken in several ways ({', '.join(sorted(filters))});"
                    f" choose one, as in {source.given}::{min(filters)}"
                )

    def finish(self, sources: list[Source]) -> ModelSamples:
        if not self.seen:
            raise InputError(f"{sources[0].path}: no rows")
        keys, place = self.problems.order()
        count = len(keys)
        warnings = []

        # sums were kept by code, in the order in which problems appeared; now they go to their places
        def per_problem(name: str) -> np.ndarray | None:
            if name not in self.sums:
                return None
            out = np.zeros(count)
            out[place[: len(self.sums[name])]] = self.sums[name]
            return out

        def counted(name: str) -> np.ndarray:
            found = per_problem(name)
            return np.zeros(count) if found is None else found

        def mean(name: str) -> np.ndarray | None:
            if (total := per_problem(name)) is None:
                return None
            rows = counted(f"{name} rows")
            return np.divide(total, rows, out=np.full(count, np.nan), where=rows > 0)

        # a column that only some files have would be read for some draws and not for others
        partly = [
            name
            for name, rows in self.given.items()
            if rows < self.seen
            and name in ("finish_reason", "cot_correct", "token_entropy", "num_tokens", "answer", "mode")
        ]
        if partly:
            warnings.append(f"column {', '.join(sorted(partly))} is there in some files only and is left out")
        cot = per_problem("cot_correct")
        unjudged = per_problem("cot_unjudged")
        if unjudged is not None and not unjudged.any():
            unjudged = None
        if unjudged is not None and "cot_correct" not in partly:
            warnings.append(
                f"cot_correct is missing for {unjudged.sum():,.0f} of {counted('correct').sum():,.0f} correct draws: "
                "CoT-Pass@K is not computed, and the verdict by reasoning is given with bounds both ways"
            )

        def whole(values: np.ndarray | None, column: str) -> np.ndarray | None:
            return None if column in partly else values

        def integer(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values.astype(np.int64)

        n = counted("n").astype(np.int64)
        has_answers = bool(self.answers) and not {"answer", "mode"} & set(partly)
        answers = self._answers(place) if has_answers else None
        correct = counted("correct").astype(np.int64)
        times = 1 if self.given.get("sample") == self.seen else _times(n, correct, answers=answers)
        if times > 1:
            # the same number of correct draws on all problems is no luck, but no sign of doubled rows either
            surely = len(np.unique(correct)) >= VARIED
            warnings.append(
                f"every row is there {times} times (or a multiple of that), and no column sample tells draws apart: "
                f"are rows doubled? {COUNTED_ONCE if surely else 'They count as draws of their own'}"
            )
            times = times if surely else 1
        return ModelSamples(
            name="",
            problem_ids=[key[1] for key in keys],
            benchmarks=[key[0] for key in keys],
            n=n,
            correct=correct,
            excluded=counted("excluded").astype(np.int64),
            truncated=integer(whole(per_problem("truncated"), "finish_reason")),
            cot_correct=integer(whole(cot, "cot_correct")),
            cot_unjudged=integer(whole(unjudged, "cot_correct")),
            token_entropy=whole(mean("token_entropy"), "token_entropy"),
            num_tokens=whole(mean("num_tokens"), "num_tokens"),
            answers=answers,
            draws=self._draws(place, n, keys=keys, sources=sources, times=times),
            settings={
                name: sorted(values) for name, values in self.settings.items() if 0 < len(values) <= MOST_SETTINGS
            },
            warnings=warnings,
        )

    def _answers(self, place: np.ndarray) -> AnswerCounts:
        table = _counted(self.answers)
        problem = place[np.asarray(table["problem"])]
        order = np.argsort(problem, kind="stable")

        def texts(name: str) -> np.ndarray:
            return np.array([*table[name].to_pylist(), None], dtype=object)[:-1][order]  # None keeps it one-dimensional

        count = np.asarray(table["count"])[order]
        return AnswerCounts(problem[order], texts("answer"), texts("mode"), count, np.asarray(table["correct"])[order])

    def _draws(
        self, place: np.ndarray, n: np.ndarray, *, keys: list[tuple[str, str]], sources: list[Source], times: int
    ) -> Draws:
        code = place[self._joined("code")].astype(np.int32)
        sample = (
            self._joined("sample")
            if self.given.get("sample") == self.seen or any(s.adapter and s.adapter.one_draw_a_file for s in sources)
            else None
        )
        seed = self._joined("seed") if self.given.get("seed") == self.seen else None
        # the order of the draws: by problem, then by sample; one that is there twice is refused
        sorted_already = bool((np.diff(code) >= 0).all())
        if sample is not None:
            inside = np.diff(code) == 0
            if not sorted_already or not (np.diff(sample)[inside] > 0).all():
                order = np.lexsort((sample, code) if seed is None else (seed, sample, code))
                same = (np.diff(code[order]) == 0) & (np.diff(sample[order]) == 0)
                same &= True if seed is None else np.diff(seed[order]) == 0
                if same.any():
                    self._refuse_duplicate(
                        order[int(same.argmax())],
                        order[int(same.argmax()) + 1],
                        key=keys[code[order[int(same.argmax())]]],
                        sample=sample,
                        seed=seed,
                        sources=sources,
                    )
            else:
                order = slice(None)
        else:
            order = slice(None) if sorted_already else np.argsort(code, kind="stable")
        # what was kept, in that order
        values = {name: self._joined(name)[order] for name in ("correct", "logprob", "num_tokens")}
        there = {name: bool(np.isfinite(values[name]).any()) for name in ("logprob", "num_tokens")}
        start = np.concatenate([[0], np.cumsum(n)])
        repeated = {COPY: copies(values["correct"], start, times)} if times > 1 else {}
        return Draws(
            start,
            values["correct"],
            *(values[name] if there[name] else None for name in ("logprob", "num_tokens")),
            clusters=repeated | self._clusters(start, order),
        )

    def _clusters(self, start: np.ndarray, order: np.ndarray | slice) -> dict[str, np.ndarray]:
        """What draws share, kind by kind, where it groups them. order: of the draws."""
        values = {}
        if self.kept["cluster"] and self.given.get("cluster") == self.seen:
            values["cluster"] = self._joined("cluster")
        if self.given.get("seed") == self.seen:
            values["seed"] = self._joined("seed")
        files = np.array(self.kept["file"])
        if len(np.unique(files[:, 0])) > 1:
            values["file"] = np.repeat(files[:, 0], files[:, 1])
        return grouping_codes({kind: of[order] for kind, of in values.items()}, start)

    def _refuse_duplicate(
        self,
        first: int,
        second: int,
        *,
        key: tuple[str, str],
        sample: np.ndarray,
        seed: np.ndarray | None,
        sources: list[Source],
    ) -> None:
        starts = np.cumsum([0, *(rows for _, rows in self.kept["file"])])
        files = [
            sources[self.kept["file"][int(np.searchsorted(starts, at, side="right")) - 1][0]].path
            for at in sorted((first, second))
        ]
        shown = f"problem {key[1]!r}, sample {sample[first]}" + ("" if seed is None else f", seed {seed[first]}")
        raise InputError(
            f"{files[1]}: {shown} is there twice{'' if files[0] == files[1] else f' (also in {files[0]})'};"
            " separate draws need their own sample or seed"
        )

    def _joined(self, name: str) -> np.ndarray:
        joined = np.concatenate(self.kept[name]) if len(self.kept[name]) != 1 else self.kept[name][0]
        self.kept[name] = [joined]
        return joined


def _times(n: np.ndarray, correct: np.ndarray, *, answers: AnswerCounts | None) -> int:
    """How often every row is there (analysis.clusters.multiplicity)."""
    if answers is not None:
        return multiplicity(answers.problem, answers.count)
    count = np.concatenate([correct, n - correct])
    problem = np.tile(np.arange(len(n)), 2)[count > 0]
    return multiplicity(problem, count[count > 0])


def _counted(tables: list[pa.Table]) -> pa.Table:
    counted = pa.concat_tables(tables).group_by(["problem", "answer", "mode", "correct"]).aggregate([("count", "sum")])
    return counted.rename_columns({"count_sum": "count"}).select(["problem", "answer", "mode", "correct", "count"])
