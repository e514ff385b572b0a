import json
import math
import shutil

import numpy as np
import pytest
import torch
from learner_kit import load_plain, make_model, plain_scores

from analysis.errors import InputError
from explore_rl.learner import head as module
from explore_rl.learner.collate import Sequence, collate
from explore_rl.learner.head import ReadoutHead
from explore_rl.learner.packing import bundle_length, bundles, plan, shards
from explore_rl.learner.policy import load_policy
from explore_rl.objectives.readouts import (
    Readout,
    entropy,
    logprob,
    nucleus_logprob,
    rank_of_target,
    token_entropy,
    token_logprob,
    top_logprobs,
)

CPU = torch.device("cpu")


def sequences(count=7, seed=0):
    """Of different lengths; two of three have one prompt."""
    rng = np.random.default_rng(seed)
    lengths, prompts = rng.integers(6, 30, count), rng.integers(1, 5, count)
    found = [Sequence(rng.integers(0, 120, n).astype(np.int32), int(p)) for n, p in zip(lengths, prompts, strict=True)]
    for i, item in enumerate(found):
        if i % 3:
            item.prompt_length = 4
            item.tokens[:4] = [5, 6, 7, 8]
    return found


def scores_in_batches(policy, items, budget, packing, single_line=False, hidden_size=None):
    found = [None] * len(items)
    together = [[i] for i in range(len(items))]
    if hidden_size is not None:
        prompts = [s.tokens[: s.prompt_length].tobytes() for s in items]
        together = bundles(
            prompts,
            [s.prompt_length for s in items],
            lengths=[len(s) for s in items],
            hidden_size=hidden_size,
            budget=budget,
        )
        assert max(map(len, together)) > 1
    lengths = [bundle_length(bundle, items) for bundle in together]
    plans = plan(lengths, budget, ranks=1, packing=packing, single_line=single_line)
    [shard] = shards(list(range(len(items))), together, plans=plans, lengths=lengths)
    for batch in shard.micro_batches:
        tokens, order, counts = collate([items[i] for i in shard.items], batch, device=CPU)
        logprobs, entropies = policy(tokens, (logprob(0.5), entropy(0.5)))
        for i, l, e in zip(order, logprobs.split(counts), entropies.split(counts), strict=True):
            found[shard.items[i]] = (l, e)
    return found


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("budget, packing, single_line", [
    (1, False, False), (1000, False, False), (60, True, False), (1000, True, False), (1000, True, True),
])  # fmt: skip
def test_scores_do_not_depend_on_batching(tmp_path, tied, attention, budget, packing, single_line):
    path = make_model(tmp_path / "model", tied)
    items = sequences()
    policy, model = load_policy(path, "float32", attention=attention).eval(), load_plain(path)
    with torch.no_grad():
        for item, (logprobs, entropies) in zip(
            items, scores_in_batches(policy, items, budget, packing, single_line), strict=True
        ):
            expected = plain_scores(model, item.tokens, item.prompt_length, 0.5)
            torch.testing.assert_close(logprobs, expected[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(entropies, expected[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "budget, packing, hidden_size", [(1000, True, 96), (1000, True, 60), (1000, False, 96), (60, True, 96)]
)
def test_scores_do_not_depend_on_shared_prompts(tmp_path, budget, packing, hidden_size):
    path = make_model(tmp_path / "model")
    items = sequences(12)
    items[4].keep = np.arange(len(items[4]) - 4) % 2 == 1
    policy, model = load_policy(path, "float32", attention="sdpa").eval(), load_plain(path)
    assert policy.takes_masks
    with torch.no_grad():
        for item, found in zip(
            items, scores_in_batches(policy, items, budget, packing, hidden_size=hidden_size), strict=True
        ):
            expected = plain_scores(model, item.tokens, item.prompt_length, 0.5)
            kept = slice(None) if item.keep is None else item.keep
            for got, wanted in zip(found, expected, strict=True):
                torch.testing.assert_close(got, wanted[kept], atol=1e-5, rtol=1e-5)


def test_models_with_masks_of_their_own_share_no_prompts(tiny_model, tmp_path):
    assert not load_policy(tiny_model, "float32", attention="eager").takes_masks
    path = shutil.copytree(tiny_model, tmp_path / "window")
    config = json.loads((path / "config.json").read_text())
    windowed = {
        "use_sliding_window": True,
        "sliding_window": 8,
        "max_window_layers": 1,
        "layer_types": ["full_attention", "sliding_attention"],
    }
    (path / "config.json").write_text(json.dumps(config | windowed))
    assert not load_policy(path, "float32", attention="sdpa").takes_masks


READOUTS = (
    logprob(),
    entropy(),
    logprob(0.7),
    entropy(1.5),
    top_logprobs(3),
    rank_of_target(),
    nucleus_logprob(1.3, 0.9),
)


def test_head_gradients_by_finite_differences(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_LOGITS", {"cpu": 26})  # two tokens a chunk
    torch.manual_seed(0)
    head = ReadoutHead(torch.nn.Linear(4, 13, bias=False).double())
    hidden = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    log_p = torch.log_softmax(hidden @ head.weight.T, 1)
    targets = log_p.argmax(1)  # within any nucleus
    targets[:2] = torch.tensor([3, 12])
    readouts = READOUTS[:-1]

    def read(hidden, weight):
        return module._ChunkedReadouts.apply(hidden, weight, targets, readouts, list)

    assert torch.autograd.gradcheck(read, (hidden, head.weight))
    for readout, values in zip(READOUTS, head(hidden, targets, READOUTS), strict=True):
        torch.testing.assert_close(values, readout.of(log_p, targets))
    nucleus = module._ChunkedReadouts.apply(hidden, head.weight, targets, READOUTS[-1:], list)[0][2:].sum()
    by_head = torch.autograd.grad(nucleus, (hidden, head.weight))
    by_torch = torch.autograd.grad(READOUTS[-1].of(log_p, targets)[2:].sum(), (hidden, head.weight))
    for found, expected in zip(by_head, by_torch, strict=True):
        torch.testing.assert_close(found, expected)


def renamed_logprob(log_p, targets, *, temperature):
    return token_logprob(log_p, targets, temperature=temperature)


def renamed_entropy(log_p, targets, *, temperature):
    return token_entropy(log_p, targets, temperature=temperature)


def test_a_readout_without_a_formula_has_the_gradient_of_one_with_it():
    torch.manual_seed(0)
    head = ReadoutHead(torch.nn.Linear(4, 13, bias=False).double())
    hidden, targets = torch.randn(5, 4, dtype=torch.float64, requires_grad=True), torch.arange(5)
    factors = torch.randn(4, 5, dtype=torch.float64)
    gradients = []
    for by_formula in (True, False):
        readouts = []
        for temperature in (1.0, 0.7):
            params = (("temperature", temperature),)
            own = Readout(renamed_logprob, params), Readout(renamed_entropy, params)
            readouts += [logprob(temperature), entropy(temperature)] if by_formula else own
        loss = sum(
            (f * values).sum() for f, values in zip(factors, head(hidden, targets, tuple(readouts)), strict=True)
        )
        gradients.append(torch.autograd.grad(loss, (hidden, head.weight)))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)


def test_logits_of_a_bfloat16_model_are_not_rounded(monkeypatch):
    monkeypatch.setattr(module, "CAST_WEIGHTS", 16 * 100)  # the weight in three pieces
    torch.manual_seed(0)
    head = ReadoutHead(torch.nn.Linear(16, 300, bias=False).bfloat16())
    head.weight.data *= 20
    hidden, targets = torch.randn(40, 16).bfloat16().requires_grad_(), torch.arange(40)
    [found] = head(hidden, targets, (logprob(),))
    exact = hidden.double() @ head.weight.double().T
    expected = torch.log_softmax(exact, 1)[torch.arange(40), targets]
    assert found.dtype == torch.float32 and (found.double() - expected).abs().max() < 1e-5
    assert (torch.log_softmax(exact.bfloat16().double(), 1)[torch.arange(40), targets] - expected).abs().max() > 1e-2
    by_head = torch.autograd.grad(found.sum(), (hidden, head.weight))
    by_torch = torch.autograd.grad(expected.sum(), (hidden, head.weight))
    for got, wanted in zip(by_head, by_torch, strict=True):
        assert got.dtype == torch.bfloat16 and (got.double() - wanted.double()).norm() < 3e-3 * wanted.double().norm()


def test_a_large_vocabulary_never_meets_all_tokens(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_LOGITS", {"cpu": 40_000})
    held = []
    plain = module._log_p
    monkeypatch.setattr(module, "_log_p", lambda *args: held.append(plain(*args)) or held[-1])
    head = ReadoutHead(torch.nn.Linear(8, 10_000, bias=False))
    hidden = torch.randn(50, 8, requires_grad=True)
    values = head(hidden, torch.arange(50), (logprob(), entropy(), top_logprobs(4)))
    sum(value.sum() for value in values).backward()
    assert len(held) == 26 and max(x.numel() for x in held) <= 40_000


def test_chunks_are_larger_on_a_gpu_where_each_reads_the_whole_weight():
    class Weight:
        """So many rows, on no device that has to be there."""

        def __init__(self, device):
            self.device = torch.device(device)

        def __len__(self):
            return 150_000

    on_cpu, on_gpu = (len(module._chunks(10_000, Weight(device))) for device in ("cpu", "cuda"))
    assert on_cpu == math.ceil(10_000 / (2**25 // 150_000)) and on_gpu == math.ceil(10_000 / (2**28 // 150_000))


def test_masked_tokens_are_not_scored():
    item = Sequence(np.arange(6, dtype=np.int32), 2, keep=np.array([False, True, False, True]))
    tokens, order, counts = collate([item], [[[0]]], device=CPU)
    assert (order, counts) == ([0], [2])
    assert tokens.at.tolist() == [2, 4] and tokens.targets.tolist() == [3, 5]


def test_padding_and_neighbours_in_a_line():
    items = [Sequence(np.array(tokens, np.int32), 1) for tokens in ([1, 2, 3], [4, 5], [6, 7])]
    tokens, _, _ = collate(items, [[[0], [1]], [[2]]], device=CPU)
    assert tokens.input_ids.tolist() == [[1, 2, 3, 4, 5], [6, 7, 0, 0, 0]]
    assert tokens.position_ids.tolist() == [[0, 1, 2, 0, 1], [0, 1, 2, 3, 4]]
    assert tokens.at.tolist() == [0, 1, 3, 5] and tokens.targets.tolist() == [2, 3, 5, 7]


def test_a_shared_prompt_stands_once():
    items = [Sequence(np.array(tokens, np.int32), 2) for tokens in ([1, 2, 3, 4], [1, 2, 5])]
    tokens, order, counts = collate(items, [[[0, 1]]], device=CPU)
    assert (order, counts) == ([0, 1], [2, 1])
    assert tokens.input_ids.tolist() == [[1, 2, 3, 4, 5]] and tokens.position_ids.tolist() == [[0, 1, 2, 3, 2]]
    assert tokens.at.tolist() == [1, 2, 1] and tokens.targets.tolist() == [3, 4, 5]
    assert tokens.mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


def test_same_input_same_bits(tiny_model):
    policy, items = load_policy(tiny_model, "float32", attention="sdpa").eval(), sequences()
    with torch.no_grad():
        first, second = (scores_in_batches(policy, items, 60, True, hidden_size=96) for _ in range(2))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(first, second, strict=True))


def test_dropout_is_off_while_training(tiny_model, tmp_path):
    path = shutil.copytree(tiny_model, tmp_path / "dropout")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"attention_dropout": 0.5}))
    policy, items = load_policy(path, "float32", attention="eager").train(), sequences(3)
    first, second = (scores_in_batches(policy, items, 60, True) for _ in range(2))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, second, strict=True))


def test_models_that_change_their_logits_are_refused(tiny_model, tmp_path):
    path = shutil.copytree(tiny_model, tmp_path / "capped")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"final_logit_softcapping": 30.0}))
    with pytest.raises(InputError, match="final_logit_softcapping"):
        load_policy(path, "float32", attention="sdpa")


def test_unreadable_weights_are_one_line(tiny_model, tmp_path):
    path = shutil.copytree(tiny_model, tmp_path / "broken")
    for file in path.glob("*.safetensors"):
        file.unlink()
    with pytest.raises(InputError, match="cannot be loaded"):
        load_policy(path, "float32", attention="sdpa")
