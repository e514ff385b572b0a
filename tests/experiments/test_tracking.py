"""A short real training into TensorBoard and wandb (offline), killed, resumed, and read back by their readers."""

import json
from pathlib import Path

import pytest

from explore_rl.config.loading import load_config

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600)]
REPOSITORY = Path(__file__).resolve().parents[2]


class Killed(BaseException):
    """Nothing that the run would catch on its way out."""


def in_tensorboard(folder):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (file,) = (folder / "tensorboard").glob("events.*")
    return [(v.tag, e.step, v.tensor.float_val[0]) for e in EventFileLoader(str(file)).Load() for v in e.summary.value]


def in_wandb(folder):
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # its process writes the last of the file when it ends
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    found = []
    for data in leveldb_log(file.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        found += [(key, values["_step"], value) for key, value in values.items() if not key.startswith("_")]
    return found


def leveldb_log(data):
    """Records of wandb's file; wandb's own reader is not in Python any more.

    After 7 bytes of wandb's own the file is LevelDB's log: blocks of 32 KiB, and records of one or several parts, each
    with a header of checksum (4 bytes), length (2) and kind (1: whole, 2: first, 3: middle, 4: last).
    """
    at, parts = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # too little for a header: padding
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


@pytest.mark.parametrize(("kind", "read"), [("tensorboard", in_tensorboard), ("wandb", in_wandb)])
def test_a_tracker_holds_every_step_once_over_a_resume(actors, small_settings, tmp_path, monkeypatch, kind, read):
    from explore_rl.experiments import tracking
    from explore_rl.experiments.runs import run
    from explore_rl.training.trainer import Trainer

    monkeypatch.setenv("WANDB_MODE", "offline")
    watched = ["run.evaluate_every=1", "run.evaluate_samples=2", "run.exact_every=2", f"run.tracker={kind}"]
    recipe = REPOSITORY / "configs" / "lab" / "grpo.yaml"
    config = load_config(recipe, [*small_settings, *watched, f"name={kind}", f"run.output={tmp_path}/{kind}"])
    real = Trainer.step

    def dies_in_step_3(self, number):
        if number == 3:
            raise Killed
        return real(self, number)

    monkeypatch.setattr(Trainer, "step", dies_in_step_3)
    with pytest.raises(Killed):
        run(config, actors=actors)
    before = read(tmp_path / kind)
    assert {step for _, step, _ in before} == {0, 1, 2, 3}
    monkeypatch.undo()
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = run(config, resume=True, actors=actors)

    found = read(folder)
    at = [(key, step) for key, step, _ in found]
    assert len(at) == len(set(at))
    assert sorted(step for key, step in at if key == "reward/mean") == [1, 2, 3, 4]
    assert sorted(step for key, step in at if key == "heldout/pass@1") == [0, 1, 2, 3, 4]
    assert sorted(step for key, step in at if key == "exact/pass@1") == [0, 2, 4]
    expected = {
        (key, done): value
        for done, metrics in tracking.history(tracking.RunFolder.open(folder))
        for key, value in metrics.items()
    }
    assert {(key, step): value for key, step, value in found} == pytest.approx(expected, rel=1e-6)
