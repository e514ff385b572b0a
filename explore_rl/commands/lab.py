"""explore-rl lab build-base | problems | exact | regions | tree"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from analysis.errors import InputError
from explore_rl.lab import names, problems
from explore_rl.lab.families import FAMILIES, REAL, answers_of, family_of
from explore_rl.models import EMBEDDED
from explore_rl.problems.loading import load_problems


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="lab_command", metavar="COMMAND", required=True)
    _add_problems(commands)
    _add_exact(commands)
    _add_regions(commands)
    _add_tree(commands)
    _add_build_base(commands)


def _add_problems(commands: Any) -> None:
    listing = commands.add_parser(
        "problems",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="show laboratory problems with all their correct answers",
        description="Show laboratory problems with every correct answer, by mode and region.\n\n"
        'example: explore-rl lab problems "lab:countdown?level=3&split=train&size=5"',
    )
    listing.add_argument(
        "problems", nargs="?", default="lab:countdown?level=3&split=audit&size=10", help="default: %(default)s"
    )
    listing.add_argument("--out", type=Path, help="write JSON lines there instead of showing them")


def _add_exact(commands: Any) -> None:
    audit = commands.add_parser(
        "exact",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="the exact probability of every correct answer, exact pass@k and support",
        description="Teacher-force every correct answer of every problem: exact probabilities of answers, modes and\n"
        "success, exact pass@k for every k, and, against a base, exact preservation, shrinkage and expansion at a\n"
        "ladder of thresholds.\n\n"
        "examples: explore-rl lab exact lab:base\n"
        "          explore-rl lab exact runs/grpo/final --base lab:base --out exact.json\n"
        "          explore-rl lab exact runs/worked/final --base lab:worked --family worked --size 100\n"
        "          explore-rl lab exact runs/real/final --base smollm2-135m --problems 'real:sum?digits=3&split=audit'",
    )
    audit.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help=f"Hugging Face checkpoint folder, a model by name ({', '.join(EMBEDDED)}, smollm2-135m), or an audit that "
        "--out wrote (.json)",
    )
    # Against what, and on which problems.
    audit.add_argument("--base", help="compare each MODEL with this one (checkpoint or audit)")
    audit.add_argument(
        "--problems",
        metavar="SPEC",
        help="lab: or real: problems by name, in place of --family, --level, --split, --size",
    )
    audit.add_argument("--family", default="countdown", choices=FAMILIES, help="default: %(default)s")
    audit.add_argument("--level", type=int, help="how many numbers (default: 3 in countdown, else 4)")
    audit.add_argument("--split", default="audit", help=f"{', '.join(problems.SPLITS)} (default: %(default)s)")
    audit.add_argument("--size", default="500", help="how many problems, or all (default: 500)")
    # How the models would be sampled, and what is reported of them.
    audit.add_argument("--temperature", type=float, default=1.0, help="default: 1")
    audit.add_argument(
        "--top-p", type=float, default=1.0, help="nucleus sampling, applied exactly at each step (default: 1, none)"
    )
    audit.add_argument("--eps", type=_numbers, help="thresholds, such as 1/64,3/1024 (default: 1/16 down to 1/65536)")
    audit.add_argument("--k", type=_numbers, help="for pass@k, such as 1,16,256 (default: powers of 4 up to 65536)")
    audit.add_argument(
        "--out", type=Path, help="one MODEL without --base: its audit as JSON; otherwise the comparisons as JSON"
    )
    audit.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_regions(commands: Any) -> None:
    regions = commands.add_parser(
        "regions",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="how many units of each set of problems a base answers often, rarely, never: to choose a level by",
        description="For each set of problems the exact counts of its audit units (modes) by the model's probability\n"
        "of them: often (from 3/1024), rarely (from 1e-4), never (below). A level serves if each has enough.\n\n"
        "examples: explore-rl lab regions smollm2-135m 'real:sum?terms=2&digits=4' 'real:pairs?most=99'\n"
        "          explore-rl lab regions smollm2-135m        every level of every family: takes long",
    )
    regions.add_argument("model", metavar="MODEL", help="checkpoint folder or model by name")
    regions.add_argument("problems", nargs="*", default=[], metavar="SPEC", help="real: problems; default: every level")
    regions.add_argument("--split", default="audit", help="where a SPEC names none (default: %(default)s)")
    regions.add_argument("--size", type=int, help="problems of each, where a SPEC names no size")
    regions.add_argument("--least", type=int, default=50, help="units that each region has to have (default: 50)")
    regions.add_argument("--temperature", type=float, default=1.0, help="default: 1")


def _add_tree(commands: Any) -> None:
    tree = commands.add_parser(
        "tree",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="the search tree of one problem, exactly, under several models side by side",
        description="Draw what models would write for one problem, branch by branch with exact probabilities: every\n"
        "correct answer, each model's most probable wrong ones, and what is left over. Writes OUT.svg and OUT.png.\n\n"
        'example: explore-rl lab tree "5 3 10=8" lab:base runs/grpo-seed0/final --out tree',
    )
    tree.add_argument("problem", metavar="PROBLEM", help="its prompt: '5 3 10=8', or an expression")
    tree.add_argument("models", nargs="+", metavar="MODEL", help="checkpoint folder or embedded model, the base first")
    tree.add_argument("--family", default="countdown", choices=FAMILIES, help="default: %(default)s")
    tree.add_argument("--wrong", type=int, default=8, help="wrong completions of each model (default: %(default)s)")
    tree.add_argument("--temperature", type=float, default=1.0, help="default: 1")
    tree.add_argument("--out", type=Path, default=Path("tree"), help="of both files, without ending (default: tree)")


def _add_build_base(commands: Any) -> None:
    build = commands.add_parser(
        "build-base",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="pre-train the base model again from its seed",
        description="Pre-train a base model of the laboratory on random expressions or chains, measure it exactly and\n"
        "write its model card. The same seed, steps and threads give the same weights on the same kind of machine. It\n"
        "takes 10 to 16 minutes on 2 cores, of lab:worked half an hour on one.\n\n"
        "examples: explore-rl lab build-base --out runs/base --seed 1\n"
        "          explore-rl lab build-base lab:worked --out runs/worked_base\n"
        "          explore-rl lab build-base lab:worked --out runs/quick --steps 20 --measure 5      some seconds",
    )
    build.add_argument("model", nargs="?", default="lab:base", choices=EMBEDDED, help="default: %(default)s")
    build.add_argument("--out", type=Path, required=True, help="folder of the checkpoint; an existing one is refused")
    build.add_argument("--overwrite", action="store_true", help="replace an existing folder")
    build.add_argument("--seed", type=int, help="of the weights and the data (default: 0)")
    build.add_argument("--steps", type=int, help="fewer are faster and worse")
    build.add_argument(
        "--left-out-weight",
        type=float,
        metavar="W",
        help="lab:base only: weight of documents that divide, which the base lacks, in the loss (default: none)",
    )
    build.add_argument("--threads", type=int, help="of torch; another number may change the last bits")
    build.add_argument(
        "--measure", type=int, metavar="N", help="only N problems of each set on the card (default: all)"
    )


def run(args: argparse.Namespace) -> int:
    known = {"problems": _problems, "exact": _exact, "regions": _regions, "tree": _tree, "build-base": _build_base}
    return known[args.lab_command](args)


def _numbers(text: str) -> list[float]:
    """Numbers and fractions with commas between them, such as 1/64,3/1024."""

    def number(part: str) -> float:
        over, _, under = part.partition("/")
        return float(over) / float(under or 1)

    try:
        return [number(part) for part in text.split(",")]
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 1/64,3/1024") from None


# --- problems --------------------------------------------------------------------------------------------------------


def _problems(args: argparse.Namespace) -> int:
    lines = []
    for problem in load_problems(args.problems):
        if problem.verifier not in FAMILIES | REAL:
            raise InputError(f"{args.problems}: answers of {problem.verifier} problems cannot be listed")
        family = family_of(problem)
        rows = [
            {"answer": answer, "mode": family.mode(answer), "region": family.region(answer)}
            for answer in answers_of(problem)
        ]
        if args.out:
            record = {"id": problem.id, "prompt": problem.prompt, "answer": problem.answer, "answers": rows}
            lines.append(json.dumps(record) + "\n")
            continue

        # For people: a line a mode, with all the ways to write it.
        modes = list(dict.fromkeys(row["mode"] for row in rows))
        asked = str(problem.prompt).rpartition("\n")[2]
        print(f"{asked}   {len(rows)} correct answers in {len(modes)} modes")
        for mode in modes:
            print(
                f"    {family.region(mode):15}", "  ".join(row["answer"].strip() for row in rows if row["mode"] == mode)
            )

    # The file is complete or not there.
    if args.out:
        aside = args.out.with_name(args.out.name + ".partial")
        aside.write_text("".join(lines))
        aside.replace(args.out)
        print(f"{len(lines)} problems in {args.out}")
    return 0


# --- exact -----------------------------------------------------------------------------------------------------------


def _exact(args: argparse.Namespace) -> int:
    from explore_rl.lab import exact
    from explore_rl.lab.audits import audit_of
    from explore_rl.lab.tables import pass_table, region_table, support_table

    level = args.level or FAMILIES[args.family].default_level
    spec = args.problems or f"{names.PREFIX}{args.family}?level={level}&split={args.split}&size={args.size}"
    if not names.is_laboratory(spec):
        raise InputError(f"--problems {spec}: their answers cannot be listed; give lab: or real: problems")
    asked = load_problems(spec)
    ks = [int(k) for k in args.k] if args.k else list(exact.PASS_AT)
    eps = args.eps or list(exact.EPS_LADDER)
    if args.out and not args.out.parent.is_dir():
        raise InputError(f"{args.out}: its folder does not exist")

    def audit(model: str) -> exact.ExactAudit:
        return audit_of(model, asked, temperature=args.temperature, top_p=args.top_p, progress=not args.quiet)

    # The models by themselves, the base first.
    audits = {model: audit(model) for model in args.models}
    base = audit(args.base) if args.base else None
    if base:
        audits = {model: tuned.in_regions_of(base) for model, tuned in audits.items()}
    shown = ({args.base: base} if base else {}) | audits
    modes = len(next(iter(shown.values())).index.modes)
    print(f"{len(asked)} problems, {modes} modes; temperature {args.temperature:g}, top-p {args.top_p:g}\n")
    print(pass_table(shown, ks))
    for name, one in shown.items():
        if one.success_any_end is not None:
            print(
                f"{name}: right in one draw {one.success.mean():.4f}, whatever ends it {one.success_any_end.mean():.4f}"
            )
    print()
    print(region_table(shown))

    # Each model against the base.
    comparisons = {}
    if base:
        for model, tuned in audits.items():
            comparisons[model] = exact.compare(base, tuned, eps_ladder=eps)
            print(f"\n{model} against {args.base}: exact support\n{support_table(comparisons[model])}")

    # One model alone is kept as an audit, which can be given as a model again.
    if args.out and base is None and len(audits) == 1:
        next(iter(audits.values())).save(args.out)
    elif args.out:
        document = {
            "format": "explore-rl exact comparison 1",
            "problems": [problem.id for problem in asked],
            "base": args.base,
            "comparisons": comparisons,
        }
        if base is None:
            document["pass_at_k"] = {model: alone.pass_at_k(ks) for model, alone in audits.items()}
        exact.write_json(args.out, document | {"temperature": args.temperature, "top_p": args.top_p})
    if args.out:
        print(f"\nwritten: {args.out}")
    return 0


# --- regions ---------------------------------------------------------------------------------------------------------


def _regions(args: argparse.Namespace) -> int:
    from explore_rl.lab.audits import audit_of_loaded
    from explore_rl.lab.exact import BY_BASE_FROM
    from explore_rl.lab.logprobs import load_model
    from explore_rl.real.problems import specs

    given = args.problems or specs()
    sets = {spec: load_problems(_complete(spec, split=args.split, size=args.size)) for spec in given}
    for spec, asked in sets.items():
        if not all(problem.verifier in REAL for problem in asked):
            raise InputError(f"{spec}: its regions are not by a base's probabilities; give real: problems")
    model, tokenizer = load_model(args.model)
    heads = [*BY_BASE_FROM, "problems", "units", "pass@1", "any end", "@16", "@1024"]
    widest = max(map(len, sets))
    print(f"{'units by ' + args.model:{widest}}", *(f"{head:>8}" for head in heads))
    for spec, asked in sets.items():
        audit = audit_of_loaded(model, tokenizer, asked=asked, temperature=args.temperature)
        counts = {name: figures["modes"] for name, figures in audit.regions().items()}
        passes = audit.pass_at_k((1, 16, 1024))
        any_end = float(audit.success_any_end.mean()) if audit.success_any_end is not None else float("nan")
        figures = [*map(str, (*counts.values(), len(asked), sum(counts.values())))]
        figures += [f"{value:.3f}" for value in (passes[1], any_end, passes[16], passes[1024])]
        serves = min(counts.values()) >= args.least
        verdict = "serves" if serves else f"fewer than {args.least} {min(counts, key=lambda name: counts[name])}"
        print(f"{spec:{widest}}", *(f"{figure:>8}" for figure in figures), f" {verdict}", flush=True)
    return 0


def _complete(spec: str, *, split: str, size: int | None) -> str:
    """A spec with the split and size that it does not name."""
    added = [f"split={split}"] if "split=" not in spec else []
    added += [f"size={size}"] if size is not None and "size=" not in spec else []
    if not added:
        return spec
    return f"{spec}{'&' if '?' in spec else '?'}{'&'.join(added)}"


# --- tree ------------------------------------------------------------------------------------------------------------


def _tree(args: argparse.Namespace) -> int:
    from explore_rl.lab import logprobs, tree

    if args.wrong < 0 or args.temperature <= 0:
        raise InputError("--wrong must be at least 0 and --temperature above 0")
    if not args.out.parent.is_dir():
        raise InputError(f"{args.out.parent}: no such folder to write into")
    problem = tree.problem_of(args.problem, args.family)
    models = {name: logprobs.load_model(name) for name in args.models}
    found = tree.search_tree(problem, models, wrong=args.wrong, temperature=args.temperature)
    print(tree.table(found))
    targets = [args.out.with_name(f"{args.out.name}.{kind}") for kind in ("svg", "png")]
    tree.draw(found, targets)
    print(f"written: {' and '.join(map(str, targets))}")
    return 0


# --- build-base ------------------------------------------------------------------------------------------------------


def _build_base(args: argparse.Namespace) -> int:
    from explore_rl.lab import base, card

    if args.out.exists() and not args.overwrite:
        raise InputError(f"{args.out}: is there already; name another folder or give --overwrite")
    if not args.out.parent.is_dir():
        raise InputError(f"{args.out.parent}: no such folder to build in")

    # What was not given keeps the recipe's own default.
    changed = {name: getattr(args, name) for name in ("seed", "steps", "threads") if getattr(args, name) is not None}
    if any(changed.get(name, 1) < 1 for name in ("steps", "threads")):
        raise InputError("--steps and --threads must be at least 1")
    if args.measure is not None and args.measure < 1:
        raise InputError("--measure must be at least 1")
    if args.left_out_weight is not None:
        if args.model != "lab:base" or not 0 < args.left_out_weight <= 1:
            raise InputError("--left-out-weight: expected a number above 0 and at most 1, and lab:base")
        changed["left_out_weight"] = args.left_out_weight
    recipe = replace(base.RECIPES[args.model], **changed)
    model, tokenizer = base.pretrain(recipe)
    text = card.write(recipe, model, name=args.model, tokenizer=tokenizer, most=args.measure)
    recipe_json = json.dumps(asdict(recipe), indent=1) + "\n"
    base.save(model, tokenizer, folder=args.out, texts={"README.md": text, "recipe.json": recipe_json})
    print(text, file=sys.stdout)
    print(f"written: {args.out}")
    return 0
