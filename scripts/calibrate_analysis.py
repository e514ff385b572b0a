"""Are the intervals, certificates and verdicts of `analysis` as sure as they say? Simulated models with known success
probabilities.

    python scripts/calibrate_analysis.py --write docs/calibration.md      # the full run, an hour or two on two cores
    python scripts/calibrate_analysis.py --sets 100                       # a quick look
    python scripts/calibrate_analysis.py --only differences modes         # some tables only

A cell that is finished goes into --cells at once, so that a run that was ended goes on where it stopped; --again
simulates cells of the named tables anew (after a change of what they measure). Exits with 1 if a target is missed by
more than the simulation's own error (two standard errors).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from calibration_cells import Cell, cells
from calibration_kit import Line, smallest_after_holm, table
from calibration_notes import NOTES, TITLES
from calibration_scenarios import Kwargs, scenario_table, scenarios

PREAMBLE = """# How sure is the analysis? Calibration by simulation

Written by `python scripts/calibrate_analysis.py --write docs/calibration.md`: models with known success probabilities
are sampled, and what `analysis` says of the samples is compared with what is true. A target counts as missed when it
is missed by more than two standard errors of the simulation."""
KEPT = "## Against exact probabilities"  # of the page: from here on it is written by hand
LEAST = 20  # data sets of a cell

Done = dict[str, tuple[int, list[Line]]]  # key of a cell -> data sets, lines


def read_cells(path: Path, seed: int) -> Done:
    """Finished cells of an earlier run with the same seed; of a cell that is there twice, the later one."""
    done: Done = {}
    if not path.exists():
        return done
    for row in path.read_text(encoding="utf-8").splitlines():
        found = json.loads(row)
        if found["seed"] == seed:
            done[found["key"]] = (found["trials"], [Line(**line) for line in found["lines"]])
    return done


def simulate(cell: Cell, trials: int, seed: int, *, until: float) -> tuple[list[Line], float] | None:
    """The lines and the CPU seconds they took; None where the time of the run is up (time.time)."""
    if time.time() > until:
        return None
    began = time.process_time()
    return cell.run(trials, seed), time.process_time() - began


def run_missing(
    asked: dict[str, tuple[Cell, int]],
    done: Done,
    *,
    path: Path,
    seed: int,
    workers: int,
    seconds: float = float("inf"),
) -> None:
    """Simulates the cells that are not done with as many data sets; `done` and the file grow with each.

    After so many `seconds` no further cell is started.
    """
    missing = {key: job for key, job in asked.items() if key not in done or done[key][0] < job[1]}
    until = time.time() + seconds
    with ProcessPoolExecutor(workers) as pool, open(path, "a", encoding="utf-8") as file:
        futures = {
            pool.submit(simulate, cell, trials, seed, until=until): key for key, (cell, trials) in missing.items()
        }
        for number, future in enumerate(as_completed(futures), start=1):
            key = futures[future]
            trials = missing[key][1]
            if error := future.exception():  # it is told at once, and not when all others are done
                pool.shutdown(wait=False, cancel_futures=True)
                raise RuntimeError(f"{key} cannot be simulated") from error
            if (found := future.result()) is None:
                continue
            lines, took = found
            done[key] = (trials, lines)
            kept = [asdict(line) | {"share": float(line.share)} for line in lines]
            file.write(json.dumps({"key": key, "seed": seed, "trials": trials, "lines": kept}) + "\n")
            file.flush()
            bad = ", ".join(f"{line.column} {line.text}" for line in lines if line.missed)
            print(f"{number}/{len(missing)} {took:.0f} s {key} {bad}", file=sys.stderr, flush=True)


def page(asked: dict[str, tuple[Cell, int]], done: Done, seed: int) -> tuple[str, list[Line]]:
    """The tables as Markdown, and the lines that missed their target."""
    by_table: dict[str, list[Line]] = {}
    kinds: list[tuple[str, Kwargs, Line]] = []
    sets = 0
    for key, (cell, _) in asked.items():
        if key in done:
            sets += done[key][0]
            by_table.setdefault(cell.table, []).extend(done[key][1])
            kinds += [(cell.table, cell.kwargs, line) for line in done[key][1]]
    every = [line for lines in by_table.values() for line in lines]
    bounded = [line for line in every if line.at_most is not None]
    missed = [line for line in every if line.missed]
    out = [PREAMBLE, ""]
    if bounded:
        worst = max(bounded, key=lambda line: line.share)
        out.append(
            f"{sets:,} data sets. {len(bounded):,} shares are to stay below a target (false words, wrong members of a "
            f"category): the largest is {worst.share:.1%} ({worst.row}; {worst.column}); the smallest binomial p-value "
            f'of "no more than its target", after Holm over all of them, is {smallest_after_holm(bounded):.2g}. '
            f"Targets missed, of all kinds: {len(missed)}. Seed {seed}."
        )
    if missing := len(asked) - sum(key in done for key in asked):
        out.append(f"\n{missing} of {len(asked):,} cells are not simulated yet: the same command goes on with them.")
    out += scenario_table(scenarios(kinds))
    for name, title in TITLES.items():
        if name in by_table:
            out += table(title, NOTES[name], by_table[name])
    return "\n".join(out) + "\n", missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=2000, help="data sets a cell; slow ones take less (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of all simulations, whatever the order (default: 0)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument("--only", nargs="+", choices=list(TITLES), help="only these tables (default: all)")
    parser.add_argument("--again", nargs="+", choices=list(TITLES), default=[], help="simulate these tables anew")
    parser.add_argument(
        "--cells",
        type=Path,
        default=Path("calibration.cells.jsonl"),
        help="file of finished cells (default: %(default)s)",
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the tables into this page, else print them")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no further cell after so many")
    parser.add_argument("--no-run", action="store_true", help="only write what is finished")
    args = parser.parse_args()
    chosen = [cell for cell in cells() if not args.only or cell.table in args.only]
    asked = {cell.key: (cell, max(round(args.sets * cell.share), LEAST)) for cell in chosen}
    done = read_cells(args.cells, args.seed)
    done = {key: value for key, value in done.items() if key not in asked or asked[key][0].table not in args.again}
    if not args.no_run:
        run_missing(asked, done, path=args.cells, seed=args.seed, workers=args.workers, seconds=args.seconds)
    text, missed = page(asked, done, args.seed)
    if args.write is None:
        print(text, end="")
    else:
        old = args.write.read_text(encoding="utf-8") if args.write.exists() else ""
        kept = old[old.index(KEPT) :] if KEPT in old else ""
        args.write.write_text(text + (f"\n{kept}" if kept else ""), encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
