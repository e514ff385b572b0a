"""The seeds of draws, and of everything else in a run that is random."""

from __future__ import annotations

import hashlib


def hashed_seed(*parts: object) -> int:
    """A 63-bit seed from anything printable.

    Every completion gets one of its own, and hashed: neighbouring seeds share draws in vLLM.
    """
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
