"""explore-rl problems: what a problem file holds, as the model will see it, and what can be made of it."""

from __future__ import annotations

import argparse
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from analysis.errors import InputError
from explore_rl.problems import selection
from explore_rl.problems.adapters import ADAPTERS
from explore_rl.problems.loading import load
from explore_rl.problems.overlap import find_overlap
from explore_rl.problems.template_checks import check
from explore_rl.problems.templates import Template, load_template, template_hash
from explore_rl.problems.traces import attach_traces, load_traces, verify_traces
from explore_rl.problems.writing import write_jsonl, write_verl
from explore_rl.types import Problem

EXAMPLES = """examples:
  explore-rl problems math500.jsonl
  explore-rl problems train.parquet --model models/Qwen2.5-Math-7B --template qwen-boxed --show 2
  explore-rl problems train.parquet --against math500.jsonl aime24.jsonl --drop-overlap --write-jsonl clean.jsonl
  explore-rl problems train.jsonl --success base-counts.csv --success-range 0 0.2 --verify-traces \\
      --write-verl hard.parquet
  explore-rl problems "lab:countdown?level=3&split=train" --model lab:base --template none
"""
FORMS = "\n".join(f"  {name:14} {adapter.about}" for name, adapter in ADAPTERS.items())
EPILOG = f"{EXAMPLES}\nforms of problems, found from the columns or named by --format:\n{FORMS}"

Stream = Callable[[], Iterable[Problem]]  # problems from the beginning, as often as called


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument(
        "file", help="a file, folder or glob, or a spec: lab:countdown?level=3&split=train, gym:chain_sum?size=100"
    )
    reading = parser.add_argument_group("reading")
    reading.add_argument("--format", help="the form of the file, by name; left out, it is found from the columns")
    reading.add_argument(
        "--verifier", help="verifier of all problems: a name, or a function of yours as module:function"
    )
    reading.add_argument("--benchmark", help="the name of the set, whatever the file says")
    reading.add_argument("--limit", type=int, help="only the first so many")
    reading.add_argument(
        "--skip-duplicates",
        action="store_true",
        help="of problems with one id keep the first, instead of refusing the file",
    )
    reading.add_argument(
        "--traces", metavar="FILE", help="further traces: rows of problem_id, text, source, logprob, region"
    )
    seen = parser.add_argument_group("as the model sees it")
    seen.add_argument(
        "--model", help="checkpoint folder or name: prompts are checked against its tokenizer and configuration"
    )
    seen.add_argument("--tokenizer", help="folder of a tokenizer alone")
    seen.add_argument(
        "--template", default="none", help="chat, qwen-boxed, r1, plain, none (default), line, or a file of your own"
    )
    seen.add_argument("--end", help="the token that ends a completion, where the template's own is not meant")
    seen.add_argument("--show", type=int, default=3, help="how many prompts to print (default: 3)")
    choosing = parser.add_argument_group("choosing")
    choosing.add_argument(
        "--min-prompt-tokens", type=int, default=0, help="leave out shorter prompts (with --model or --tokenizer)"
    )
    choosing.add_argument(
        "--max-prompt-tokens", type=int, help="leave out longer prompts (with --model or --tokenizer)"
    )
    choosing.add_argument(
        "--success", nargs="+", metavar="FILE", help="samples or counts of a model, to keep problems by success rate"
    )
    choosing.add_argument(
        "--success-range", nargs=2, type=float, default=(0.0, 1.0), metavar=("LOW", "HIGH"), help="rates to keep"
    )
    choosing.add_argument(
        "--unmeasured", choices=("error", "keep", "drop"), default="error", help="problems without a rate"
    )
    choosing.add_argument(
        "--part", metavar="LOW:HIGH", help="a part of a split, by shares: 0:0.9 and 0.9:1 have no problem in common"
    )
    choosing.add_argument("--subset", type=int, metavar="N", help="N problems at random")
    choosing.add_argument("--shuffle", action="store_true", help="in an order that the seed fixes")
    choosing.add_argument("--seed", type=int, default=0, help="of --part, --subset and --shuffle (default: 0)")
    choosing.add_argument(
        "--verify-traces", action="store_true", help="verify every trace; wrong ones are reported and left out"
    )
    choosing.add_argument("--keep-wrong-traces", action="store_true", help="report wrong traces, but keep them")
    overlap = parser.add_argument_group("overlap")
    overlap.add_argument("--against", nargs="+", metavar="FILE", help="audit problems that these should not be among")
    overlap.add_argument("--ngram", type=int, default=8, help="words of an n-gram (default: 8)")
    overlap.add_argument("--threshold", type=float, default=0.7, help="common n-grams of near-duplicates (default: .7)")
    overlap.add_argument("--drop-overlap", action="store_true", help="leave the overlapping problems out")
    writing = parser.add_argument_group("writing")
    writing.add_argument("--write-jsonl", metavar="OUT", help="write the problems as our own JSON lines")
    writing.add_argument(
        "--write-verl", metavar="OUT", help="write the problems as verl's Parquet, the first trace as LUFFY's target"
    )
    writing.add_argument(
        "--data-source", help="data_source in verl's Parquet (default: the benchmark, else the verifier)"
    )
    writing.add_argument("--split", default="train", help="split in verl's extra_info (default: train)")


