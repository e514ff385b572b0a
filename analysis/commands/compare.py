"""compare: many methods and seeds against one base, one board and one report."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from analysis.commands.audit import add_settings, align_redraw, reading_of, settings_of
from analysis.errors import InputError
from analysis.records import ModelSamples

EPILOG = """example:
  %(prog)s --base base.parquet --method grpo grpo/seed0.parquet grpo/seed1.parquet \\
      --method mixture mix/seed0.parquet --out board

Each FILE after a method's name is one run (a seed). FILE::NAME takes one model out of a file that holds several. With
two or more runs a method, intervals and words hold for further seeds too; with one, for these checkpoints alone."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--base", nargs="+", required=True, metavar="FILE", help="samples or counts of the base model")
    parser.add_argument(
        "--method",
        nargs="+",
        action="append",
        required=True,
        metavar=("NAME", "FILE"),
        help="a method and its runs, one FILE a run; repeatable",
    )
    add_settings(parser)
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="where compare.json, the report and the audits of all runs go"
    )


def run(args: argparse.Namespace) -> int:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from tqdm import tqdm

    from analysis.compare import POOLED, compare
    from analysis.comparison_files import write_documents
    from analysis.readers import load, load_scores

    reading = reading_of(args)
    methods: dict[str, list[ModelSamples]] = {}
    for name, *files in args.method:
        if not files:
            raise InputError(f"--method {name}: no FILE after the name")
        if name in methods:
            raise InputError(f"--method {name}: given twice; put all its runs behind one")
        if twice := [file for file in files if files.count(file) > 1]:
            raise InputError(f"--method {name}: {twice[0]} given twice; each FILE is one run, drawn for itself")
        methods[name] = [load([file], name=f"{name}/{i}", **reading) for i, file in enumerate(files)]
    base, redraw, methods, warnings = align_all(
        load(args.base, **reading), args.redraw, methods=methods, common=args.common, reading=reading
    )
    scores = load_scores(args.scores) if args.scores else None

    # the document, with progress a run
    with tqdm(total=sum(map(len, methods.values())), desc="auditing", unit=" run", disable=None) as bar:

        def progress(line: str) -> None:
            bar.set_postfix_str(line)
            bar.update()

        document = compare(
            base,
            methods,
            settings=settings_of(args),
            warnings=warnings,
            progress=progress,
            redraw=redraw,
            scores=scores,
        )

    # files, warnings, and the words of the methods as the last lines
    out = Path(args.out)
    write_documents(document, out)
    for line in document["warnings"]:
        print(f"warning: {line}")
    if not args.no_report:
        from analysis.report import write_comparison

        write_comparison(document, out, with_json=False)
    print(f"written: {out / 'compare.json'}")
    for line in said(document):
        print(line)
    print("verdicts, from all runs of a method:")
    for name, method in document["methods"].items():
        found = method["verdict"][POOLED]
        print(f"  {name}: {found['verdict']} {found['within']}")
    return 0


def said(document: dict[str, Any]) -> list[str]:
    """What the terminal says of each benchmark: the word of every method with its reasons, and the spread between
    runs."""
    from analysis.report.methods import spread, spread_in_words
    from analysis.report.words import interval

    names = document["benchmarks"] if len(document["benchmarks"]) > 2 else document["benchmarks"][:1]
    lines = []
    for benchmark in names:
        for name, method in document["methods"].items():
            rows = method["per_run"][benchmark]
            found = method["verdict"][benchmark]
            k, against = next(iter(method["against_base"][benchmark].items()))
            counts = "; ".join(f"{r['verdict']} (S {r['shrunk']}, E {r['expanded']})" for r in rows)
            lines += [
                f"{name} on {benchmark}: {found['verdict']}",
                f"  {found['evidence']}",
                f"  runs alone, uncorrected: {counts}; avg@n {spread([r['avg_at_n'] for r in rows], '{:.3f}')}",
                f"  pass@{k} against the base: {interval(against, sign=True)}",
            ]
        known = ((k, step) for k, step in document["between_runs"][benchmark].items() if step)
        lines += [f"{benchmark}: {spread_in_words(step, int(k))}" for k, step in list(known)[:1]]
    return lines


def align_all(
    base: ModelSamples,
    redraw_files: list[str] | None,
    *,
    methods: dict[str, list[ModelSamples]],
    common: bool,
    reading: dict[str, Any],
) -> tuple[ModelSamples, ModelSamples | None, dict[str, list[ModelSamples]], list[str]]:
    """Base, its redraw (None without files) and every run with the same problems in the same order, and the warnings.

    Raises InputError where they differ, unless `common`.

    base: its samples.
    redraw_files: of a second draw of the base, if there is one.
    methods: name -> its runs.
    common: whether problems that some side lacks are dropped.
    reading: how files are read, as `readers.load` takes it.
    """
    from analysis.readers import align

    warnings: list[str] = []
    for runs in methods.values():  # first what is left of the base's problems, then every run against that
        for run_ in runs:
            base, _, more = align(base, run_, common=common)
            warnings += [line for line in more if line not in warnings]
    redraw = None
    if redraw_files:
        base, redraw, more = align_redraw(base, redraw_files, common=common, reading=reading)
        warnings += [line for line in more if line not in warnings]
    return (
        base,
        redraw,
        {name: [align(base, run_, common=True)[1] for run_ in runs] for name, runs in methods.items()},
        warnings,
    )
