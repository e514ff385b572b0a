"""Where a model is, its tokenizer, and what ends a completion."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from analysis.errors import InputError

LAB_BASE = Path(__file__).parent / "lab" / "base_model"


def resolve_model(path: str | Path) -> Path:
    """The checkpoint folder of `path`; "lab:base" is the embedded base model. Raises InputError if it cannot be a model."""
    folder = LAB_BASE if str(path) == "lab:base" else Path(path)
    if not folder.is_dir():
        raise InputError(f"model.path={path}: no such folder; expected a Hugging Face checkpoint, or lab:base")
    try:
        json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"model.path={path}: config.json is not readable ({error}); expected a Hugging Face checkpoint") from None
    if not end_token_ids(folder):
        raise InputError(f"model.path={path}: neither generation_config.json, config.json nor the tokenizer names an end token (eos_token_id)")
    return folder


@lru_cache(maxsize=8)
def load_tokenizer(path: str | Path):
    """The tokenizer of `resolve_model(path)`."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(resolve_model(path))


def end_token_ids(path: str | Path) -> tuple[int, ...]:
    """Every token that ends a completion: of the generation config, the config and the tokenizer, each once."""
    folder = LAB_BASE if str(path) == "lab:base" else Path(path)
    found: list[int] = []
    for name in ("generation_config.json", "config.json"):
        file = folder / name
        given = json.loads(file.read_text()).get("eos_token_id") if file.is_file() else None
        found += given if isinstance(given, list) else [given] if given is not None else []
    if not found:
        from transformers import AutoTokenizer

        eos = AutoTokenizer.from_pretrained(folder).eos_token_id
        found += [eos] if eos is not None else []
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=8)
def model_identity(folder: Path) -> str:
    """The checkpoint's name and 12 hex digits of its weights and config, so that two sides that differ can be told in records.

    Of a weight file, size and the first and last MiB are hashed: enough to tell checkpoints apart, and instant for large ones.
    """
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for file in sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin")):
        size = file.stat().st_size
        with open(file, "rb") as stream:
            digest.update(f"{file.name}:{size}".encode() + stream.read(1 << 20))
            stream.seek(max(0, size - (1 << 20)))
            digest.update(stream.read())
    return f"{folder.name}@{digest.hexdigest()[:12]}"
