"""Hashes of what is fetched."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

BLOCK = 1 << 20


def of_file(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def of_weights(file: Path) -> str:
    """SHA-256 of the tensors of a safetensors file: names, types, shapes and values, by name.

    The order of the tensors in the file, and what else its header holds, hang on the version that wrote it; they do not
    count.
    """
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
        for name in sorted(header.keys() - {"__metadata__"}):
            tensor = header[name]
            digest.update(f"{name} {tensor['dtype']} {tensor['shape']}\n".encode())
            begin, end = tensor["data_offsets"]
            stream.seek(8 + size + begin)
            left = end - begin
            while left:
                block = stream.read(min(left, BLOCK))
                if not block:
                    raise ValueError(f"{file}: ends before tensor {name} does")
                digest.update(block)
                left -= len(block)
    return digest.hexdigest()
