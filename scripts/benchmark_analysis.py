"""Makes 1,547 problems x 8,192 samples of a base and a tuned model as Parquet, and measures how long an audit takes and
what it needs.

python scripts/benchmark_analysis.py --folder /tmp/benchmark_analysis            # 12.7 million rows a side
python scripts/benchmark_analysis.py --samples 256 --read-only                   # smaller, reading alone
python scripts/benchmark_analysis.py --samples 650 --against HEAD~1 --turns 5    # this tree and a git revision in turns
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

BENCHMARKS = {"aime24": 30, "aime25": 30, "amc23": 40, "math500": 500, "minerva": 272, "olympiad": 675}


def make(path: Path, model: str, *, problems: int, samples: int, shift: float, seed: int) -> None:
    """One row group a 64 problems: probabilities from Beta(0.4, 0.6) to the power `shift`, up to 60 distinct wrong
    answers a problem."""
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(0)
    names = [(b, i) for b, size in BENCHMARKS.items() for i in range(size)][:problems]
    p = shared.beta(0.4, 0.6, size=len(names)) ** shift
    p[shared.random(len(names)) < 0.08] = 0.0
    aside = path.with_suffix(".partial")
    writer: Any = None
    for start in tqdm(range(0, len(names), 64), desc=f"making {path.name}", disable=None):
        chunk = names[start : start + 64]
        rows = len(chunk) * samples
        correct = rng.random(rows) < np.repeat(p[start : start + len(chunk)], samples)
        wrong = np.minimum(rng.geometric(0.12, size=rows), 60)
        answers = pa.DictionaryArray.from_arrays(
            pa.array(np.where(correct, 0, wrong).astype(np.int32)), [f"\\frac{{{i}}}{{7}}" for i in range(61)]
        )
        table = pa.table(
            {
                "problem_id": pa.DictionaryArray.from_arrays(
                    pa.array(np.repeat(np.arange(len(chunk), dtype=np.int32), samples)), [str(i) for _, i in chunk]
                ),
                "benchmark": pa.array(np.repeat([b for b, _ in chunk], samples)).dictionary_encode(),
                "sample": np.tile(np.arange(samples), len(chunk)),
                "correct": correct,
                "answer": answers,
                "num_tokens": rng.integers(200, 16000, size=rows),
                "finish_reason": pa.array(np.where(rng.random(rows) < 0.02, "length", "stop")).dictionary_encode(),
                "model": pa.array([model] * rows).dictionary_encode(),
                "temperature": np.full(rows, 0.6),
            }
        )
        table = table.cast(
            pa.schema([(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in table.schema])
        )
        writer = writer or pq.ParquetWriter(aside, table.schema, compression="zstd")
        writer.write_table(table)
    writer.close()
    aside.rename(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("/tmp/benchmark_analysis"),
        help="where the data are made (about 100 MB) and kept",
    )
    parser.add_argument("--problems", type=int, default=sum(BENCHMARKS.values()))
    parser.add_argument("--samples", type=int, default=8192, help="draws a problem")
    parser.add_argument("--read-only", action="store_true", help="load and align, without the audit")
    parser.add_argument(
        "--against", metavar="REVISION", help="a git revision whose audit is measured in turns with this"
    )
    parser.add_argument("--turns", type=int, default=5, help="with --against: how often each is run")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    files = [args.folder / f"{side}_{args.problems}x{args.samples}.parquet" for side in ("base", "tuned")]
    for path, shift, seed in zip(files, (1.0, 0.7), (1, 2), strict=True):
        if not path.exists():
            make(path, path.stem.split("_")[0], problems=args.problems, samples=args.samples, shift=shift, seed=seed)
    if args.read_only:
        code = "import sys; from analysis.readers import align, load; align(load([sys.argv[1]]), load([sys.argv[2]]))"
        command = [sys.executable, "-c", code, *map(str, files)]
    else:
        command = [
            sys.executable,
            "-m",
            "analysis",
            "audit",
            "--base",
            str(files[0]),
            "--tuned",
            str(files[1]),
            "--out",
            str(args.folder / "audit"),
        ]
    what = "read and align" if args.read_only else "audit with report"
    about = {"rows_a_side": args.problems * args.samples, "what": what}
    here = Path(__file__).parents[1]
    if args.against is None:
        found = measure(command, here)
        print(json.dumps(about | found))
        return int(found["exit"])
    with tempfile.TemporaryDirectory() as scratch:
        old = Path(scratch) / "old"
        subprocess.run(["git", "worktree", "add", "--detach", "--quiet", str(old), args.against], cwd=here, check=True)
        try:
            for tree in (old, here):  # as for a user's second audit, modules are compiled already
                measure([sys.executable, "-c", "import analysis.commands.audit, analysis.report"], tree)
            turns = [(measure(command, old), measure(command, here)) for _ in range(args.turns)]
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(old)], cwd=here, check=True)
    medians = [statistics.median(turn[side]["cpu_seconds"] for turn in turns) for side in (0, 1)]
    result = about | {"against": args.against, "cpu_seconds_old": medians[0], "cpu_seconds_new": medians[1]}
    print(json.dumps(result | {"new_over_old": round(medians[1] / medians[0], 3), "turns": turns}))
    return max(int(one["exit"]) for turn in turns for one in turn)


def measure(command: list[str], tree: Path) -> dict[str, float]:
    """Seconds, CPU seconds, the largest memory so far, and the exit code of a command with the package of `tree`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "PYTHONPYCACHEPREFIX": tempfile.gettempdir() + "/benchmark_pyc",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(command, check=False, stdout=sys.stderr, cwd=tree, env=environment)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": round(time.monotonic() - start, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime, 1),
        "peak_gib": round(used.ru_maxrss / 2**20, 2),
        "exit": done.returncode,
    }


if __name__ == "__main__":
    sys.exit(main())
