"""What planning the micro-batches of a step costs: CPU seconds a plan, by the number of sequences.

    python scripts/benchmark_planning.py

Lengths are log-normal (median 900 tokens, at most 3,072) behind a prompt of 100. Before it was n log n, planning took
0.22, 0.77, 2.72 and 11.3 s with one line a micro-batch, and 0.02, 0.04, 0.13 and 0.42 s with several, on the machine
where it now takes at most 0.08 s.
"""

from __future__ import annotations

import time

import numpy as np

from explore_rl.learner.packing import plan

COUNTS = (1024, 2048, 4096, 8192)


def main() -> None:
    rng = np.random.default_rng(0)
    print("sequences   one line a micro-batch (flash attention)   several lines (sdpa)")
    for count in COUNTS:
        lengths = (np.clip(rng.lognormal(np.log(900), 0.9, count), 20, 3072).astype(int) + 100).tolist()
        seconds = []
        for single_line in (True, False):
            begin = time.process_time()
            plan(lengths, 16384, ranks=4, packing=True, single_line=single_line)
            seconds.append(time.process_time() - begin)
        print(f"{count:9d}   {seconds[0]:38.3f} s   {seconds[1]:18.3f} s")


if __name__ == "__main__":
    main()
