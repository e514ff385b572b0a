"""What counts as correct: one file a kind of verifier (`base` says what one is), and the pool that can kill a stuck
one.

    from explore_rl.verifiers import Item, VerifierPool, make_verifier
"""

from explore_rl.verifiers.base import (
    VERIFIERS,
    Limits,
    Verifier,
    correct,
    failed,
    make_verifier,
    no_answer,
    timed_out,
    wrong,
)
from explore_rl.verifiers.pool import Item, VerifierPool

__all__ = [
    "VERIFIERS",
    "Item",
    "Limits",
    "Verifier",
    "VerifierPool",
    "correct",
    "failed",
    "make_verifier",
    "no_answer",
    "timed_out",
    "wrong",
]
