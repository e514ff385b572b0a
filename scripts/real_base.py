"""pass@k of what was drawn from one model, a line a file, with an interval over problems.

    python scripts/real_base.py runs/real_audits/smollm2-135m/*.parquet [--k 1,4,16,64]

The estimator is the unbiased one; the interval is a bootstrap over problems with the pseudo-problems of `analysis`, so
that it does not close where all problems say the same. Where the reasoning was judged (explore-rl verify --reasoning),
a second line counts only draws whose reasoning is right as well (CoT-Pass@K, arXiv 2506.14245).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from analysis.errors import InputError
from analysis.intervals import PSEUDO_BASE, Bootstrap
from analysis.pass_at_k import pass_at_k
from analysis.readers import load

REPLICATES = 2000


def line(n: np.ndarray, correct: np.ndarray, *, ks: list[int]) -> str:
    """Means over problems with intervals, for every k that all problems have draws for. n, correct: [M]."""
    rng = np.random.default_rng(0)
    ks = [k for k in ks if k <= n.min()]
    values = pass_at_k(n, correct, k=np.array(ks))
    replicates = Bootstrap.draw(len(n), REPLICATES, rng=rng).means(values, PSEUDO_BASE)
    low, high = Bootstrap(np.empty(0), np.empty(0)).interval(replicates)
    cells = [f"@{k} {v:.3f} [{a:.3f}, {b:.3f}]" for k, v, a, b in zip(ks, values.mean(0), low, high, strict=True)]
    return "  ".join(cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="samples, as explore-rl sample writes them")
    parser.add_argument("--k", default="1,4,16,64", help="default %(default)s")
    args = parser.parse_args()
    try:
        ks = sorted({int(k) for k in args.k.split(",")})
        for file in args.files:
            found = load([str(file)])
            print(f"{file.stem}: {len(found.n)} problems, {found.n.min()} draws or more each")
            print(f"    right           {line(found.n, found.correct, ks=ks)}")
            if found.cot_correct is not None and found.cot_unjudged is None:
                print(f"    right and shown {line(found.n, found.cot_correct, ks=ks)}")
    except (InputError, ValueError) as error:
        print(f"real_base: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
