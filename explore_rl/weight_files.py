"""Whether a checkpoint's weights are really there, seen from the heads of their files before anything is started."""

from __future__ import annotations

import json
from pathlib import Path

from analysis.errors import InputError

INDEX = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
LONGEST_HEADER = 100_000_000  # bytes, as safetensors itself has it


def check_weights(folder: Path) -> None:
    """Looks at every weight file of a Hugging Face checkpoint.

    Raises InputError for a folder without weights, a shard that its index names and that is missing, a Git LFS pointer
    in place of a file, and a file that is cut off.
    """
    files = _of_index(folder) or sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not files:
        raise InputError(f"model.path={folder}: holds no weights; expected *.safetensors (or pytorch_model*.bin)")
    for file in files:
        _check(file)


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
            if head.startswith(b"version https://git-lfs"):
                raise InputError(
                    f"{file}: a Git LFS pointer and not the weights themselves; fetch them with `git lfs pull`, or "
                    "download the file again"
                )
            if file.suffix == ".safetensors":
                _check_safetensors(file, head, size=size, read=stream.read)
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
