"""What `train` refuses, `--check` refuses in the same words, before anything starts; and a run has one process."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from analysis.errors import InputError
from explore_rl.cli import main
from explore_rl.config.loading import load_config, to_yaml
from explore_rl.experiments import runs
from explore_rl.experiments.preflight import CHECKS, InputErrors, check
from explore_rl.experiments.resuming import finished, refuse_other_settings
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.files import held
from explore_rl.models import LAB_BASE
from explore_rl.parts import Parts

SMALL = [
    "problems.train=lab:countdown?level=3&split=train&size=12",
    "problems.heldout=null",
    "run.evaluate_every=0",
    "run.exact_every=0",
    "devices.device=cpu",
]
OTHER_CONFIGS = {
    "fewer_layers": {"num_hidden_layers": 2, "layer_types": ["full_attention"] * 2},
    "more_layers": {"num_hidden_layers": 4, "layer_types": ["full_attention"] * 4},
    "untied": {"tie_word_embeddings": False},
    "classifier": {"architectures": ["Qwen2ForSequenceClassification"]},
    "encoder": {"architectures": ["BertForMaskedLM"], "model_type": "bert"},
    "both": {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"},
    "scaled": {"logit_scale": 0.5},
    "quantized": {"quantization_config": {"quant_method": "fp8"}},
}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The laboratory's model, and copies with one fault each."""
    place = tmp_path_factory.mktemp("models")

    def copy(name):
        shutil.copytree(LAB_BASE, place / name)
        return place / name

    [weights] = [p.name for p in LAB_BASE.glob("*.safetensors")]
    (copy("pointer") / weights).write_bytes(LFS)
    cut = copy("cut") / weights
    cut.write_bytes(cut.read_bytes()[:-100])
    text = copy("text") / weights
    text.write_text("no weights at all, and longer than eight bytes")
    (copy("none") / weights).unlink()
    stored = load_file(LAB_BASE / weights)
    one = "model.layers.1.mlp.up_proj.weight"
    for name, file in {"shard": "model-2.safetensors", "lies": "model-1.safetensors"}.items():
        (copy(name) / weights).rename(place / name / "model-1.safetensors")
        index = dict.fromkeys(stored, "model-1.safetensors") | {"of.no.shard": file}
        (place / name / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    save_file({name: value for name, value in stored.items() if name != one}, copy("missing") / weights)
    save_file(stored | {one: torch.zeros(380, 128)}, copy("shape") / weights)
    save_file(stored | {one: stored[one].to(torch.float8_e4m3fn)}, copy("float8") / weights)
    save_file(stored | {"v_head.weight": torch.zeros(3)}, copy("beside") / weights)
    outlived = {"model.layers.0.self_attn.rotary_emb.cos_cached": torch.zeros(3)}  # of older libraries
    save_file(stored | outlived, copy("outlived") / weights)
    (copy("adapter") / "adapter_config.json").write_text("{}")
    (copy("gguf") / weights).rename(place / "gguf" / "model.gguf")
    for name, settings in OTHER_CONFIGS.items():
        file = copy(name) / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    tokenizer = copy("tokenizer") / "tokenizer.json"
    content = json.loads(tokenizer.read_text())
    content["model"]["vocab"] |= {f"more{i}": 21 + i for i in range(5)}
    tokenizer.write_text(json.dumps(content))
    (copy("untold") / "tokenizer.json").unlink()
    (copy("pointed") / "tokenizer.json").write_bytes(LFS)
    archive = copy("archive")
    (archive / weights).unlink()
    (archive / "pytorch_model.bin").write_bytes(b"PK\x03\x04 and no list of contents")
    end = copy("end")
    for name in ("config.json", "generation_config.json"):
        if (end / name).exists():
            settings = json.loads((end / name).read_text())
            (end / name).write_text(json.dumps(settings | {"eos_token_id": 99_999}))
    return place


REFUSED = [  # settings, what is said
    (["learner.ranks=64"], "too few CPUs for the layout"),
    (["rollout.tensor_parallel=2"], "needs GPUs"),
    (["devices.colocate=true"], "has no effect on a CPU"),
    (["devices.device=cuda"], "this machine has no GPU"),
    (["rollout.max_new_tokens=60"], "rollout.max_new_tokens=60: with the longest prompt of"),
    (["rollout.max_new_tokens=3072"], "rollout.max_new_tokens=3072: with the longest prompt of"),
    (["problems.train=LONG"], "tokens, the model 64 positions, so that no completion"),
    (["model.max_prompt_tokens=3"], "longer than 3 tokens"),
    (["model.path=MODELS/pointer"], "a Git LFS pointer"),
    (["model.path=MODELS/cut"], "cut off or damaged"),
    (["model.path=MODELS/text"], "not a file of safetensors, or cut off"),
    (["model.path=MODELS/none"], "holds no weights"),
    (["model.path=MODELS/shard"], "model-2.safetensors: cannot be read"),
    (["model.path=MODELS/end"], "end token 99999 is outside the model's vocabulary"),
    (["model.path=MODELS/pointed"], "tokenizer.json: a Git LFS pointer"),
    (["model.path=MODELS/archive"], "pytorch_model.bin: cut off or damaged"),
    (["model.path=MODELS/lies"], "does not hold of.no.shard, which the index says it does"),
    (["model.path=MODELS/missing"], "holds no model.layers.1.mlp.up_proj.weight, which"),
    (["model.path=MODELS/shape"], "up_proj.weight is [380, 128], by config.json [384, 128]"),
    (["model.path=MODELS/scaled"], "changes its logits after the projection (logit_scale)"),
    (["model.path=MODELS/float8"], "is stored as F8_E4M3: quantized weights"),
    (["model.path=MODELS/adapter"], "merge it into its base"),
    (["model.path=MODELS/gguf"], "model.gguf (GGUF, llama.cpp's format) cannot be read"),
    (["model.path=MODELS/fewer_layers"], "no place for model.layers.2.input_layernorm.weight (and 11 more)"),
    (["model.path=MODELS/more_layers"], "holds no model.layers.3.input_layernorm.weight (and 11 more)"),
    (["model.path=MODELS/untied"], "holds no lm_head.weight"),
    (["model.path=MODELS/classifier"], "config.json says Qwen2ForSequenceClassification"),
    (["model.path=MODELS/encoder"], "config.json says BertForMaskedLM; expected a causal language model"),
    (["model.path=MODELS/both"], "t5 has an encoder and a decoder"),
    (["model.path=MODELS/quantized"], "config.json has quantization_config"),
    (["model.path=MODELS/tokenizer"], "has a vocabulary of 26, the model one of 21"),
    (["model.path=MODELS/untold"], "holds no tokenizer"),
    (["model.path=nowhere"], "no such folder"),
    (["model.template=chat"], "has no chat template"),
    (["model.template=nowhere.txt"], "neither a name"),
    (["problems.train=null"], "problems.train: there is nothing to train on"),
    (["problems.train=nowhere.jsonl"], "nowhere.jsonl"),
    (["problems.heldout=nowhere.jsonl", "run.evaluate_every=1"], "nowhere.jsonl"),
    (["run.evaluations=[{problems: nowhere.jsonl}]"], "nowhere.jsonl"),
    (["run.evaluations=[{problem: x}]"], "unknown key problem; did you mean problems?"),
    (["run.evaluations=[{problems: 'lab:countdown', n: 0}]"], "n=0: expected a whole number"),
    (["run.evaluations=[{problems: 'lab:countdown?size=2', max_new_tokens: 60}]"], "max_new_tokens of"),
    (['run.evaluations=[{problems: "lab:countdown?size=2", verifier: "~/nowhere.py:f"}]'], "nowhere.py"),
    (['run.evaluations=[{problems: "lab:countdown?size=2", verifier: nothing}]'], "unknown verifier 'nothing'"),
    (["run.evaluations=[{problems: 'lab:countdown?size=2', temperature: 0.001}]"], "0 (greedy), or a number"),
    (["run.tracker=trackio"], "run.tracker=trackio: it is not installed; pip install trackio"),
    (["run.tracker=wandb", "WANDB_MODE=nonsense"], "a WANDB_ variable is refused by wandb"),
    (["run.tracker=wandb", "tracking.project=a/b"], "refused by wandb: Invalid project name 'a/b'"),
    (["run.exact_every=1", "run.exact_problems=lab:nothing"], "unknown laboratory problems"),
    (["run.exact_every=1", "run.exact_problems=real:steps?size=2"], "its right answers cannot be listed"),
    (["learner.lora={rank: 2, targets: [query]}"], "the model has no linear layer of that name"),
    (["strategies=[{name: nothing}]"], "no strategy 'nothing'"),
    (["strategies=[{name: 'mine.py:Mine'}]"], "mine.py"),
    (["strategies=[{name: likelihood}]", "problems.train=PLAIN"], "trace"),
    (["run.output=/proc/x"], "run.output=/proc/x: cannot be written"),
    (["run.output=/dev/null"], "run.output=/dev/null: cannot be written"),
    (["verifiers.options={math: {nothing: 1}}"], "unknown option 'nothing'"),
    (["devices.ray_address=127.0.0.1:1"], "no Ray cluster answers there"),
    (["run.output=BEGUN"], "holds a run already"),
]


@pytest.mark.parametrize(("overrides", "said"), REFUSED, ids=lambda v: v[0] if isinstance(v, list) else "")
def test_check_and_train_give_the_same_answer(capsys, tmp_path, monkeypatch, models, overrides, said):
    def starts(*_, **__):
        raise AssertionError("something was started")

    monkeypatch.setattr(runs, "Actors", starts)
    monkeypatch.setitem(sys.modules, "trackio", None)  # whether it is installed here or not
    monkeypatch.chdir(tmp_path)
    for variable in [text for text in overrides if text.startswith("WANDB_")]:
        monkeypatch.setenv(*variable.split("="))
    overrides = [text for text in overrides if not text.startswith("WANDB_")]
    plain = tmp_path / "plain.jsonl"
    plain.write_text('{"id": "a", "prompt": "1 2=3:", "answer": "3", "verifier": "math"}\n' * 1)
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "config.yaml").write_text("name: an earlier run")
    (begun / "metrics.jsonl").write_text('{"step": 0}\n')
    long = tmp_path / "long.jsonl"
    long.write_text(plain.read_text().replace("1 2=3:", "1 " * 69 + "2=3:"))
    names = {"MODELS": str(models), "PLAIN": str(plain), "LONG": str(long), "BEGUN": str(begun)}
    for word, value in names.items():
        overrides = [text.replace(word, value) for text in overrides]
    before = sorted(tmp_path.rglob("*"))
    lines = []
    for words in ([], ["--check"]):
        assert main(["train", "lab/grpo", *SMALL, *overrides, *words]) == 2
        lines.append([line for line in capsys.readouterr().err.splitlines() if "error: " in line])
    assert lines[0] == lines[1] and len(lines[0]) == 1 and said in lines[0][0], lines
    assert sorted(tmp_path.rglob("*")) == before


