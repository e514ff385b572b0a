"""What makes two runs the same: the hash of their settings, and the hash of the weights that came out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from explore_rl.config.schema import Config

# What a run is called, where it is kept and how it is watched moves no result; the seed is what runs differ in.
LEFT_OUT = {"name", "seed", "tracking"}
LEFT_OUT_OF_RUN = {"output", "tracker", "keep_checkpoints"}


def settings_hash(config: Config) -> str:
    """16 hex digits of the resolved settings without seed, name and place.

    Two runs of one hash differ in nothing but the seed, as far as their recipes say.
    """
    settings = {section: value for section, value in asdict(config).items() if section not in LEFT_OUT}
    settings["run"] = {key: value for key, value in settings["run"].items() if key not in LEFT_OUT_OF_RUN}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def weights_hash(folder: Path) -> str:
    """16 hex digits of every byte of a checkpoint's weights."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
