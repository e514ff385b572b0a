"""Names of the hub: read from a cache of its layout, with the revision; one line where they are not there."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.errors import InputError
from explore_rl.fetching import hub
from explore_rl.models import LAB_BASE, load_tokenizer, model_identity, resolve_model
from explore_rl.problems.loading import load_problems

REVISION = "0123456789abcdef0123456789abcdef01234567"
CARD = """---
configs:
- config_name: main
  data_files:
  - {split: train, path: main/train-*}
  - {split: test, path: [main/test-*]}
- config_name: socratic
  data_files:
  - {split: train, path: socratic/train-*}
---
# A data set
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The hub's cache, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def repository(cache, kind, name, revision=REVISION):
    """The folder of a snapshot of a repository, as the hub lays it out."""
    folder = cache / f"{kind}s--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(revision)
    snapshot = folder / "snapshots" / revision
    snapshot.mkdir(parents=True)
    return snapshot


def questions(file, count, word):
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"question": f"{word} {i}?", "answer": f"It is {i}.\n#### {i}"} for i in range(count)]
    pq.write_table(pa.Table.from_pylist(rows), file)


def test_a_model_of_the_hub_is_read_from_its_cache_and_its_revision_recorded(cache):
    snapshot = repository(cache, "model", "owner/tiny")
    shutil.copytree(LAB_BASE, snapshot, dirs_exist_ok=True)
    assert resolve_model("owner/tiny") == snapshot == resolve_model(f"owner/tiny@{REVISION}")
    assert load_tokenizer("owner/tiny").decode(load_tokenizer("owner/tiny")("1+2").input_ids) == "1+2"
    assert model_identity(resolve_model("owner/tiny")).startswith(f"{REVISION}@")
    assert hub.revisions()["owner/tiny"] == REVISION


def test_a_folder_of_that_path_comes_before_the_hub(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(LAB_BASE, tmp_path / "owner" / "tiny")
    assert str(resolve_model("owner/tiny")) == "owner/tiny"


def test_a_data_set_of_the_hub_is_read_by_its_card(cache, caplog):
    snapshot = repository(cache, "dataset", "owner/gsm8k")
    (snapshot / "README.md").write_text(CARD)
    questions(snapshot / "main" / "train-00000-of-00002.parquet", 3, "train")
    questions(snapshot / "main" / "train-00001-of-00002.parquet", 2, "more")
    questions(snapshot / "main" / "test-00000-of-00001.parquet", 1, "test")
    questions(snapshot / "socratic" / "train-00000-of-00001.parquet", 4, "socratic")
    train = load_problems("owner/gsm8k:train")
    assert [p.prompt for p in train] == ["train 0?", "train 1?", "train 2?", "more 0?", "more 1?"]
    assert len({p.id for p in train}) == 5 and train[1].answer == "1"
    assert "config main of main, socratic" in caplog.text
    assert [p.prompt for p in load_problems("owner/gsm8k:test")] == ["test 0?"]
    assert len(load_problems("owner/gsm8k:socratic/train")) == 4
    assert len(load_problems(f"owner/gsm8k@{REVISION}:main/train")) == 5
    for name, said in [
        ("owner/gsm8k:validation", "config main has no split validation; it has train, test"),
        ("owner/gsm8k:other/train", "has no config other; it has main, socratic"),
    ]:
        with pytest.raises(InputError, match=said):
            load_problems(name)


def test_without_a_card_files_are_found_by_their_names(cache):
    snapshot = repository(cache, "dataset", "owner/plain")
    rows = [json.dumps({"problem": f"{i}?", "answer": str(i)}) for i in range(3)]
    (snapshot / "test.jsonl").write_text("\n".join(rows) + "\n")
    assert len(load_problems("owner/plain:test")) == 3
    with pytest.raises(InputError, match=r"owner/plain:train: no files of this split in revision 0123.*test.jsonl"):
        load_problems("owner/plain:train")


@pytest.mark.parametrize(
    ("function", "name", "fetch"),
    [
        (resolve_model, "owner/missing", "hf download owner/missing)"),
        (load_problems, "owner/missing:train", "hf download owner/missing --repo-type dataset)"),
    ],
)
def test_offline_one_line_says_what_to_do(cache, function, name, fetch):
    with pytest.raises(InputError) as caught:
        function(name)
    said = str(caught.value)
    assert said.startswith("owner/missing: no such file or folder here, not in the hub's cache")
    assert fetch in said and "\n" not in said
