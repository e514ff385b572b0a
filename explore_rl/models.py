"""Where a model is, its tokenizer, and what ends a completion."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from analysis.errors import InputError
from explore_rl.fetching import hub
from explore_rl.fetching.catalogue import CATALOGUE, folder
from explore_rl.weight_files import refuse_adapter, refuse_pointers

if TYPE_CHECKING:
    from transformers import PretrainedConfig

LAB_BASE = Path(__file__).parent / "lab" / "base_model"
EMBEDDED = {"lab:base": LAB_BASE, "lab:worked": LAB_BASE.with_name("worked_model")}


def folder_of(model: str | Path) -> Path:
    """The folder of a model that may be named.

    "lab:base" and "lab:worked" are the embedded base models, "smollm2-135m" and its like those of the catalogue, and
    "OWNER/NAME", or "OWNER/NAME@REVISION", a model of the Hugging Face hub, unless a folder has that path.

    Raises InputError for a named model that is not here and cannot be had.
    """
    name = str(model)
    if name in EMBEDDED:
        return EMBEDDED[name]
    if name in CATALOGUE:
        return folder(name)
    if hub.is_name(name) and not Path(model).exists():
        return hub.snapshot(hub.Name.read(name), kind="model")
    return Path(model)


def resolve_model(path: str | Path) -> Path:
    """The checkpoint folder of `path`, which may be a name (`folder_of`).

    Raises InputError if the folder cannot be a model.
    """
    folder = folder_of(path)
    if not folder.is_dir():
        names = [*EMBEDDED, *CATALOGUE, "a name of the Hugging Face hub"]
        raise InputError(
            f"model.path={path}: no such folder; expected a Hugging Face checkpoint, {', '.join(names[:-1])}, or"
            f" {names[-1]}"
        )
    refuse_adapter(folder)
    if not (folder / "config.json").is_file():
        raise InputError(f"model.path={path}: holds no config.json; expected a Hugging Face checkpoint")
    refuse_pointers(folder)
    if not end_token_ids(folder):
        raise InputError(
            f"model.path={path}: neither generation_config.json, config.json nor the tokenizer names an end token"
            " (eos_token_id)"
        )
    return folder


@lru_cache(maxsize=8)
def load_tokenizer(path: str | Path) -> Any:
    """The tokenizer of `resolve_model(path)`. Raises InputError if the folder holds none that can be read."""
    return _read_tokenizer(resolve_model(path))


def load_model_config(path: str | Path) -> PretrainedConfig:
    """The transformers configuration of `resolve_model(path)`.

    Raises InputError if transformers does not know the kind of model.
    """
    load_transformers()
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    folder = resolve_model(path)
    try:
        with _no_docstrings():
            return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, StrictDataclassError) as error:
        raise InputError(
            f"model.path={path}: config.json is of no model that transformers can read: {_one_line(error)}"
        ) from None


def load_transformers() -> None:
    """Imports transformers, which then reads the thousands of files of its models once, and not twice.

    It looks for what they export to know what `from transformers import NAME` means, and again for its package
    `models`, where the same names have no "models." in front. A quarter of a second, in every process.
    """
    import transformers
    from transformers.utils import import_utils

    if "transformers.models" in sys.modules:
        return
    look = import_utils.define_import_structure
    package = Path(transformers.__file__).parent / "models" / "__init__.py"

    def found(path: str, prefix: str | None = None) -> dict[Any, dict[str, set[str]]]:
        return known_models() if prefix is None and Path(path) == package else look(path, prefix)

    import_utils.define_import_structure = cast(Any, found)
    try:
        importlib.import_module("transformers.models")
    finally:
        import_utils.define_import_structure = look


def known_models() -> dict[Any, dict[str, set[str]]]:
    """What transformers found in its package of models when it was imported, by names in that package.

    What an export needs -> module -> what it exports.
    """
    import transformers
    from transformers.utils import import_utils

    # Asked as it was then, so the answer is remembered; transformers has added its other modules to it.
    folder: Any = Path(transformers.__file__).parent / "models"
    known = import_utils.define_import_structure(folder, prefix="models")
    return {needs: _below_models(names) for needs, names in known.items()}


def _below_models(names: dict[str, set[str]]) -> dict[str, set[str]]:
    return {name.removeprefix("models."): of for name, of in names.items() if name.startswith("models.")}


@contextmanager
def _no_docstrings() -> Iterator[None]:
    """While it lasts, transformers' classes are imported without the docstrings that it would write for them.

    For that of a configuration it imports the code of its models, generation and torch's compiler: two seconds that a
    process without a model does not need.
    """
    writer: Any = importlib.import_module("transformers.utils.auto_docstring")
    write = writer.auto_class_docstring
    writer.auto_class_docstring = lambda described, **_: described
    try:
        yield
    finally:
        writer.auto_class_docstring = write


def end_token_ids(path: str | Path) -> tuple[int, ...]:
    """Every token that ends a completion, each once: those that the generation config and the config name together.

    If neither names one, it is the tokenizer's end token. Raises InputError.
    """
    folder = folder_of(path)
    end_tokens = _configured_end_tokens(folder / "generation_config.json")
    end_tokens += _configured_end_tokens(folder / "config.json")
    if not end_tokens:
        end_token = _read_tokenizer(folder).eos_token_id
        end_tokens += [end_token] if end_token is not None else []
    return tuple(dict.fromkeys(end_tokens))


def _configured_end_tokens(file: Path) -> list[int]:
    setting = _read_mapping(file).get("eos_token_id") if file.is_file() else None
    if setting is None:
        return []
    ids = setting if isinstance(setting, list) else [setting]
    if not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
        raise InputError(f"{file}: eos_token_id={setting!r}: expected a token id or a list of them")
    return ids


def _read_mapping(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: not readable as JSON: {_one_line(error)}") from None
    if not isinstance(content, dict):
        raise InputError(
            f"{file}: expected a JSON object, got {type(content).__name__}; is this a Hugging Face checkpoint?"
        )
    return content


def _read_tokenizer(folder: Path) -> Any:
    try:
        tokenizer = _tokenizer_class(folder).from_pretrained(folder)
    except Exception as error:
        # The tokenizers library raises bare Exception for a file that it cannot read.
        is_bare = type(error) is Exception
        if not is_bare and not isinstance(error, (OSError, ValueError, TypeError, LookupError, AttributeError)):
            raise
        raise InputError(
            f"{folder}: holds no tokenizer that transformers can read: {type(error).__name__}: {_one_line(error)}"
        ) from None
    # Where the tokenizer's files are missing, transformers silently makes one that knows next to nothing.
    of_kind = set(tokenizer.vocab_files_names.values())
    no_files = of_kind and not any((folder / name).exists() for name in {*of_kind, "tokenizer.json", "tekken.json"})
    if no_files or set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise InputError(
            f"{folder}: holds no tokenizer; expected tokenizer.json (or the vocabulary files) beside config.json"
        )
    return tokenizer


# What AutoTokenizer takes for these kinds of model. It would import the code of models and torch's compiler first.
TOKENIZERS = {"qwen2": "Qwen2Tokenizer", "qwen3": "Qwen2Tokenizer"}


def _tokenizer_class(folder: Path) -> Any:
    """The class that reads the folder's tokenizer."""
    load_transformers()
    import transformers

    own = folder / "tokenizer_config.json"
    if own.is_file() and (folder / "tokenizer.json").is_file() and (folder / "config.json").is_file():
        usual = TOKENIZERS.get(_read_mapping(folder / "config.json").get("model_type", ""))
        if usual is not None and _read_mapping(own).get("tokenizer_class") in (usual, f"{usual}Fast"):
            return getattr(transformers, usual)
    return transformers.AutoTokenizer


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


@lru_cache(maxsize=8)
def model_identity(folder: Path) -> str:
    """The checkpoint's name and 12 hex digits of its weights and config, so that records tell two models apart.

    Only the size and the first and last MiB of a weight file are hashed. That is enough to tell checkpoints apart, and
    instant for large ones.
    """
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for file in sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin")):
        size = file.stat().st_size
        with open(file, "rb") as stream:
            digest.update(f"{file.name}:{size}".encode() + stream.read(1 << 20))
            stream.seek(max(0, size - (1 << 20)))
            digest.update(stream.read())
    return f"{folder.name}@{digest.hexdigest()[:12]}"