def test_every_check_has_a_case_above_or_is_of_a_resume():
    """A check that is added without a case would be one of which nobody knows that `--check` has it."""
    said = {"strategies", "layout", "model", "weights", "tokenizer", "template", "training", "evaluations"}
    said |= {"lengths", "together", "exact", "folder", "verifiers", "tracker", "lora"}
    assert {one.name for one in CHECKS} == said | {"content"}


def test_what_the_model_leaves_out_is_said_and_what_it_takes_is_not(models, caplog):
    told_of = ["v_head.weight is no part of the model, and the learner leaves it out"]
    for folder, said in ((models / "beside", told_of), (models / "outlived", []), (LAB_BASE, [])):
        caplog.clear()
        check(load_config("lab/grpo", [*SMALL, f"model.path={folder}"]))
        told = [record.getMessage().partition(": ")[2] for record in caplog.records]
        assert [text for text in told if "no part of" in text] == said


def test_all_faults_are_told_together_and_none_twice():
    config = load_config("lab/grpo", [*SMALL, "model.path=nowhere", "problems.train=none.jsonl", "learner.ranks=64"])
    with pytest.raises(InputErrors) as caught:
        check(config)
    assert [str(error).split(":")[0].split("=")[0] for error in caught.value.errors] == [
        "too few CPUs for the layout",
        "model.path",
        "none.jsonl",
    ]


