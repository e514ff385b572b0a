"""All pairs of shipped strategies: both act, each switched off leaves the other bit for bit, or they are refused.

    python scripts/check_pairs.py          # a thousand pairs, a few minutes; one line for each that fails

Over a table of logits, as tests/testing/test_method_pairs.py does with representatives.
"""

from __future__ import annotations

import itertools
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "kits"))

from pairs import NAMES, check_pair, refusal  # noqa: E402


def main() -> int:
    logging.disable(logging.WARNING)
    held = refused = 0
    failed = []
    for one, other in itertools.combinations(NAMES, 2):
        if refusal(one, other):
            refused += 1
            continue
        try:
            check_pair(one, other)
            held += 1
        except (AssertionError, ValueError, RuntimeError) as error:
            failed.append(f"{one}, {other}: {error}")
            print(f"FAILED {failed[-1]}", flush=True)
    print(f"{held} pairs hold, {refused} are refused, {len(failed)} fail")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
