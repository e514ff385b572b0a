"""explore-rl verify: grades completions again, for example with a stricter verifier, or after a fault in one was
mended."""

from __future__ import annotations

import argparse
import itertools
import json
import logging
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from tqdm import tqdm

from analysis.errors import InputError
from analysis.records import write_samples
from explore_rl.config.schema import VerifierConfig
from explore_rl.problems import load_problems
from explore_rl.problems.completions import Completions
from explore_rl.problems.rows import Row, read_rows
from explore_rl.types import Problem, Status, Verdict
from explore_rl.verifiers import audit_files
from explore_rl.verifiers.base import READS_STEPS, VERIFIERS
from explore_rl.verifiers.judge import cot_correct
from explore_rl.verifiers.pool import Item, VerifierPool

EXAMPLES = """examples:
  explore-rl verify samples.parquet --problems math500.jsonl --out regraded.parquet
  explore-rl verify samples.jsonl --problems math500.jsonl --out strict.jsonl \\
      --set math.extract=boxed --set math.relative_tolerance=1e-4
  explore-rl verify samples.parquet --problems train.parquet --verifier my_rewards.py:score --out mine.parquet
  explore-rl verify samples.parquet --problems qa.jsonl --verifier combine --out both.parquet \\
      --set 'combine.parts=[{"verifier": "math", "weight": 0.9}, {"verifier": "format", "weight": 0.1}]'
  explore-rl verify samples.parquet --problems math500.jsonl --out judged.parquet --verifier judge \\
      --reasoning --workers 32 \\
      --set judge.url=http://localhost:8000/v1 --set judge.model=Qwen/Qwen3-8B \\
      --set judge.subject=reasoning --set judge.votes=3
  explore-rl verify graded.parquet --problems math500.jsonl --audit 200 --out sheet.jsonl
  explore-rl verify --judged sheet.jsonl --out rates.json

FILE holds one completion a row (JSON lines, Parquet, ...): problem_id and completion; finish_reason "length" marks
one that was cut off.
lm-evaluation-harness samples (with several responses a document too) and verl's generations are read as well, with the
data set that they are of as --problems.
All its columns are kept; correct, verdict, answer, mode, score and reason are written anew, or with --reasoning
cot_correct alone. A person fills in judged_correct in the sheet that --audit writes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("file", nargs="?", help="completions to grade: a file, folder or glob")
    parser.add_argument(
        "--problems", help="the problems they answer: a file or a spec, as `explore-rl problems` reads them"
    )
    parser.add_argument(
        "--format", help="the form of the problem file, by name; left out, it is found from the columns"
    )
    parser.add_argument(
        "--out", required=True, type=Path, help="file to write: .parquet or .jsonl, complete or not at all"
    )
    names = f"{', '.join(VERIFIERS)}, or a function as module:function"
    parser.add_argument("--verifier", help=f"grade with this verifier whatever the problems name: {names}")
    setting = "an option of a verifier; the value is JSON or text; may be repeated"
    parser.add_argument("--set", action="append", default=[], metavar="NAME.OPTION=VALUE", help=setting)
    parser.add_argument("--workers", type=int, help="processes (default: as many as cores)")
    # The defaults of a run, so that a file is graded as training would grade it.
    limits = VerifierConfig()
    parser.add_argument(
        "--time-limit",
        type=float,
        default=limits.time_limit_s,
        metavar="S",
        help="seconds for one completion (default %(default)g)",
    )
    parser.add_argument(
        "--memory-limit",
        type=int,
        default=limits.memory_limit_mb,
        metavar="MB",
        help="memory for one completion in MiB (default %(default)d)",
    )
    parser.add_argument("--reasoning", action="store_true", help="write cot_correct, for CoT-Pass@K, and nothing else")
    # Two steps with a person in between: --audit writes the sheet, --judged reads it back.
    audit = "draw N verdicts of a graded FILE for a person to judge, and write them as a sheet (.jsonl)"
    parser.add_argument("--audit", type=int, metavar="N", help=audit)
    parser.add_argument("--seed", type=int, default=0, help="for --audit: which verdicts are drawn (default 0)")
    judged = "take a judged sheet back: how often the verifier accepts what is wrong and rejects what is right (.json)"
    parser.add_argument("--judged", metavar="SHEET", help=judged)
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it is there")


def run(args: argparse.Namespace) -> int:
    endings = (".json",) if args.judged else (".jsonl",) if args.audit is not None else (".parquet", ".jsonl")
    if args.out.suffix not in endings:
        raise InputError(f"--out {args.out}: expected a name that ends in {' or '.join(endings)}")
    if args.out.exists() and not args.overwrite:
        raise InputError(f"--out {args.out}: exists already; give another name, or --overwrite")
    if args.judged:
        if args.file or args.audit is not None:
            raise InputError("--judged: reads a judged sheet alone; leave out FILE and --audit")
        audit_files.report(args.judged, args.verifier, out=args.out)
        return 0
    if not args.file or not args.problems:
        raise InputError("expected a FILE of completions and --problems, the file of the problems that they answer")
    if args.audit is not None:
        problems = {problem.id: problem for problem in load_problems(args.problems, format=args.format)}
        audit_files.write_sheet(args.file, problems, count=args.audit, seed=args.seed, out=args.out)
        return 0
    if args.workers is not None and args.workers < 1:
        raise InputError(f"--workers {args.workers}: expected at least 1")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    options = _options(args.set)
    own = options.get(args.verifier or "", {})
    if args.reasoning and own.get("subject") != "reasoning" and (args.verifier not in READS_STEPS or "reward" in own):
        raise InputError(
            "--reasoning: expected a judge of the reasoning, as in --verifier judge --set judge.subject=reasoning, or a"
            f" verifier that reads every step: --verifier {' | '.join(READS_STEPS)}"
        )
    if args.verifier:
        options.setdefault(args.verifier, {})
    problems = {problem.id: problem for problem in load_problems(args.problems, format=args.format)}
    waiting: deque[Row] = deque()  # what is under way, in order
    changes: Counter[tuple[str, str]] = Counter()
    graded: list[dict[str, Any]] = []
    thought: Counter[str] = Counter()  # verdicts on the reasoning
    with VerifierPool(options, args.workers, time_limit_s=args.time_limit, memory_limit_mb=args.memory_limit) as pool:
        verdicts = pool.verify(_items(args, problems, waiting=waiting))
        with tqdm(total=_count(args.file), unit="completion", desc="verify", disable=None) as bar:
            for verdict in verdicts:
                row = waiting.popleft()
                graded.append(
                    row.values | ({"cot_correct": cot_correct(verdict)} if args.reasoning else _columns(verdict))
                )
                if args.reasoning:
                    thought[verdict.status.value] += 1
                elif (before := _before(row.values)) is not None:
                    changes[before, verdict.status.value] += 1
                bar.update()
    if not graded:
        raise InputError(f"{args.file}: holds no completion")
    write_samples(args.out, graded)
    if args.reasoning:
        print(
            f"{args.out}: reasoning of {len(graded)} completions: "
            + ", ".join(f"{s.value} {thought[s.value]}" for s in Status)
        )
        return 0
    _report(args.out, graded, changes=changes)
    return 0


def _items(args: argparse.Namespace, problems: dict[str, Problem], *, waiting: deque[Row]) -> Iterator[Item]:
    read = Completions(list(problems.values()))
    for row in itertools.chain.from_iterable(map(read.rows, read_rows(args.file))):
        if row.values.get("problem_id") is None:
            raise row.error("problem_id", "missing; expected the id of one of the problems")
        problem = problems.get(str(row.values["problem_id"]))
        if problem is None:
            raise row.error(
                "problem_id", f"{row.values['problem_id']!r} is none of the {len(problems)} problems of {args.problems}"
            )
        completion = row.need("completion", str, what="the text of the completion")
        row.values["problem_id"] = str(row.values["problem_id"])
        waiting.append(row)
        yield Item(problem, completion, row.values.get("finish_reason") == "length", args.verifier)


def _columns(verdict: Verdict) -> dict[str, Any]:
    evidence = verdict.score is not None
    return {
        "correct": verdict.status is Status.CORRECT if evidence else None,
        "verdict": verdict.status.value,
        "answer": verdict.answer,
        "mode": verdict.mode,
        "score": verdict.score,
        "reason": verdict.reason,
    }


def _before(values: dict[str, Any]) -> str | None:
    if isinstance(values.get("verdict"), str):
        return values["verdict"]
    correct = values.get("correct")
    return None if correct is None else "correct" if correct else "wrong"


def _options(settings: list[str]) -> dict[str, dict[str, Any]]:
    """["math.extract=boxed"] -> {"math": {"extract": "boxed"}}. A plug-in's name has dots of its own, so the last one
    counts."""
    options: dict[str, dict[str, Any]] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        name, dot, option = path.rpartition(".")
        if not (equals and dot and name and option):
            raise InputError(f"--set {setting}: expected NAME.OPTION=VALUE, such as math.extract=boxed")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        options.setdefault(name, {})[option] = value
    return options


def _count(file: str) -> int | None:
    """For the progress bar; None where it would have to be read to know."""
    path = Path(file)
    return pq.read_metadata(path).num_rows if path.is_file() and path.suffix == ".parquet" else None


def _report(out: Path, graded: list[dict[str, Any]], *, changes: Counter[tuple[str, str]]) -> None:
    counts = Counter(row["verdict"] for row in graded)
    shares = ", ".join(f"{status.value} {counts[status]} ({counts[status] / len(graded):.1%})" for status in Status)
    print(f"{out}: {len(graded)} completions: {shares}")
    moved = {pair: count for pair, count in changes.items() if pair[0] != pair[1]}
    if changes:
        print(f"changed from the file's own verdicts: {sum(moved.values())} of {sum(changes.values())}")
        for (before, now), count in sorted(moved.items(), key=lambda entry: -entry[1]):
            print(f"  {before} -> {now}: {count}")
    unsure = counts[Status.TIMEOUT] + counts[Status.ERROR]
    if unsure:
        reasons = Counter(row["reason"] for row in graded if row["verdict"] in (Status.TIMEOUT, Status.ERROR))
        most = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        print(f"{unsure} completions are no evidence; most often: {most}")
