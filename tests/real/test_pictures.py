"""The table and picture of docs/real.md from audits by hand."""

import json

import numpy as np
import pytest
import real_pictures
from real_pictures import Run, crossing, draw, rank_correlation, read_runs, table

from analysis.errors import InputError
from explore_rl.lab.exact import ExactAudit, Index


def audit(*success):
    """One answer a problem, each of a region of its own."""
    count = len(success)
    names = tuple("abcdefgh"[:count])
    place = np.arange(count)
    regions = tuple("often" if p > 3 / 1024 else "never" for p in success)
    index = Index(names, place, place, names, place, regions)
    with np.errstate(divide="ignore"):
        logprobs = np.log(np.array(success))
    return ExactAudit(names, index, logprobs, {"temperature": 1.0, "top_p": 1.0}, any_end=logprobs)


BASE = audit(0.2, 0.1, 0.0)
SHARPENED = audit(0.9, 0.0, 0.0)


def test_the_k_at_which_a_model_falls_below_its_base_is_the_first_one():
    # 1 - .8^k + 1 - .9^k against 1 - .1^k: .3 < .9, .55 < .99, .759 < .999, .934 < .9999, 1.0819 > .99999.
    assert crossing(BASE, SHARPENED) == 5
    assert crossing(BASE, BASE) is None and crossing(SHARPENED, audit(0.91, 0.0, 0.0)) is None
    assert crossing(BASE, audit(0.1, 0.1, 0.0)) == 1


def test_a_rank_correlation_says_how_little_few_methods_can_say():
    found, p, least, most = rank_correlation([0.1, 0.2, 0.3, 0.4, 0.5], [1, 3, 2, 4, 5])
    assert found == pytest.approx(0.9) and p == pytest.approx(10 / 120) and (least, most) == pytest.approx((0.8, 1.0))
    with pytest.raises(InputError, match="wants 4 to 9"):
        rank_correlation([1, 2, 3], [1, 2, 3])


def test_table_and_picture(tmp_path):
    metrics = [{"step": step, "entropy/token": 1.0 - step / 10, "answers/entropy": 1.5} for step in range(3)]
    runs = [Run("grpo", 0, audit=SHARPENED, metrics=metrics), Run("other", 0, audit=audit(0.2, 0.1, 0.5), metrics=[])]
    base, grpo, other = table(BASE, runs, name="base").splitlines()[2:]
    assert base.startswith("| base | 0.100 | 0.100 |")
    assert grpo.startswith("| grpo, seed 0 | 0.300 | 0.300 |") and "| 5 | 1 | 1 | 0 |" in grpo
    assert "| none to 16384 | 2 | 0 | 1 |" in other
    draw(BASE, runs, name="base", target=tmp_path / "real.png")
    assert (tmp_path / "real.png").stat().st_size > 10_000


def test_runs_of_different_problems_are_refused_and_audits_are_kept(tmp_path, monkeypatch, capsys):
    folders = []
    for name, digits in (("a", 2), ("b", 2), ("c", 3)):
        folder = tmp_path / name
        folder.mkdir()
        spec = f"real:sum?digits={digits}&split=audit&size=3"
        (folder / "config.yaml").write_text(f"name: {name}\nrun: {{exact_problems: '{spec}'}}\n")
        (folder / "metrics.jsonl").write_text(json.dumps({"step": 0, "entropy/token": 1.0}) + "\n")
        folders.append(folder)
    asked = real_pictures.load_problems("real:sum?digits=2&split=audit&size=3")
    named = [
        ExactAudit(tuple(p.id for p in asked), a.index, a.logprobs, a.settings, a.any_end) for a in (BASE, SHARPENED)
    ]
    for folder in folders:
        named[1].save(folder / "exact_final.json")
    named[0].save(tmp_path / "base_exact.json")  # else the model would be asked
    name, base, runs = read_runs(folders[:2], tmp_path)
    assert name == "lab:base" and base.success == pytest.approx(BASE.success)
    assert [run.method for run in runs] == ["a", "b"] and runs[0].audit.index.regions == base.index.regions
    monkeypatch.setattr("sys.argv", ["real_pictures", *map(str, folders), "--out", str(tmp_path)])
    assert real_pictures.main() == 2
    assert "the runs differ in model, audit problems or temperature" in capsys.readouterr().err
