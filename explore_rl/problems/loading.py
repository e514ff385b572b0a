"""From a path or a spec to problems, one at a time."""

from __future__ import annotations

import importlib
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from analysis.errors import InputError
from explore_rl.fetching import hub
from explore_rl.problems.adapters import adapter_for
from explore_rl.problems.fields import Options, with_options
from explore_rl.problems.rows import Row, read_rows
from explore_rl.types import Problem

LOG = logging.getLogger(__name__)
NO_REFERENCE = ("proof", "notfound")  # what NuminaMath puts where there is no answer

# scheme of a spec -> function (the whole spec) -> problems; or "module:function", imported when first asked for
SCHEMES: dict[str, str | Callable[[str], Iterable[Problem]]] = {
    "lab": "explore_rl.lab.problems:load",
    "gym": "explore_rl.verifiers.gym:load",
    "real": "explore_rl.real.problems:load",
}


def register_scheme(name: str, loader: str | Callable[[str], Iterable[Problem]]) -> None:
    """Lets `load("name:...")` call the loader (or "module:function", imported when first asked for) with the whole
    spec."""
    SCHEMES[name] = loader


def load(
    path_or_spec: str | Path,
    *,
    format: str | None = None,
    limit: int | None = None,
    verifier: str | None = None,
    benchmark: str | None = None,
    duplicates: str = "error",
) -> Iterator[Problem]:
    """Problems of a file, folder or glob, of a spec such as "lab:countdown?level=3&split=train" or
    "gym:chain_sum?size=100&seed=0", or of a data set of the Hugging Face hub, such as "openai/gsm8k:train".

    It is a stream: only the ids are kept, to find duplicates.

    path_or_spec: a file, folder or glob, a spec, or a data set of the hub.
    format: a name of `ADAPTERS`; None: found from the columns of each file's first row.
    limit: how many problems at most, the first ones.
    verifier, benchmark: replace what the rows say (or do not say).
    duplicates: what becomes of a second problem with the same id: "error" or "skip" (the first is kept).

    Raises InputError, with file, line (or row) and key, for whatever cannot be used: malformed lines, wrong types,
    missing answers, duplicate ids, unknown verifiers, files without problems.
    """
    if duplicates not in ("error", "skip"):
        raise InputError(f"duplicates={duplicates!r}: expected error or skip")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InputError(f"limit={limit!r}: expected a whole number from 1")
    spec = str(path_or_spec)
    scheme, colon, _ = spec.partition(":")
    if colon and scheme in SCHEMES and not Path(spec).exists():
        problems = _from_scheme(scheme, spec, format=format)
        given = {key: value for key, value in (("verifier", verifier), ("benchmark", benchmark)) if value is not None}
        if verifier is not None:
            _check_verifier(verifier, "verifier=")
        if given:
            problems = (replace(problem, **given) for problem in problems)
    else:
        problems = _from_files(path_or_spec, format, options=Options(verifier, benchmark), duplicates=duplicates)
    return itertools.islice(problems, limit)


def load_problems(path_or_spec: str | Path, **options) -> list[Problem]:
    """`load`, as a list."""
    return list(load(path_or_spec, **options))


def _from_scheme(scheme: str, spec: str, *, format: str | None) -> Iterator[Problem]:
    if format is not None:
        raise InputError(f"{spec}: format={format!r} has no meaning for {scheme}: problems")
    loader = SCHEMES[scheme]
    if isinstance(loader, str):
        module, function = loader.split(":")
        loader = getattr(importlib.import_module(module), function)
    yield from loader(spec)


def _from_files(path: str | Path, format: str | None, *, options: Options, duplicates: str) -> Iterator[Problem]:
    seen: dict[str, str] = {}  # id -> where it first stood
    verifiers: set[str] = set()
    adapter = None
    adapter_path = None
    unanswered = 0
    if options.verifier is not None:
        _check_verifier(options.verifier, "verifier=")
    for row in _rows(path):
        if adapter is None or adapter_path != row.path:
            adapter = adapter_for(row, format)
            adapter_path = row.path
        problem = with_options(adapter.convert(row, options))
        if problem.verifier not in verifiers:
            _check_verifier(problem.verifier, f"{row.place}: key 'verifier'")
            verifiers.add(problem.verifier)
        if problem.id in seen:
            if duplicates == "skip":
                continue
            raise InputError(
                f"{row.place}: key 'id': duplicate id {problem.id[:80]!r}, first at {seen[problem.id]};"
                " ids must be unique (duplicates='skip', or --skip-duplicates, keeps the first)"
            )
        _check_reference(problem, row.place)
        unanswered += isinstance(problem.answer, str) and problem.answer.strip().lower() in NO_REFERENCE
        seen[problem.id] = f"{row.unit} {row.number}" if row.path == str(path) else row.place
        yield problem
    if unanswered:
        LOG.warning("%s: %d answers are %s, which nobody can meet", path, unanswered, " or ".join(NO_REFERENCE))
    if not seen:
        raise InputError(f"{path}: holds no problem")


def _rows(path: str | Path) -> Iterator[Row]:
    """The rows of a path, or of all files of a split of the hub."""
    if hub.is_data_name(str(path)) and not Path(path).exists():
        return itertools.chain.from_iterable(map(read_rows, hub.data_files(str(path))))
    return read_rows(path)


def _check_reference(problem: Problem, place: str) -> None:
    from explore_rl.verifiers.references import check_reference

    try:
        check_reference(problem)
    except InputError as error:
        raise InputError(f"{place}: key 'answer': {error}") from None


def _check_verifier(name: str, place: str) -> None:
    from explore_rl.verifiers.base import check_name

    try:
        check_name(name)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
