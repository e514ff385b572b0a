"""Names of the Hugging Face hub: models "OWNER/NAME[@REVISION]", data sets "OWNER/NAME[@REVISION]:[CONFIG/]SPLIT".

What is in the hub's cache (HF_HOME) is used as it is, without asking the hub: so all processes of a run, and a run that
is resumed, read the same revision, with or without a network. What is not there is downloaded into that cache.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from analysis.errors import InputError

log = logging.getLogger(__name__)

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_NAME = re.compile(rf"(?P<repo>{_PART}/{_PART})(@(?P<revision>[\w./-]+))?(:((?P<config>[\w.-]+)/)?(?P<split>[\w.-]+))?")
MODEL_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
DATA_FILES = ["*.parquet", "*.jsonl", "*.ndjson", "*.json", "*.csv", "*.tsv", "*.gz"]
DATA_CARD = "README.md"

_seen: dict[str, str] = {}  # repository -> revision, of all that this process has read


@dataclass(frozen=True)
class Name:
    """A repository of the hub, and a part of its data.

    repo: owner/name.
    revision: None: main, of the cache, else of the hub.
    config: of a data set; None: its only one.
    split: of a data set.
    """

    repo: str
    revision: str | None = None
    config: str | None = None
    split: str | None = None

    @classmethod
    def read(cls, text: str) -> Name:
        """Raises ValueError for what is no name."""
        found = _NAME.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no name of the hub")
        return cls(found["repo"], found["revision"], found["config"], found["split"])


def is_name(text: str) -> bool:
    """Whether a text could name a model of the hub.

    >>> is_name("Qwen/Qwen2.5-0.5B"), is_name("openai/gsm8k:train"), is_name("runs/a/final"), is_name("file.jsonl")
    (True, False, False, False)
    """
    found = _NAME.fullmatch(text)
    return found is not None and found["split"] is None


def is_data_name(text: str) -> bool:
    """Whether a text could name a split of a data set of the hub.

    >>> is_data_name("openai/gsm8k:train"), is_data_name("openai/gsm8k:main/test"), is_data_name("lab:countdown")
    (True, True, False)
    """
    found = _NAME.fullmatch(text)
    return found is not None and found["split"] is not None


def revisions() -> dict[str, str]:
    """The revision of every repository that this process has read."""
    return dict(_seen)


def snapshot(name: Name, *, kind: str) -> Path:
    """The folder of a repository in the hub's cache, downloaded if it is not there. Its name is the revision.

    Raises InputError where it is neither in the cache nor to be had.

    kind: "model" or "dataset".
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = MODEL_FILES if kind == "model" else [*DATA_FILES, DATA_CARD]
    at: dict[str, Any] = {"repo_type": kind, "revision": name.revision}
    try:
        folder = Path(snapshot_download(name.repo, local_files_only=True, **at))
    except (LocalEntryNotFoundError, HFValidationError, FileNotFoundError, ValueError):
        try:
            folder = Path(snapshot_download(name.repo, allow_patterns=patterns, **at))
        # An OSError is what a network that is not there becomes.
        except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError, ValueError) as error:
            raise InputError(
                f"{name.repo}: no such file or folder here, not in the hub's cache ({constants.HF_HUB_CACHE}), and not"
                f" to be had from the Hugging Face hub ({_first_line(error)}); fetch it where there is a network"
                f" (hf download {name.repo}{' --repo-type dataset' if kind == 'dataset' else ''}) and copy the cache,"
                " or give a path"
            ) from None
    if _seen.get(name.repo) != folder.name:
        log.info("%s: revision %s of the Hugging Face hub", name.repo, folder.name)
    _seen[name.repo] = folder.name
    return folder


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].removeprefix("Got: ")[:160]


def data_files(text: str) -> list[Path]:
    """The files of a split of a data set of the hub, in order. Raises InputError.

    Which they are is said by the data set's card; where it says nothing, by the names of files and folders, which then
    have to hold the split's name. Without a config in the name it is the card's default, else its first one, and a line
    of the log says which.
    """
    name = Name.read(text)
    folder = snapshot(name, kind="dataset")
    patterns = _patterns(name, _configs(folder), text=text)
    relative = {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}
    data = {path: file for path, file in relative.items() if any(fnmatch(path, form) for form in DATA_FILES)}
    chosen = [file for path, file in data.items() if any(fnmatch(path, form) for form in patterns)]
    if not chosen:
        there = ", ".join(list(data)[:6]) or "no data files"
        raise InputError(f"{text}: no files of this split in revision {folder.name[:12]}; there are {there}")
    return chosen


def _configs(folder: Path) -> list[dict[str, Any]]:
    """What the data set's card says of its configs; nothing where there is no card, or none that can be read."""
    import yaml

    card = folder / DATA_CARD
    parts = card.read_text(encoding="utf-8").split("---\n", 2) if card.is_file() else []
    if len(parts) < 3 or parts[0].strip():
        return []
    try:
        metadata = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return []
    configs = metadata.get("configs") if isinstance(metadata, dict) else None
    return [one for one in configs or [] if isinstance(one, dict) and "config_name" in one and "data_files" in one]


def _patterns(name: Name, configs: list[dict[str, Any]], *, text: str) -> list[str]:
    """Patterns of the split's files."""
    split = name.split or "train"
    if not configs:
        config = f"{name.config}/" if name.config else ""
        return [
            f"{config}{split}.*",
            f"{config}{split}-*",
            f"{config}*/{split}.*",
            f"{config}*/{split}-*",
            f"{config}{split}/*",
        ]
    names = [str(one["config_name"]) for one in configs]
    if name.config is not None and name.config not in names:
        raise InputError(f"{text}: the data set has no config {name.config}; it has {', '.join(names)}")
    default = next((one for one in configs if one.get("default") or one["config_name"] == "default"), configs[0])
    config = next((one for one in configs if one["config_name"] == name.config), default)
    if name.config is None and len(configs) > 1:
        log.warning("%s: config %s of %s", text, config["config_name"], ", ".join(names))
    files = config["data_files"]
    entries = files if isinstance(files, list) else [files]
    by_split: dict[str, list[str]] = {}
    for entry in entries:
        # A plain path stands for the training split.
        of_split, paths = (entry["split"], entry["path"]) if isinstance(entry, dict) else ("train", entry)
        by_split.setdefault(str(of_split), []).extend(paths if isinstance(paths, list) else [paths])
    if split not in by_split:
        raise InputError(f"{text}: config {config['config_name']} has no split {split}; it has {', '.join(by_split)}")
    return by_split[split]
