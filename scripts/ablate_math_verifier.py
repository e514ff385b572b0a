"""Which parts of the math verifier are needed: each is switched off in turn, and what then changes is counted.

    python scripts/ablate_math_verifier.py --benchmarks FOLDER --math-verify-tests FOLDER      # some minutes
    python scripts/ablate_math_verifier.py ... --only "thoughts" --show 5                      # one part, its items

The sets are those of `compare_math_verifiers.py`: the cases of the tests, the references of the public files, near
misses made from them, and Math-Verify's own tests. Of each part: right answers that are refused without it alone, wrong
ones that are accepted without it alone, and what is better without it. A part whose absence changes nothing for the
worse does nothing that math-verify does not do as well: it should go.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import compare_math_verifiers as sets
from switches import (
    Ablation,
    changed,
    every,
    forget,
    function,
    gives,
    never,
    same_back,
    value,
    without,
    without_lines,
    without_rule,
)

from explore_rl.verifiers import (
    extract,
    math,
    math_dress,
    math_equal,
    math_expressions,
    math_forms,
    math_keys,
    math_labels,
    math_numbers,
    math_phrases,
    math_scalars,
    math_sets,
    math_several,
    math_single,
    math_stated,
    math_unit_names,
    math_units,
    statement,
)
from explore_rl.verifiers.math_values import Listing

# --- the parts -------------------------------------------------------------------------------------------------------


def ablations() -> list[Ablation]:
    groups = (of_extraction, of_dress, of_numbers, of_words, of_units, of_structure, of_equality, of_algebra)
    return [one for group in groups for one in group()]


def of_extraction() -> list[Ablation]:
    lines = [
        ("thoughts are cut", never(extract, "_THOUGHT_END", "_THOUGHT_START")),
        ("end tokens are cut", never(extract, "_END_TOKEN")),
        ("a turn's opening is cut", never(extract, "_TURN_START")),
        ("marks round a box or an answer go", never(extract, "_MARK")),
        ("answer tags", never(extract, "_ANSWER_TAG")),
        ("a mentioned or empty box says nothing", never(extract, "_PLACEHOLDER")),
        ("several boxes are one answer", gives(extract, "_between")),
        ("labels before several boxes", never(extract, "_LABEL_BEFORE")),
        ("calculator marks <<3*4=12>> go", never(extract, "_CALCULATOR")),
        ("the line behind ####", never(extract, "_HASHES")),
        ("answer is", never(extract, "_ANSWER_IS")),
        ("headings", never(extract, "_HEADING", "_HEADING_LINE")),
        ("a sentence in a box", same_back(extract, "_clause_in_box")),
        ("a value: words before it go", never(statement, "_LEAD")),
        ("a value: what follows is", never(statement, "_IS")),
        ("a value: reasons behind it go", never(statement, "_CLAUSE")),
        ("a value: a word for it in brackets goes", never(statement, "_IN_WORDS")),
        ("a value: a calculation behind a colon goes", never(statement, "_CALCULATION")),
        ("a value: a sentence behind a comma goes", never(statement, "_COMMA")),
        ("a value: a sentence about one number", never(statement, "_ONE_NUMBER")),
        ("a formula and its unit", gives(statement, "_unit_after", "")),
    ]
    return [Ablation("extraction", name, off) for name, off in lines]


def of_dress() -> list[Ablation]:
    lines = [
        ("Unicode signs", never(math_dress, "_UNICODE_RE")),
        ("raised digits", never(math_dress, "_RAISED_RE")),
        ("lowered digits", never(math_dress, "_LOWERED_RE")),
        ("powers inside text", never(math_dress, "_POWER_IN_TEXT")),
        ("text round a whole answer", never(math_dress, "_WHOLE_TEXT")),
        ("dates", never(math_dress, "_DATE")),
        ("and, or are separators", never(math_dress, "_SEPARATORS")),
        ("a dollar that is money", function(math_dress, "_money", lambda text: text.replace("$", " "))),
        *((f"LaTeX: {rule[0].pattern}", without_rule(math_dress._LATEX, rule)) for rule in math_dress._LATEX),
        *((f"plain: {rule[0].pattern}", without_rule(math_dress._PLAIN, rule)) for rule in math_dress._PLAIN),
    ]
    return [Ablation("dress", name, off) for name, off in lines]


def of_numbers() -> list[Ablation]:
    names = ["_MIXED", "_SCIENTIFIC", "_POWER_OF_TEN", "_FRACTION", "_REPEATING", "_ENDLESS", "_BASED", "_THIN"]
    return [
        *(Ablation("numbers", name.strip("_").lower(), never(math_numbers, name)) for name in names),
        Ablation("numbers", "thousands before a unit", never(math_forms, "_THOUSANDS")),
    ]


def of_words() -> list[Ablation]:
    lines = [
        ("ratios", never(math_phrases, "_RATIO")),
        ("remainders", never(math_phrases, "_REMAINDER")),
        ("shares", never(math_phrases, "_SHARE")),
        ("calculations in words", gives(math_phrases, "_calculation")),
        ("compound quantities", gives(math_phrases, "_descending")),
        ("numbers each with a word", gives(math_phrases, "_pieces")),
        ("minutes and seconds of arc", without(math_phrases._PRIMES)),
        ("phrases", gives(math_phrases, "read_phrase")),
        ("numbers side by side", never(math_single, "_NUMBERS")),
        ("bearings", never(math_single, "_BEARING")),
        ("times of day", gives(math_single, "_clock")),
        ("squared, cubed, factorial", never(math_single, "_OPERATION")),
        ("below zero", never(math_single, "_ZERO")),
        ("negative", never(math_single, "_NEGATIVE")),
        ("words before a number", gives(math_single, "_words_first")),
        ("words", gives(math_single, "_words")),
    ]
    return [Ablation("words", name, off) for name, off in lines]


def of_units() -> list[Ablation]:
    reader = function(math_units, "read_unit", lambda text: math_units.NONE)
    lines = [
        ("all of them", gives(math_single, "_quantity")),
        ("currency before a number", never(math_single, "_MONEY_FIRST")),
        ("$5M, $3k", never(math_single, "_SHORT_MAGNITUDE")),
        ("units in roman type", never(math_single, "_TYPESET")),
        ("units in plain type", never(math_single, "_PLAIN")),
        ("units of two words", without(math_units._OF_TWO_WORDS, read_by=reader)),
        ("squared, cubed", without(math_units._POWERS, read_by=reader)),
        ("square, cubic before a unit", without(math_units._BEFORE, read_by=reader)),
        ("prefixes", without(math_unit_names.PREFIXES, read_by=reader)),
        ("symbols", without(math_unit_names.SYMBOLS, read_by=reader)),
        ("names", without(math_unit_names.NAMES, read_by=reader)),
        ("signs of currencies", without(math_unit_names.CURRENCIES, read_by=reader)),
        ("magnitudes", without(math_unit_names.MAGNITUDES, read_by=reader)),
        ("magnitudes that stand alone", without(math_unit_names.ALONE, read_by=reader)),
        ("parts (thousandths)", without(math_unit_names.PARTS, read_by=reader)),
        ("words that are part of a value", without(math_unit_names.BINDING, read_by=reader)),
        ("opposites", without(math_unit_names.OPPOSITES, read_by=reader)),
        ("words that say nothing", without(math_unit_names.EMPTY, read_by=reader)),
        ("words said beside", without(math_unit_names.BESIDE, read_by=reader)),
        ("what was counted", without(math_unit_names.COUNTED, read_by=reader)),
        ("second as an ordinal", without(math_unit_names.ORDERED, read_by=reader)),
        ("compass points", without(math_units._COMPASS, read_by=reader)),
        ("minutes or feet", without(math_units._PRIMES, read_by=reader)),
        ("degrees", function(math_units, "_degree", lambda match: match.group())),
        (
            "clashes beyond dimensions",
            function(math_units, "clash", lambda one, two: math_units.ratio(one, two) is None),
        ),
        ("clash of words", gives(math_units, "_words_clash", False)),
        ("measured against counted", gives(math_units, "_measured_and_counted", False)),
        ("words that change a number", gives(math_units, "changes", False)),
        ("plural and singular", same_back(math_units, "_stem")),
    ]
    return [Ablation("units", name, off) for name, off in lines]


def of_structure() -> list[Ablation]:
    lines = [
        ("named sets", gives(math_forms, "_named_set")),
        ("conditions with and, or", gives(math_forms, "_conditions")),
        ("unions, differences", gives(math_forms, "_set_operation")),
        ("plus-minus", function(math_forms, "_both_signs", lambda text, deep: math_single.read_single(text))),
        ("equations, inequalities, labels", gives(math_forms, "_relation")),
        ("inequalities as sets", gives(math_forms, "_bounded")),
        ("labels of one letter", never(math_labels, "_LABEL")),
        ("labels in words", never(math_labels, "_WORD_LABEL")),
        ("names of segments and areas", never(math_forms, "_GEOMETRIC")),
        ("matrices", never(math_forms, "_MATRIX")),
        ("arrays in brackets", never(math_forms, "_BRACKETED_ARRAY")),
        ("families of numbers", never(math_forms, "_FAMILY")),
        ("set-builder", never(math_forms, "_BUILDER")),
        ("brackets: tuples, intervals, sets", gives(math_forms, "_group")),
        (
            "systems of labels",
            function(math_labels, "together", lambda text, parts: Listing(text, math_labels.flat(parts))),
        ),
        ("braces round an answer", same_back(math_forms, "unwrap")),
    ]
    return [Ablation("structure", name, off) for name, off in lines]


def of_equality() -> list[Ablation]:
    lines = [
        ("words tell values apart", gives(math_several, "_told_apart", False)),
        ("double roots", function(math_several, "distinct", lambda parts: tuple(parts))),
        ("a list within a number's commas", gives(math, "_as_list", False)),
        ("variables renamed", function(math_stated, "_rename", lambda value, old, *, new: value)),
        ("equations up to a factor", gives(math_expressions, "same_equations", False)),
        ("near a rounding", gives(math_stated, "_is_near", False)),
        ("the order of labels", function(math_keys, "in_order_of_labels", list)),
    ]  # fmt: skip
    either = [
        (rule_name(line), without_lines(math_equal.ACROSS, [line, (line[1], line[0], line[2])]))
        for line in math_equal._EITHER_WAY
    ]
    one_way = [
        (rule_name(line), without_lines(math_equal.ACROSS, [line]))
        for line in math_equal.ACROSS[2 * len(math_equal._EITHER_WAY) :]
    ]
    return [Ablation("equality", name, off) for name, off in [*lines, *either, *one_way]]


def rule_name(line: tuple[tuple, tuple, Callable]) -> str:
    sides = " / ".join(", ".join(kind.__name__ for kind in side) for side in line[:2])
    return f"{line[2].__name__.strip('_').replace('_', ' ')}: {sides}"


def of_algebra() -> list[Ablation]:
    lines = [
        (
            "degrees in sin, cos, tan",
            function(math_expressions, "_degrees", lambda latex: re.sub(math_expressions._CIRCLE, "", latex)),
        ),
        ("odd roots are real", same_back(math_expressions, "_real_roots")),
        *(
            (f"names: {entry[0].pattern}", without_rule(math_expressions._NAMES, entry))
            for entry in math_expressions._NAMES
        ),
        ("values at points", gives(math_expressions, "_same_values", None)),
        ("math-verify's own comparison", gives(math_expressions, "_math_verify_says", False)),
        ("whole numbers in sums and factorials", value(math_expressions, "_WHOLE", (type("None_", (), {}),))),
        ("sums of matrices", gives(math_scalars, "matrix_of")),
        ("inequalities are solved", gives(math_sets, "_solved")),
        ("sets of reals", gives(math_sets, "real_set")),
    ]
    return [Ablation("algebra", name, off) for name, off in lines]


# --- counting --------------------------------------------------------------------------------------------------------


@dataclass
class Counts:
    """Of one part and one set, without it: right answers refused and wrong ones accepted that are not with it; better:
    the other way round."""

    refused: int = 0
    accepted: int = 0
    better: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmarks", type=Path, required=True, help="folder with aime24.jsonl, ..., gsm8k.jsonl")
    parser.add_argument(
        "--math-verify-tests", type=Path, required=True, help="the folder tests/ of Math-Verify's repository"
    )
    parser.add_argument("--only", default="", help="parts whose group or name holds this")
    parser.add_argument("--show", type=int, default=0, help="items shown for each part")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    items = {
        "references": list(sets.of_references(args.benchmarks)),
        "near misses": list(sets.of_near_misses(args.benchmarks)),
        "Math-Verify's tests": list(sets.of_math_verify(args.math_verify_tests)),
        "cases": [*sets.of_cases(), *sets.of_same()],
    }
    flat = [(name, item) for name, of_set in items.items() for item in of_set]
    chosen = [ablation for ablation in ablations() if args.only in f"{ablation.group}: {ablation.name}"]
    acting = places_of_action(chosen, [item for _, item in flat])
    forget(set())
    whole = [sets.ours(item) for _, item in flat]
    head = [f"{name} ({len(of_set)})" for name, of_set in items.items()]
    print(f"| group | part | acts on | {' | '.join(head)} |\n|---|---|---|{'---|' * len(items)}")
    rows = []
    for ablation in chosen:
        counts, shown = measured(ablation, flat, whole=whole, places=acting[ablation.name])
        rows.append(
            Row(ablation.group, ablation.name, len(acting[ablation.name]) if ablation.switch.watch else None, counts)
        )
        print(rows[-1].line(), flush=True)
        for line in shown[: args.show]:
            print("    " + line)
    print(f"\n## In short\n\n| group | part | acts on | {' | '.join(head)} |\n|---|---|---|{'---|' * len(items)}")
    for row in in_short(rows):
        print(row.line())


@dataclass
class Row:
    """acts_on: how many items; None where that cannot be seen."""

    group: str
    name: str
    acts_on: int | None
    counts: dict[str, Counts]

    def line(self) -> str:
        cells = [
            f"{c.refused} / {c.accepted}" + (f" (better: {c.better})" if c.better else "") for c in self.counts.values()
        ]
        acts_on = "" if self.acts_on is None else self.acts_on
        return f"| {self.group} | {self.name.replace('|', chr(92) + '|')} | {acts_on} | {' | '.join(cells)} |"

    @property
    def loses(self) -> bool:
        return any(c.refused or c.accepted for c in self.counts.values())


def in_short(rows: list[Row]) -> list[Row]:
    """The rules of one table in one row, their losses added up."""
    shortened: list[Row] = []
    for row in rows:
        table = next((name for name in ("LaTeX", "plain", "names") if row.name.startswith(f"{name}: ")), None)
        if table is None:
            shortened.append(row)
        elif shortened and shortened[-1].name.startswith(table):
            continue
        else:
            same = [other for other in rows if other.group == row.group and other.name.startswith(f"{table}: ")]
            names = f"{table}: {len(same)} rules, each by itself; {sum(r.loses for r in same)} of them lose something"
            counts = {
                name: Counts(*(sum(getattr(r.counts[name], field) for r in same) for field in vars(Counts())))
                for name in row.counts
            }
            shortened.append(Row(row.group, names, sum(r.acts_on or 0 for r in same), counts))
    return shortened


def places_of_action(chosen: list[Ablation], items: list[sets.Item]) -> dict[str, list[int]]:
    """The places of the items on which each part acts; of a part that cannot be watched, all of them."""
    now, found = -1, {ablation.name: set() for ablation in chosen}

    def noting(name: str) -> Callable[[], None]:
        return lambda: found[name].add(now)

    watches = [ablation.switch.watch(noting(ablation.name)) for ablation in chosen if ablation.switch.watch]
    with changed(every(*watches), set()):
        for now, item in enumerate(items):  # noqa: B007 - the watchers read it
            forget(set())
            sets.ours(item)
    everywhere = range(len(items))
    return {ablation.name: sorted(found[ablation.name] if ablation.switch.watch else everywhere) for ablation in chosen}


def measured(
    ablation: Ablation, flat: list[tuple[str, sets.Item]], *, whole: list[bool], places: list[int]
) -> tuple[dict[str, Counts], list[str]]:
    counts, shown = {name: Counts() for name, _ in flat}, []
    keep = {math_expressions.to_sympy} if ablation.group != "algebra" else set()
    with changed(ablation.switch.off, keep):
        for place in places:
            name, item = flat[place]
            try:
                now = sets.ours(item)
            except (AssertionError, TypeError, AttributeError, IndexError, RecursionError):
                now = not whole[place]  # others rely on this part
            if now == whole[place]:
                continue
            if now == item.right:
                counts[name].better += 1
            elif now:
                counts[name].accepted += 1
            else:
                counts[name].refused += 1
            what = "better" if now == item.right else "worse"
            shown.append(f"{what}: {item.answer!r} answered by {item.completion[-90:]!r}")
    return counts, shown


if __name__ == "__main__":
    main()