def run(args: argparse.Namespace) -> int:
    template = load_template(args.template, args.end)
    tokenizer, model_config = _tokenizer(args)
    notes: dict[str, selection.Dropped] = {}
    stream = _chosen(args, template, tokenizer=tokenizer, notes=notes)
    if args.verify_traces:
        stream = _verified(stream, args.keep_wrong_traces)
    if args.against:
        stream = _against(stream, args)
    summary = Summary()
    first: list[Problem] = []
    for problem in tqdm(stream(), desc="reading", unit=" problems", delay=2, disable=None, leave=False):
        summary.add(problem, template, tokenizer=tokenizer)
        if len(first) < args.show:
            first.append(problem)
    print("\n".join(summary.lines(args.file, tokenizer is not None)))
    for dropped in notes.values():
        print("\n".join(dropped.lines()), end="\n" if dropped.reasons else "")
    if not summary.count:
        raise InputError(f"{args.file}: no problem is left after the filters")
    if tokenizer is not None:
        _report_fit(args, tokenizer, template=template, model_config=model_config, summary=summary)
    for problem in first:
        _show(problem, template, tokenizer=tokenizer)
    for path, write in ((args.write_jsonl, write_jsonl), (args.write_verl, _verl_writer(args))):
        if path:
            print(f"wrote {write(path, stream())} problems to {path}")
    return 0


def _verl_writer(args: argparse.Namespace) -> Callable[[str, Iterable[Problem]], int]:
    return lambda path, problems: write_verl(path, problems, split=args.split, data_source=args.data_source)


# --- which problems ---------------------------------------------------------------------------------------------------


def _chosen(
    args: argparse.Namespace, template: Template, *, tokenizer: Any, notes: dict[str, selection.Dropped]
) -> Stream:
    # What has no meaning is refused before the file is read.
    if tokenizer is None and (args.max_prompt_tokens is not None or args.min_prompt_tokens):
        raise InputError("--max-prompt-tokens and --min-prompt-tokens count tokens: give --model or --tokenizer")
    counts = selection.read_counts(args.success) if args.success else None
    if counts is None and tuple(args.success_range) != (0.0, 1.0):
        raise InputError("--success-range has no meaning without --success FILE")
    traces = load_traces(args.traces) if args.traces else None
    part = _part(args.part)

    def stream() -> Iterable[Problem]:
        duplicates = "skip" if args.skip_duplicates else "error"
        problems: Iterable[Problem] = load(
            args.file,
            format=args.format,
            limit=args.limit,
            verifier=args.verifier,
            benchmark=args.benchmark,
            duplicates=duplicates,
        )
        # Each narrows the stream of the one before; what depends on all that is left comes last.
        if traces is not None:
            problems = attach_traces(problems, traces, path=args.traces, some_problems=args.limit is not None)
        if part is not None:
            problems = (p for p in problems if part[0] <= selection.place(p, args.seed, purpose="split") < part[1])
        if counts is not None:
            notes["success"] = selection.Dropped()
            low, high = args.success_range
            problems = selection.filter_by_success(
                problems, counts, low=low, high=high, unmeasured=args.unmeasured, dropped=notes["success"]
            )
        if args.max_prompt_tokens is not None or args.min_prompt_tokens:
            notes["length"] = selection.Dropped()
            at_most = args.max_prompt_tokens if args.max_prompt_tokens is not None else 1 << 60
            problems = selection.filter_by_length(
                problems,
                template,
                tokenizer=tokenizer,
                at_most=at_most,
                at_least=args.min_prompt_tokens,
                dropped=notes["length"],
            )
        if args.subset is not None:
            problems = selection.subset(problems, args.subset, seed=args.seed)
        return selection.shuffle(problems, args.seed) if args.shuffle else problems

    return stream


def _part(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(bound) for bound in text.split(":"))
    except ValueError:
        low = 1.0
        high = 0.0
    if not 0 <= low < high <= 1:
        raise InputError(f"--part {text}: expected two shares such as 0:0.9")
    return low, high


def _verified(stream: Stream, keep_wrong: bool) -> Stream:
    from explore_rl.verifiers import VerifierPool

    with VerifierPool() as pool:

        def verify(items: Iterable) -> Iterable:
            waiting = list(items)
            return tqdm(pool.verify(waiting), total=len(waiting), desc="traces", delay=2, disable=None)

        kept, report = verify_traces(stream(), verify, keep_wrong=keep_wrong)
    print("\n".join(report.lines(show=20)))
    return lambda: kept


