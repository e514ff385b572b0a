"""All pairs of shipped strategies: both act, each switched off leaves the other bit for bit, or they are refused.

    python scripts/check_pairs.py                                  1,711 pairs, ten minutes on an idle core
    python scripts/check_pairs.py --processes 2 --log runs/pairs.jsonl       a line a pair; called again it goes on
    python scripts/check_pairs.py --with siren novelty             the pairs of these alone

Both keep the figures that they claim (tests/kits/claims.py) and the normalisers.
Over a table of logits, as tests/testing/test_method_pairs.py does with representatives. A log is of one commit.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import multiprocessing
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "kits"))

from pairs import NAMES, check_pair, refusal  # noqa: E402

Pair = tuple[str, str]


def outcome(pair: Pair) -> tuple[Pair, str, str]:
    """The pair, "held", "refused" or "failed", and why."""
    logging.disable(logging.WARNING)
    reason = refusal(*pair)
    if reason:
        return pair, "refused", reason
    try:
        check_pair(*pair)
    except (AssertionError, ValueError, RuntimeError) as error:
        return pair, "failed", f"{type(error).__name__}: {error}"
    return pair, "held", ""


def commit() -> str:
    """Of the tree that this file stands in; with a mark if something in it is not committed."""
    where = Path(__file__).resolve().parent
    said = ("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")
    head, changed = (
        subprocess.run(["git", *words], cwd=where, capture_output=True, text=True, check=True, timeout=60).stdout
        for words in said
    )
    return head.strip() + ("-changed" if changed.strip() else "")


def read(log: Path) -> dict[Pair, tuple[str, str]]:
    """What the log has, by pair; begins one that is not there. Raises SystemExit for one of another commit."""
    now = commit()
    if not log.exists():
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(json.dumps({"commit": now}) + "\n")
        return {}
    first, *lines = log.read_text().splitlines()
    was = json.loads(first)["commit"]
    if was != now:
        print(f"{log}: is of {was}, and this is {now}; name another file", file=sys.stderr)
        raise SystemExit(2)
    known = (json.loads(line) for line in lines)
    return {(line["pair"][0], line["pair"][1]): (line["outcome"], line["why"]) for line in known}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--with", nargs="+", dest="names", choices=NAMES, metavar="NAME", help="pairs of these alone")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--log", type=Path, help="file of outcomes: pairs that it has are passed over")
    args = parser.parse_args()
    wanted = set(args.names or NAMES)
    pairs = [pair for pair in itertools.combinations(NAMES, 2) if wanted & {*pair}]
    found = {pair: said for pair, said in (read(args.log) if args.log else {}).items() if pair in set(pairs)}
    left = [pair for pair in pairs if pair not in found]
    # New processes, and no forks: each has a judge's server of its own.
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        every = pool.imap_unordered(outcome, left, chunksize=4)
        for pair, kind, why in tqdm(every, desc="pairs", total=len(pairs), initial=len(found), smoothing=0.02):
            found[pair] = kind, why
            if args.log:
                with args.log.open("a") as file:
                    file.write(json.dumps({"pair": pair, "outcome": kind, "why": why}) + "\n")
    failed = {pair: why for pair, (kind, why) in found.items() if kind == "failed"}
    for pair, why in failed.items():
        print(f"FAILED {', '.join(pair)}: {why}")
    kinds = Counter(kind for kind, _ in found.values())
    print(f"{kinds['held']} pairs hold, {kinds['refused']} are refused, {len(failed)} fail")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
