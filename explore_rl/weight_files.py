"""Whether a checkpoint's weights are really there, seen from the heads of their files before anything is started."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

from analysis.errors import InputError
from analysis.lfs import POINTED, is_pointer

# In this order transformers looks for them, and for nothing else.
WHOLE = ("model.safetensors", "pytorch_model.bin")
INDEX = tuple(f"{name}.index.json" for name in WHOLE)
LONGEST_HEADER = 100_000_000  # bytes, as safetensors itself has it
FLOATS = ("F64", "F32", "F16", "BF16")  # as safetensors calls the types that a model can be trained from
# Weights that are there and of another make.
OTHERS = {
    "*.gguf": "GGUF, llama.cpp's format",
    "adapter_model.*": "an adapter without its base's weights",
    "consolidated*": "the maker's own format",
    "*.safetensors": "safetensors under other names, without an index",
    "pytorch_model-*.bin": "shards without an index",
    "*.h5": "TensorFlow's format",
    "*.msgpack": "Flax's format",
    "*.pt*": "PyTorch's files under other names",
    "*.bin": "PyTorch's files under other names",
}
ADAPTER = "adapter_config.json"  # of peft


@dataclass(frozen=True)
class Stored:
    """A weight as the head of its file says it. dtype: as safetensors names it."""

    dtype: str
    shape: tuple[int, ...]


def check_weights(folder: Path) -> dict[str, Stored]:
    """Looks at every weight file of a Hugging Face checkpoint, and reads no weight.

    Returns the weights by name, of safetensors; nothing of PyTorch's files, which have no head to read. Raises
    InputError for a folder without weights, a file or weight that an index names and that is missing, and a file that
    is cut off.
    """
    files, index = _files(folder)
    found: dict[str, Stored] = {}
    for file in files:
        stored = _check(file)
        if index is not None and file.suffix == ".safetensors":
            _refuse_missing(index, file, stored)
        found |= stored
    return found


def refuse_adapter(folder: Path) -> None:
    """Raises InputError for the folder of an adapter: beside it, libraries take another model than the folder's."""
    if (folder / ADAPTER).is_file():
        raise InputError(
            f"model.path={folder}: holds an adapter ({ADAPTER}), which is learnt beside a model; merge it into its"
            " base (peft's merge_and_unload, then save_pretrained) and give that folder"
        )


def refuse_pointers(folder: Path) -> None:
    """Raises InputError where a file of a checkpoint is a Git LFS pointer: cloned, and not fetched."""
    for file in sorted(folder.iterdir()):
        if file.is_file() and is_pointer(file):
            raise InputError(f"{file}: {POINTED}")


def _files(folder: Path) -> tuple[list[Path], dict[str, str] | None]:
    """The weight files, and weight -> file where an index says so."""
    for whole, index in zip(WHOLE, INDEX, strict=True):
        if os.path.lexists(folder / whole):  # a link to nowhere is told as one
            return [folder / whole], None
        if (folder / index).is_file():
            named = _read_index(folder / index)
            return [folder / name for name in sorted(set(named.values()))], named
    there = [f"{file.name} ({what})" for pattern, what in OTHERS.items() for file in sorted(folder.glob(pattern))[:1]]
    instead = f"; {there[0]} cannot be read" if there else ""
    raise InputError(
        f"model.path={folder}: holds no weights; expected {WHOLE[0]}, or shards with {INDEX[0]} (or {WHOLE[1]})"
        f"{instead}"
    )


def _read_index(file: Path) -> dict[str, str]:
    try:
        named = json.loads(file.read_text())["weight_map"]
    except (OSError, ValueError, KeyError, TypeError):
        named = None
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise InputError(f"{file}: not an index of weights (a JSON object with weight_map)")
    return named


def _refuse_missing(index: dict[str, str], file: Path, stored: dict[str, Stored]) -> None:
    missing = [name for name, of in index.items() if of == file.name and name not in stored]
    if missing:
        raise InputError(f"{file}: does not hold {missing[0]}, which the index says it does; download it again")


def _check(file: Path) -> dict[str, Stored]:
    """What the head of a file says that it holds; nothing where it has none."""
    try:
        size = file.stat().st_size
        with open(file, "rb") as stream:
            head = stream.read(64)
            if file.suffix == ".safetensors":
                return _check_safetensors(file, head, size=size, read=stream.read)
            if head.startswith(b"PK") and not zipfile.is_zipfile(file):  # its list of contents stands at the end
                raise InputError(f"{file}: cut off or damaged; download it again")
            if not head.startswith((b"PK\x03\x04", b"\x80\x02")):  # a zip archive, or torch's old pickle
                raise InputError(f"{file}: not a file of torch weights")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    return {}


def _check_safetensors(file: Path, head: bytes, *, size: int, read) -> dict[str, Stored]:
    """The format is 8 bytes with the header's length, a JSON header with every tensor's span, and the tensors."""
    length = int.from_bytes(head[:8], "little")
    if len(head) < 8 or not 0 < length <= LONGEST_HEADER or 8 + length > size:
        raise InputError(f"{file}: not a file of safetensors, or cut off; download it again")
    try:
        header = json.loads((head[8:] + read(max(0, length - len(head) + 8)))[:length])
        header.pop("__metadata__", None)
        end = max((one["data_offsets"][1] for one in header.values()), default=0)
        stored = {name: Stored(one["dtype"], tuple(one["shape"])) for name, one in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise InputError(f"{file}: its header is no header of safetensors; download it again") from None
    if size != 8 + length + end:
        raise InputError(
            f"{file}: {size} bytes where its header promises {8 + length + end}: cut off or damaged; download it again"
        )
    return stored