def _against(stream: Stream, args: argparse.Namespace) -> Stream:
    audit = [problem for path in args.against for problem in load(path)]
    train = tqdm(stream(), desc="overlap", unit=" problems", delay=2, disable=None, leave=False)
    found = find_overlap(train, audit, n=args.ngram, threshold=args.threshold)
    print("\n".join(found.lines(show=10)))
    leave_out = found.train_ids() if args.drop_overlap else set()
    return lambda: (problem for problem in stream() if problem.id not in leave_out)


# --- what is shown ----------------------------------------------------------------------------------------------------


@dataclass
class Summary:
    """Counts over a stream of problems.

    count: problems.
    benchmarks, verifiers: how many of each.
    prompts, answers: what they are (text, messages, a number, ...), and how many of each.
    sources: of traces, and how many of each.
    with_traces: problems with a trace.
    with_logprob: traces whose log-probability is known.
    lengths: tokens of each prompt; characters where no tokenizer is given.
    """

    count: int = 0
    benchmarks: Counter = field(default_factory=Counter)
    verifiers: Counter = field(default_factory=Counter)
    prompts: Counter = field(default_factory=Counter)
    answers: Counter = field(default_factory=Counter)
    sources: Counter = field(default_factory=Counter)
    with_traces: int = 0
    with_logprob: int = 0
    lengths: array = field(default_factory=lambda: array("q"))

    def add(self, problem: Problem, template: Template, *, tokenizer: Any) -> None:
        self.count += 1
        self.benchmarks[problem.benchmark or "(none)"] += 1
        self.verifiers[problem.verifier] += 1
        self.prompts["text" if isinstance(problem.prompt, str) else "messages"] += 1
        self.answers[
            {str: "text", list: "several", type(None): "none"}.get(type(problem.answer), type(problem.answer).__name__)
        ] += 1
        self.with_traces += bool(problem.traces)
        self.sources.update(trace.source for trace in problem.traces)
        self.with_logprob += sum(trace.logprob is not None for trace in problem.traces)
        self.lengths.append(len(template.encode(problem, tokenizer)) if tokenizer is not None else _characters(problem))

    def lines(self, name: str, tokens: bool) -> Iterator[str]:
        yield f"{name}: {self.count} problems"
        if not self.count:
            return
        for label in ("benchmarks", "verifiers", "prompts", "answers"):
            yield f"  {label:10} {_counts(getattr(self, label))}"
        least, median, most = np.percentile(np.array(self.lengths), [0, 50, 100])
        unit = "tokens" if tokens else "characters"
        yield f"  {'length':10} {least:.0f} to {most:.0f} {unit} a prompt, median {median:.0f}"
        if self.with_traces:
            sources = f"{_counts(self.sources)}; {self.with_logprob} with log-probability"
            yield f"  {'traces':10} on {self.with_traces} problems: {sources}"
        else:
            yield f"  {'traces':10} none"


def _counts(counter: Counter, show: int = 8) -> str:
    rest = len(counter) - show
    return ", ".join(f"{name} {count}" for name, count in counter.most_common(show)) + (
        f" and {rest} more" if rest > 0 else ""
    )


def _characters(problem: Problem) -> int:
    return (
        len(problem.prompt)
        if isinstance(problem.prompt, str)
        else sum(len(message["content"]) for message in problem.prompt)
    )


def _tokenizer(args: argparse.Namespace) -> tuple[Any, Any]:
    if args.model is None and args.tokenizer is None:
        if args.template.partition("?")[0] == "chat":
            raise InputError("--template chat is the tokenizer's own: give --model or --tokenizer")
        return None, None
    from transformers import AutoTokenizer

    from explore_rl.models import folder_of, load_model_config, resolve_model

    folder = None if args.model is None else resolve_model(args.model)
    config = None if args.model is None else load_model_config(args.model)
    source = folder if args.tokenizer is None else folder_of(args.tokenizer)
    try:
        return AutoTokenizer.from_pretrained(source, local_files_only=True), config
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{args.tokenizer or folder}: no tokenizer there: {' '.join(str(error).split())[:200]}"
        ) from None


def _report_fit(
    args: argparse.Namespace, tokenizer: Any, *, template: Template, model_config: Any, summary: Summary
) -> None:
    end = template.end_token(tokenizer)
    digest = template_hash(template, tokenizer)
    print(f"  {'template':10} {template.name}, hash {digest}; completions end with {end!r}")
    for line in check(tokenizer, template, model_config=model_config, max_prompt_tokens=max(summary.lengths)):
        print(f"  note: {line}")


def _show(problem: Problem, template: Template, *, tokenizer: Any) -> None:
    answer = str(problem.answer)
    print(
        f"\n--- {problem.id}  verifier {problem.verifier}, answer "
        f"{answer if len(answer) <= 100 else answer[:97] + '...'}"
    )
    if tokenizer is not None:
        ids = template.encode(problem, tokenizer)
        print(f"{tokenizer.decode(ids)}<<< completion begins here, after {len(ids)} tokens")
    else:
        print(f"{template.render(problem)}<<< completion begins here")
