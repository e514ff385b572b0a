"""Whether a checkpoint's weights are really there, seen from the heads of their files before anything is started."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from analysis.errors import InputError
from analysis.lfs import POINTED, is_pointer

INDEX = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
LONGEST_HEADER = 100_000_000  # bytes, as safetensors itself has it


def check_weights(folder: Path) -> None:
    """Looks at every weight file of a Hugging Face checkpoint.

    Raises InputError for a folder without weights, a shard that its index names and that is missing, and a file that is
    cut off.
    """
    files = _of_index(folder) or sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not files:
        raise InputError(f"model.path={folder}: holds no weights; expected *.safetensors (or pytorch_model*.bin)")
    for file in files:
        _check(file)


def refuse_pointers(folder: Path) -> None:
    """Raises InputError where a file of a checkpoint is a Git LFS pointer: cloned, and not fetched."""
    for file in sorted(folder.iterdir()):
        if file.is_file() and is_pointer(file):
            raise InputError(f"{file}: {POINTED}")


def _of_index(folder: Path) -> list[Path]:
    """The shards that an index names; none without an index."""
    for name in INDEX:
        index = folder / name
        if not index.is_file():
            continue
        try:
            shards = set(json.loads(index.read_text())["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            raise InputError(f"{index}: not an index of weights (a JSON object with weight_map)") from None
        return [folder / shard for shard in sorted(shards)]
    return []


def _check(file: Path) -> None:
    try:
        size = file.stat().st_size
        with open(file, "rb") as stream:
            head = stream.read(64)
            if file.suffix == ".safetensors":
                _check_safetensors(file, head, size=size, read=stream.read)
            elif head.startswith(b"PK") and not zipfile.is_zipfile(file):  # its list of contents stands at the end
                raise InputError(f"{file}: cut off or damaged; download it again")
            elif not head.startswith((b"PK\x03\x04", b"\x80\x02")):  # a zip archive, or torch's old pickle
                raise InputError(f"{file}: not a file of torch weights")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None


def _check_safetensors(file: Path, head: bytes, *, size: int, read) -> None:
    """The format is 8 bytes with the header's length, a JSON header with every tensor's span, and the tensors."""
    length = int.from_bytes(head[:8], "little")
    if len(head) < 8 or not 0 < length <= LONGEST_HEADER or 8 + length > size:
        raise InputError(f"{file}: not a file of safetensors, or cut off; download it again")
    try:
        header = json.loads((head[8:] + read(max(0, length - len(head) + 8)))[:length])
        end = max((t["data_offsets"][1] for name, t in header.items() if name != "__metadata__"), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise InputError(f"{file}: its header is no header of safetensors; download it again") from None
    if size != 8 + length + end:
        raise InputError(
            f"{file}: {size} bytes where its header promises {8 + length + end}: cut off or damaged; download it again"
        )
