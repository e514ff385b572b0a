"""Around the loading of libraries nothing is looked through for garbage, and what it was before it is afterwards."""

import gc
import importlib
import importlib.metadata
import sys

import pytest
import torch

from explore_rl.cluster.starts import absent, loading, packages_distributions, uncompiled


@pytest.mark.parametrize("was_on", [True, False])
def test_garbage_is_collected_afterwards_as_before(was_on):
    (gc.enable if was_on else gc.disable)()
    try:
        with pytest.raises(ImportError), loading():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() == was_on
    finally:
        gc.enable()
        gc.unfreeze()


def installed(folder, name, record, top_level=None):
    info = folder / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n\nname: no header\n")
    if record is not None:
        (info / "RECORD").write_text(record)
    if top_level is not None:
        (info / "top_level.txt").write_text(top_level)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="from 3.12 on Python's own is used")
def test_packages_are_of_the_distributions_that_python_says(tmp_path, monkeypatch):
    installed(tmp_path, "declared", "hidden/a.py,,\n", top_level="one\ntwo\n")
    installed(
        tmp_path,
        "Inferred_Name",
        "pkg/__init__.py,sha256=x,3\npkg/deep/b.py,,\nalone.py,,\n../bin/x.py,,\npkg/c.so,,\n",
    )
    installed(tmp_path, "shared", "pkg/plugin.py,,\ndata/readme.txt,,\n.py,,\n")
    installed(tmp_path, "quoted", '"odd,name/a.py",,\n"plain.py",,\n')
    installed(tmp_path, "without", None)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert packages_distributions() == importlib.metadata.packages_distributions() != {}
    with loading():
        assert importlib.metadata.packages_distributions is packages_distributions
    assert importlib.metadata.packages_distributions is not packages_distributions


def test_a_module_is_absent_for_a_while(monkeypatch):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with absent("wave", "json"), pytest.raises(ImportError):
        importlib.import_module("wave")
    loaded = importlib.import_module("wave")
    with absent("wave"):
        assert importlib.import_module("wave") is loaded


@pytest.mark.parametrize("disabled", ["1", ""])
def test_what_would_not_be_compiled_is_left_as_it_is(monkeypatch, disabled):
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", disabled)
    real = torch.compile
    with uncompiled():
        assert (torch.compile is not real) == bool(disabled)
        if disabled:
            assert torch.compile(len) is len and torch.compile(dynamic=True)(len) is len
    assert torch.compile is real
