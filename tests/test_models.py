"""A folder that is no checkpoint is refused in one line, before anything starts."""

import json
import shutil

import pytest
import transformers
from transformers import AutoTokenizer
from transformers.utils.import_utils import define_import_structure

from analysis.errors import InputError
from explore_rl.models import EMBEDDED, end_token_ids, known_models, load_model_config, load_tokenizer, resolve_model


@pytest.fixture
def checkpoint(tmp_path):
    """The laboratory's base model without its weights, to be damaged."""
    return shutil.copytree(
        resolve_model("lab:base"), tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors")
    )


def refusal(function, path):
    with pytest.raises(InputError) as caught:
        function(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_whole_checkpoint_is_read(checkpoint):
    assert resolve_model(checkpoint) == checkpoint
    assert load_model_config(checkpoint).model_type == "qwen2"
    assert load_tokenizer(checkpoint).decode(load_tokenizer(checkpoint)("1+2").input_ids) == "1+2"


def test_a_tokenizer_is_the_one_that_transformers_would_choose(checkpoint):
    """Ours are read by their class, without all of the code that AutoTokenizer imports first."""
    ours, theirs = load_tokenizer(checkpoint), AutoTokenizer.from_pretrained(checkpoint)
    assert type(ours) is type(theirs)
    assert repr(ours) == repr(theirs)
    assert ours.backend_tokenizer.to_str() == theirs.backend_tokenizer.to_str()


def test_embedded_models_go_by_name():
    for name in EMBEDDED:
        assert load_tokenizer(name).decode(load_tokenizer(name)("1+2").input_ids) == "1+2"
    with pytest.raises(InputError, match="lab:bse: no such folder; expected a .*, lab:base, lab:worked, smollm2"):
        resolve_model("lab:bse")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", "[]", "config.json: expected a JSON object, got list"),
        ("config.json", "{", "config.json: not readable as JSON"),
        ("generation_config.json", "{", "generation_config.json: not readable as JSON"),
        ("generation_config.json", "3", "generation_config.json: expected a JSON object, got int"),
        ("generation_config.json", '{"eos_token_id": "end"}', "eos_token_id='end': expected a token id"),
    ],
)
def test_damaged_configs_are_named(checkpoint, name, content, said):
    (checkpoint / name).write_text(content)
    assert said in refusal(resolve_model, checkpoint)


def test_a_folder_without_config_or_no_folder_at_all(checkpoint):
    (checkpoint / "config.json").unlink()
    assert "holds no config.json" in refusal(resolve_model, checkpoint)
    assert "no such folder" in refusal(resolve_model, checkpoint / "nothing")


def test_an_unknown_kind_of_model(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"model_type": "nosuch"}))
    assert "nosuch" in refusal(load_model_config, checkpoint)


def test_a_missing_tokenizer_is_not_an_empty_one(checkpoint):
    for file in checkpoint.glob("tokenizer*"):
        file.unlink()
    assert "holds no tokenizer" in refusal(load_tokenizer, checkpoint)


@pytest.mark.parametrize("content", ["[", "{}", '{"added_tokens": []}'])
def test_a_damaged_tokenizer(checkpoint, content):
    (checkpoint / "tokenizer.json").write_text(content)
    assert "no tokenizer that transformers can read" in refusal(load_tokenizer, checkpoint)


def test_end_tokens_are_those_of_both_configs_or_else_the_tokenizers(checkpoint):
    (checkpoint / "generation_config.json").write_text('{"eos_token_id": [7, 19]}')
    assert end_token_ids(checkpoint) == (7, 19)
    (checkpoint / "generation_config.json").unlink()
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"eos_token_id": None}))
    assert end_token_ids(checkpoint) == (load_tokenizer("lab:base").eos_token_id,)


def test_what_transformers_found_once_is_what_it_would_find_again():
    assert known_models() == define_import_structure(transformers.__file__.replace("__init__", "models/__init__"))
