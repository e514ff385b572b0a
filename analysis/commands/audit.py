"""audit: one base against one tuned model, from files of samples or counts to audit.json, report, tables and
figures."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.dependence import CHOICES
from analysis.errors import InputError
from analysis.json_files import by_lines
from analysis.lucky import read_rate
from analysis.pair import DEFAULTS, AuditSettings
from analysis.records import ModelSamples
from analysis.tables import write_text
from analysis.verdict import Rules

EPILOG = """example:
  %(prog)s --base base/*.parquet --tuned grpo/samples.parquet --out audits/grpo
  %(prog)s --base counts.csv::base --tuned counts.csv::grpo --k 1 16 128 --out audits/grpo

FILE is CSV, JSON lines or Parquet, of samples (a row a completion) or counts (a row a problem), or a folder of them;
FILE::NAME takes one model out of a file that holds several. docs/analysis.md lists the columns and every key of
DIR/audit.json."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--base", nargs="+", required=True, metavar="FILE", help="samples or counts of the base model")
    parser.add_argument(
        "--tuned",
        nargs="+",
        required=True,
        metavar="FILE",
        help="samples or counts of the tuned model, on the same problems",
    )
    for side in ("base", "tuned"):
        parser.add_argument(
            f"--{side}-name", metavar="NAME", help=f"what the {side} model is called (default: as its records or files)"
        )
    parser.add_argument(
        "--patterns",
        metavar="FILE",
        help='JSON object of names and regular expressions of reasoning patterns, or {"column": "NAME"} for labels in '
        "the samples: how often each is used, and how often it succeeds",
    )
    add_settings(parser)
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="where audit.json, report.html, tables and figures go"
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The options that audit and compare share. Their defaults stand in AuditSettings and Rules."""

    def number(option: str, default: float, *, help: str) -> None:
        parser.add_argument(option, type=type(default), default=default, help=f"{help} (default: {default:g})")

    # files beside the two sides, and how all are read
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="what says which draws are correct, where files hold several: a column, a reward, a score, a metric",
    )
    parser.add_argument(
        "--correct-above", type=float, metavar="X", help="numbers above X are correct, where files hold graded scores"
    )
    parser.add_argument(
        "--redraw",
        nargs="+",
        metavar="FILE",
        help="a second, independent draw of the base: what no change at all looks like",
    )
    parser.add_argument(
        "--scores", nargs="+", metavar="FILE", help="log-probabilities of texts under the models (explore-rl score)"
    )
    # what is asked
    parser.add_argument(
        "--k",
        nargs="+",
        type=int,
        help="values of k (default: powers of two up to n, and n); the support is read at the largest",
    )
    parser.add_argument(
        "--eps",
        type=float,
        help="threshold of certified support (default: ln(20 M)/n for M problems, the least that can be certified)",
    )
    number("--confidence", DEFAULTS.confidence, help="of intervals and certificates")
    number("--level", DEFAULTS.rules.level, help="one-sided error of gain and of loss in the verdict")
    number("--margin", DEFAULTS.rules.margin, help="share of problems below which a change does not matter")
    number(
        "--fold",
        DEFAULTS.rules.fold,
        help="speed-up (ratio of odds) beyond which a change is said to be more than a speed-up",
    )
    # what draws, texts and benchmarks are taken for
    parser.add_argument(
        "--false-positive-rate",
        nargs="+",
        metavar="RATE",
        help="share of wrong draws that the verifier accepts: a number, or a JSON file with judged_correct, "
        "false_accepts, judged_wrong, false_rejects of a graded sample; one for both sides, or base and tuned "
        "(default: 0)",
    )
    parser.add_argument(
        "--clusters",
        choices=CHOICES,
        default=DEFAULTS.clusters,
        help="draws that belong together, so that the verdict relabels them as wholes: those of one value of column "
        "cluster, one seed or one file; auto tests these in turn and relabels wholes where they differ; none takes all "
        "draws for independent (default: auto)",
    )
    number(
        "--alpha",
        DEFAULTS.alpha,
        help="with --scores: a correct trace of the base is kept where the tuned model gives it so much of its "
        "probability",
    )
    parser.add_argument(
        "--trained-on",
        nargs="+",
        metavar="BENCHMARK",
        help="benchmarks that the model was tuned on, so that the others are read as other tasks",
    )
    # how it is worked out and written
    number("--replicates", DEFAULTS.replicates, help="bootstrap replicates")
    number("--seed", DEFAULTS.seed, help="of the bootstrap and of maj@k")
    parser.add_argument(
        "--common", action="store_true", help="drop problems that not all sides have, instead of refusing them"
    )
    parser.add_argument("--no-report", action="store_true", help="write the JSON document only")


def settings_of(args: argparse.Namespace) -> AuditSettings:
    """AuditSettings from the shared options."""
    given = [read_rate(rate) for rate in args.false_positive_rate or ["0"]]
    if len(given) > 2:
        raise InputError(f"--false-positive-rate: {len(given)} rates; give one for both sides, or base and tuned")
    return AuditSettings(
        k=tuple(args.k) if args.k else None,
        eps=args.eps,
        confidence=args.confidence,
        rules=Rules(level=args.level, margin=args.margin, fold=args.fold),
        false_positives=(given[0], given[-1]),
        clusters=args.clusters,
        alpha=args.alpha,
        trained_on=tuple(args.trained_on or ()),
        replicates=args.replicates,
        seed=args.seed,
    )


def reading_of(args: argparse.Namespace) -> dict[str, Any]:
    """What `load` takes of the shared options."""
    return {"metric": args.metric, "correct_above": args.correct_above}


def align_redraw(
    base: ModelSamples, files: list[str], *, common: bool, reading: dict[str, Any]
) -> tuple[ModelSamples, ModelSamples, list[str]]:
    """Base and its redraw with the same problems, and the warnings.

    Problems of the redraw alone do not matter; one that it lacks raises InputError, unless `common`. So does a redraw
    that is the base's own file.

    base: its samples.
    files: the redraw's.
    common: whether problems that the redraw lacks are dropped.
    reading: how files are read, as `readers.load` takes it.
    """
    from analysis.readers import align, load

    redraw = load(files, name="redraw of the base", **reading)
    if {(f["sha256"], f.get("select")) for f in base.files} & {(f["sha256"], f.get("select")) for f in redraw.files}:
        raise InputError(f"{files[0]}: --redraw holds the draws of --base; it should be a second, independent draw")
    before = len(base)
    base, redraw, warnings = align(base, redraw, common=True)
    if len(base) < before and not common:
        raise InputError(
            f"{files[0]}: lacks {before - len(base)} of the {before} problems of the other sides; --common drops them"
        )
    return base, redraw, warnings


def run(args: argparse.Namespace) -> int:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # many small products: threads of BLAS only get in each other's way
    from tqdm import tqdm

    from analysis.audit import audit
    from analysis.patterns import count_patterns, read_patterns, same_names
    from analysis.readers import align, load, load_scores

    # both sides, line by line the same problems
    settings = settings_of(args)
    wanted = read_patterns(args.patterns) if args.patterns else None
    reading = reading_of(args)
    sides = [load(args.base, name=args.base_name, **reading), load(args.tuned, name=args.tuned_name, **reading)]
    base, tuned, warnings = align(*told_apart(*sides), common=args.common)
    redraw = None
    if args.redraw:
        base, redraw, more = align_redraw(base, args.redraw, common=args.common, reading=reading)
        base, tuned, _ = align(base, tuned, common=True)
        warnings += [line for line in more if line not in warnings]
    scores = load_scores(args.scores) if args.scores else None
    patterns = None if wanted is None else same_names(count_patterns(base, wanted), count_patterns(tuned, wanted))

    # the document, with progress a benchmark
    with tqdm(desc="auditing", unit=" benchmark", disable=None) as bar:

        def progress(benchmark: str) -> None:
            bar.set_postfix_str(benchmark)
            bar.update()

        document = audit(
            base,
            tuned,
            redraw=redraw,
            scores=scores,
            patterns=patterns,
            settings=settings,
            warnings=warnings,
            progress=progress,
        )

    # files, warnings, and the verdict as the last lines
    out = Path(args.out)
    write_json(out / "audit.json", document)
    for line in document["warnings"]:
        print(f"warning: {line}")
    if not args.no_report:
        from analysis.report import write

        write(document, base, tuned=tuned, out_dir=out, with_json=False)
    print(f"written: {out / 'audit.json'}" + ("" if args.no_report else f", {out / 'report.html'}"))
    for name, section in document["benchmarks"].items():
        if name != "all" or len(document["benchmarks"]) > 2:
            print(f"{name}: {section['verdict']}. {section['evidence']}")
    return 0


def told_apart(base: ModelSamples, tuned: ModelSamples) -> tuple[ModelSamples, ModelSamples]:
    """Both sides under names that differ: where they do not, each has the nearest folder or name put behind in which
    their first files differ."""
    if base.name != tuned.name:
        return base, tuned
    paths = [Path(str(side.files[0]["path"])).resolve() for side in (base, tuned)]
    nearest, *further = zip(*(path.parent.parts[::-1] for path in paths), strict=False)
    ends = next(ends for ends in (nearest, [p.stem for p in paths], *further, ("base", "tuned")) if ends[0] != ends[1])
    first, second = (replace(side, name=f"{side.name} ({end})") for side, end in zip((base, tuned), ends, strict=True))
    return first, second


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Written aside, then renamed. Raises InputError where the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, by_lines(document))
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be written ({error.strerror})") from None