# --- one process a run ------------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from pathlib import Path
from explore_rl.files import held
with held(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.read()
"""


def begun(path, overrides=(), steps=3, final=False):
    config = load_config("lab/grpo", [*SMALL, f"run.output={path}", f"run.steps={steps}", *overrides])
    folder = RunFolder.create(path, to_yaml(config), environment={"problems": {}})
    for step in range(steps if final else steps - 1):
        folder.append("metrics.jsonl", {"step": step, "pass@1": 0.25})
    if final:
        (path / "final").mkdir()
        (path / "final" / "config.json").write_text("{}")
    return config


def test_a_second_process_on_a_run_is_refused_and_a_dead_one_lets_go(tmp_path, capsys):
    begun(tmp_path / "run")
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        assert main(["resume", str(tmp_path / "run")]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert f"another process has this run (process {other.pid} on " in said
    finally:
        other.kill()
        other.wait()
    with held(tmp_path / "run", "run"):
        pass


def test_two_processes_do_not_write_one_file_of_samples(tmp_path):
    Parts(tmp_path / "s.parquet", {"n": 1}).holding.close()
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "s.parquet.parts")]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"another process has this folder of parts .process {other.pid} on"):
            Parts(tmp_path / "s.parquet", {"n": 1})
    finally:
        other.kill()
        other.wait()
    Parts(tmp_path / "s.parquet", {"n": 1}).remove()
    assert not (tmp_path / "s.parquet.parts").exists()


# --- going on ---------------------------------------------------------------------------------------------------------


def test_a_finished_run_is_resumed_at_once(tmp_path, capsys):
    begun(tmp_path / "run", final=True)
    loaded = {name for name in sys.modules if name.startswith("explore_rl.training.trainer")}
    assert main(["resume", str(tmp_path / "run")]) == 0
    assert "finished already, 3 of 3 steps" in capsys.readouterr().out
    assert {name for name in sys.modules if name.startswith("explore_rl.training.trainer")} == loaded
    assert finished(load_config(tmp_path / "run" / "config.yaml", ["run.steps=4"])) is None
    assert main(["resume", str(tmp_path / "run"), "learner.learning_rate=1e-3"]) == 2
    assert "learner.learning_rate was 0.0003 and is now 0.001" in capsys.readouterr().err
    assert main(["resume", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_what_does_not_change_the_mathematics_may_change_when_asked(tmp_path):
    config = begun(tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    changed = load_config("lab/grpo", [*SMALL, "run.steps=3", f"run.output={tmp_path}/run", "rollout.max_num_seqs=8"])
    with pytest.raises(InputError, match="max_num_seqs was 512 and is now 8.*--allow-changed rollout.max_num_seqs"):
        refuse_other_settings(changed, folder)
    assert refuse_other_settings(changed, folder, allowed=["rollout.max_num_seqs"]) == {
        "rollout.max_num_seqs": [512, 8]
    }
    assert refuse_other_settings(config, folder) == {}
    with pytest.raises(InputError, match="--allow-changed seed: changes what is learnt"):
        refuse_other_settings(config, folder, allowed=["seed"])


def test_the_advice_after_a_fault_is_one_that_can_be_followed(tmp_path):
    assert "nothing was begun" in runs.how_to_go_on(tmp_path / "run")
    RunFolder.create(tmp_path / "run", "name: x", environment={})
    assert "the same command begins anew" in runs.how_to_go_on(tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    folder.append("metrics.jsonl", {"step": 0})
    assert "begins again from step 0" in runs.how_to_go_on(tmp_path / "run")
    folder.complete_checkpoint(5, folder.begin_checkpoint(5), keep=2)
    assert "done by step 5 is kept" in runs.how_to_go_on(tmp_path / "run")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left"), "the disk is full"),
        (OSError(errno.EDQUOT, "Quota"), "the disk is full"),
        (OSError(errno.ENOSPC, "No space left", "/tmp/ray/x"), "/tmp/ray/x: the disk is full"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "RUN/checkpoints/x"),
            "No such file or directory",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/elsewhere"), None),
        (
            RuntimeError("PytorchStreamWriter failed writing file data/7: file write failed"),
            "cannot be written: Pytorch",
        ),
        (RuntimeError("anything else"), None),
    ],
)
def test_only_a_full_disk_is_called_one(tmp_path, error, said):
    if getattr(error, "filename", None):
        error.filename = error.filename.replace("RUN", str(tmp_path))
    why = runs.cannot_write(error, tmp_path)
    assert (why is None) if said is None else (said in why and ("disk is full" in why) == ("full" in said))


def test_a_writer_that_hides_a_full_disk_is_found_out(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "the disk is full" in runs.cannot_write(RuntimeError("[enforce fail at inline_container.cc:602]"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_projects_recipes_lie_in_the_package_and_need_no_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Path(load_config("lab/mixture_policy").run.output).is_absolute() is False
    assert main(["train", "lab/grpo", *SMALL, "--check"]) == 0
