"""Controls without training, and the transfer curve."""

import json

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from analysis.errors import InputError
from explore_rl.experiments import free_controls, transfer_curve
from explore_rl.lab import problems
from explore_rl.lab.audits import audit_of
from explore_rl.lab.exact import ExactAudit, Index
from explore_rl.models import resolve_model


def audit(*probabilities):
    """Two problems: the first with two modes, the second with one; one answer a mode."""
    modes = ("a", "b", "c")
    index = Index(modes, np.array([0, 0, 1]), np.arange(3), modes, np.array([0, 0, 1]), ("common",) * 3)
    with np.errstate(divide="ignore"):
        return ExactAudit(("one", "two"), index, np.log(np.array(probabilities)))


def test_the_split_by_hand():
    base, tuned = audit(0.2, 0.0, 0.5), audit(0.6, 0.1, 0.0)
    found = free_controls.split_pass_at_k(base, tuned, ks=(1, 3))
    assert found[1] == pytest.approx((0.7 + 0.0) / 2)
    assert found[3] == pytest.approx((1 - 0.3 * 0.8**2 + 1 - 0.5**2) / 2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The base with other weights, as a checkpoint folder."""
    folder = tmp_path_factory.mktemp("trained")
    for file in resolve_model("lab:base").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    save_file({name: value * 1.05 for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_between_goes_from_the_base_to_the_trained_model(trained, tmp_path):
    asked = problems.load("lab:countdown?level=2&split=audit&size=3")
    base = resolve_model("lab:base")
    ends = {
        share: free_controls.between(base, trained, share=share, asked=asked, temperature=1.0)
        for share in (0.0, 0.5, 1.0)
    }
    assert np.allclose(ends[0.0].logprobs, audit_of(base, asked).logprobs, atol=1e-6)
    assert np.allclose(ends[1.0].logprobs, audit_of(trained, asked).logprobs, atol=1e-5)
    assert not np.allclose(ends[0.5].logprobs, ends[1.0].logprobs, atol=1e-3)
    # From its file, a control is not made again.
    path = tmp_path / "kept.json"
    first = free_controls.kept(path, asked, temperature=1.0, model=trained, base=base, share=0.5)
    again = free_controls.kept(path, asked, temperature=1.0, model=tmp_path / "gone", base=base, share=0.5)
    assert np.array_equal(first.logprobs, again.logprobs) and np.allclose(first.logprobs, ends[0.5].logprobs)


def test_nothing_lies_between_models_of_other_shapes(trained, tmp_path):
    for file in trained.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((trained / "config.json").read_text())
    shallow = config | {"num_hidden_layers": 1, "layer_types": config["layer_types"][:1]}
    (tmp_path / "config.json").write_text(json.dumps(shallow))
    with pytest.raises(InputError, match="by name and shape"):
        free_controls.between(trained, tmp_path, share=0.5, asked=[], temperature=1.0)


def test_the_transfer_curve_by_hand():
    base, tuned = audit(0.5, 1e-9, 0.02), audit(0.25, 1e-3, 0.02)
    rows = {row["decade"]: row for row in transfer_curve.transfer(base, [tuned, audit(0.25, 1e-1, 0.02)])}
    assert {decade: row["modes"] for decade, row in rows.items()} == {-9: 1, -1: 1, 0: 1}
    assert rows[-9]["median"] == pytest.approx(-2) and rows[-9]["high"] == pytest.approx(-1.1)
    assert rows[0]["median"] == pytest.approx(np.log10(0.25)) and rows[-1]["low"] == pytest.approx(np.log10(0.02))
