"""The exact audit: probabilities add up to one; top-p, support by hand and sampling agree with it."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, TopPLogitsWarper

from analysis.errors import InputError
from explore_rl.lab import base, countdown, exact, families, logprobs, problems, sampling, tokenizer
from explore_rl.learner import head
from explore_rl.models import LAB_BASE
from explore_rl.objectives.readouts import nucleus_logprob

# By hand: the splits of level 4 take a second to be searched for their targets.
LEVEL_4 = [
    problems._problem(numbers, target, level=4, split="audit")
    for numbers, target in [((2, 5, 7, 11), 24), ((1, 3, 9, 12), 10), ((4, 4, 6, 8), 36), ((1, 2, 10, 11), 99)]
]


@pytest.fixture(scope="module")
def random_model():
    """An untrained model: every token has a fair share, so that nothing is hidden in a corner."""
    torch.set_num_threads(1)
    recipe = base.Recipe(seed=3, hidden_size=32, layers=1)
    return base.new_model(recipe, tokenizer.build()).eval(), tokenizer.build()


@pytest.fixture(scope="module")
def embedded():
    torch.set_num_threads(1)
    return logprobs.load_model(LAB_BASE)


# --- tokenizer --------------------------------------------------------------------------------------------------------


def test_tokenizer_is_one_to_one_on_answers_after_loading_from_the_checkpoint():
    for codes in (tokenizer.build(), AutoTokenizer.from_pretrained(LAB_BASE)):
        for one in LEVEL_4:
            prompt_ids = codes(one.prompt).input_ids
            assert codes.decode(prompt_ids) == one.prompt and len(prompt_ids) == len(one.prompt)
            for answer in countdown.enumerate_answers(**one.answer):
                ids = codes(answer).input_ids
                assert len(ids) == len(answer) < families.max_tokens_of(one) and codes.decode(ids) == answer
                assert codes.decode(ids + [codes.eos_token_id], skip_special_tokens=True) == answer
        assert codes.pad_token_id != codes.eos_token_id is not None
        texts = {codes.decode(pair) for pair in itertools.product(range(len(tokenizer.CHARACTERS)), repeat=2)}
        assert len(texts) == len(tokenizer.CHARACTERS) ** 2


def test_a_tokenizer_with_longer_tokens_is_refused():
    codes = tokenizer.build()
    codes.add_tokens(["12"])
    with pytest.raises(InputError, match="several characters"):
        exact.sequences(problems.load("lab:countdown?size=1"), codes)


# --- scoring ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature, top_p", [(1.0, 1.0), (0.6, 1.0), (1.7, 0.9), (1.0, 0.5)])
def test_probabilities_of_all_sequences_add_up_to_one(random_model, temperature, top_p):
    """All completions that end within three tokens, and all that do not: 8,421 of them."""
    model, codes = random_model
    prompt, end = codes("1 2=3:").input_ids, codes.eos_token_id
    others = [token for token in range(len(codes)) if token != end]
    completions = [list(head) + [end] for length in range(3) for head in itertools.product(others, repeat=length)]
    completions += [list(all_three) for all_three in itertools.product(others, repeat=3)]
    found = logprobs.completion_logprobs(
        model, [(prompt, completion) for completion in completions], temperature=temperature, top_p=top_p
    )
    assert np.exp(found).sum() == pytest.approx(1, abs=1e-6)
    assert np.isneginf(found).any() == (top_p < 1)


@pytest.mark.parametrize("temperature, top_p", [(1.0, 1.0), (0.7, 0.95), (1.3, 0.6)])
def test_scores_equal_one_by_one_computation_with_transformers_own_top_p(random_model, temperature, top_p):
    model, codes = random_model
    asked = LEVEL_4[:2]
    pairs, _ = exact.sequences(asked, codes)
    pairs = pairs[:: max(1, len(pairs) // 12)]
    found = logprobs.completion_logprobs(model, pairs, temperature=temperature, top_p=top_p, tokens_per_batch=200)
    warp = TopPLogitsWarper(top_p)
    for (prompt, completion), logprob in zip(pairs, found, strict=True):
        expected = 0.0
        for step, token in enumerate(completion):
            with torch.no_grad():
                logits = model(torch.tensor([prompt + completion[:step]])).logits[:, -1].double() / temperature
            expected += float(torch.log_softmax(warp(None, logits), -1)[0, token])
        assert logprob == pytest.approx(expected, abs=1e-5)


def test_an_audit_reads_through_the_learners_chunks_and_in_float64(random_model, monkeypatch):
    model, codes = random_model
    pairs, _ = exact.sequences(LEVEL_4[:2], codes)
    whole = logprobs.completion_logprobs(model, pairs)
    held = []
    plain = head._log_p
    monkeypatch.setattr(head, "_log_p", lambda *args: held.append(plain(*args)) or held[-1])
    monkeypatch.setattr(head, "CHUNK_LOGITS", {"cpu": 10 * len(codes)})
    found = logprobs.completion_logprobs(model, pairs)
    assert max(len(log_p) for log_p in held) == 10 and {log_p.dtype for log_p in held} == {torch.float64}
    assert sum(len(log_p) for log_p in held) == sum(len(completion) for _, completion in pairs)
    np.testing.assert_allclose(found, whole, atol=1e-5)


def test_a_model_that_changes_its_logits_is_refused(random_model, monkeypatch):
    model, codes = random_model
    monkeypatch.setattr(model.config, "final_logit_softcapping", 30.0, raising=False)
    with pytest.raises(InputError, match="changes its logits after the projection .final_logit_softcapping"):
        logprobs.completion_logprobs(model, [([1, 2], [3, codes.eos_token_id])])


def test_top_p_by_hand():
    logits = torch.log(torch.tensor([[0.5, 0.2, 0.25, 0.05]], dtype=torch.float64)).repeat(4, 1)
    tokens = torch.arange(4)
    assert nucleus_logprob(1.0, 0.7).of(logits, tokens).exp().tolist() == pytest.approx([2 / 3, 0, 1 / 3, 0])
    assert nucleus_logprob(1.0, 0.4).of(logits, tokens).exp().tolist() == pytest.approx([1, 0, 0, 0])
    squares = [0.25 / 0.355, 0.04 / 0.355, 0.0625 / 0.355, 0.0025 / 0.355]  # temperature 1/2 squares and renormalises
    assert nucleus_logprob(0.5, 1.0).of(logits, tokens).exp().tolist() == pytest.approx(squares)


def test_a_nucleus_is_the_same_whether_it_is_found_among_the_largest_or_by_sorting():
    torch.manual_seed(0)
    sharpness = torch.tensor([[0.1], [3.0], [8.0], [0.1], [4.0]], dtype=torch.float64)  # the first is wider than 1,024
    logits = (torch.randn(5, 3000, dtype=torch.float64) * sharpness).requires_grad_()
    tokens = torch.multinomial(logits.detach().softmax(1), 1)[:, 0]
    tokens[4] = logits[4].argmin()  # outside
    found = nucleus_logprob(1.0, 0.95).of(logits.log_softmax(1), tokens)

    ranked, order = logits.softmax(1).sort(dim=1, descending=True)
    outside = torch.zeros_like(ranked, dtype=torch.bool).scatter(1, order, ranked.cumsum(1) - ranked >= 0.95)
    expected = logits.masked_fill(outside, -torch.inf).log_softmax(1)[range(5), tokens]
    assert found.tolist() == pytest.approx(expected.tolist()) and expected[4] == -torch.inf
    inside = torch.isfinite(expected)
    of_found, of_expected = (torch.autograd.grad(x[inside].sum(), logits)[0] for x in (found, expected))
    torch.testing.assert_close(of_found, of_expected)


# --- summary and comparison -------------------------------------------------------------------------------------------


def audit_with(probabilities):
    """The audit of one problem, 2 3 4=24 (six writings, one mode), or two, by probability of each answer."""
    asked = [
        problems._problem((2, 3, 4), 24, level=3, split="audit"),
        problems._problem((1, 2, 6), 3, level=3, split="audit"),
    ]
    _, index = exact.sequences(asked, tokenizer.build())
    with np.errstate(divide="ignore"):
        return exact.summarise(
            asked, index, logprobs=np.log([probabilities.get(answer, 0.0) for answer in index.answers])
        )


def test_summary_by_hand():
    audit = audit_with({"2*3*4": 0.25, "4*3*2": 0.25, "6/(1*2)": 0.0625, "6/2/1": 0.0625, "6/2*1": 0.125})
    assert audit.success.tolist() == pytest.approx([0.5, 0.25])
    assert audit.pass_at_k([1, 2])[2] == pytest.approx((1 - 0.5**2 + 1 - 0.75**2) / 2)
    by_mode = dict(zip(audit.index.modes, audit.mode_probabilities, strict=True))
    assert (
        by_mode["2*3*4"] == pytest.approx(0.5)
        and by_mode["6/1/2"] == pytest.approx(0.125)
        and by_mode["1*6/2"] == pytest.approx(0.125)
    )
    assert audit.regions()["division"]["mass"] == pytest.approx(0.125)
    assert audit.regions()["common"]["mass_where_present"] == pytest.approx(0.25)  # 6-2-1 is common too


def test_comparison_by_hand():
    """One mode kept, one lost, one gained; commuting alone is no loss by mode, and is one by writing."""
    before = audit_with({"2*3*4": 0.5, "6/(1*2)": 0.2, "6/2*1": 0.001})
    after = audit_with({"4*3*2": 0.9, "6/(1*2)": 0.001, "6/2*1": 0.3})
    row = exact.compare(before, after, eps_ladder=[0.01])["support"]
    keys = ("preserved", "shrunk", "expanded")
    assert [row["mode"][0][key] for key in keys] == [1, 1, 1]
    assert [row["problem"][0][key] for key in keys] == [2, 0, 0]
    assert [row["answer"][0][key] for key in keys] == [0, 2, 2]
    assert row["mode"][0]["srr"] == row["mode"][0]["ndr"] == 0.5 and row["mode"][0]["nscr"] == 0
    assert row["answer"][0]["srr"] == 0 and row["answer"][0]["sds"] == 0


def test_support_is_strictly_above_eps_and_rates_without_denominator_are_none():
    audit = audit_with({"2*3*4": 0.25})
    rows = exact.compare(audit, audit, eps_ladder=[0.25, 0.2499])["support"]["problem"]
    assert [row["preserved"] for row in rows] == [0, 1]
    assert rows[0]["srr"] is None and rows[0]["sds"] is None and rows[1]["srr"] == 1


def test_published_counts_give_published_rates():
    """AIME 2024 of ProRL-1.5B-v1: P 25, E 0, S 3, O 2 (arXiv 2507.14843 v4, table 6)."""
    held = exact.support_counts(np.array([True] * 28 + [False] * 2), np.array([True] * 25 + [False] * 5))
    assert round(held["srr"], 3) == 0.893 and held["ndr"] == 0 and held["sds"] == 0 and round(held["nscr"], 3) == -0.107


def test_summary_refuses_what_cannot_be():
    audit = audit_with({})
    asked = [
        problems._problem((2, 3, 4), 24, level=3, split="audit"),
        problems._problem((1, 2, 6), 3, level=3, split="audit"),
    ]
    for wrong, message in [
        (np.zeros(3), "came"),
        (np.full(len(audit.logprobs), np.nan), "NaN"),
        (np.zeros(len(audit.logprobs)), "together"),
    ]:
        with pytest.raises(ValueError, match=message):
            exact.summarise(asked, audit.index, logprobs=wrong)


def test_audits_survive_the_disk_and_files_of_another_kind_are_refused(tmp_path):
    audit = audit_with({"2*3*4": 0.25})
    audit.settings["top_p"] = 1.0
    audit.save(tmp_path / "a.json")
    again = exact.ExactAudit.load(tmp_path / "a.json")
    assert (again.logprobs == audit.logprobs).all() and again.settings == audit.settings
    assert exact.compare(audit, again)["support"]["answer"][0]["shrunk"] == 0
    (tmp_path / "b.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(InputError, match="format"):
        exact.ExactAudit.load(tmp_path / "b.json")


def test_the_mode_of_all_writings_lies_in_one_region():
    _, index = exact.sequences(LEVEL_4, tokenizer.build())
    assert len(set(index.regions)) > 1
    for answer, mode in zip(index.answers, index.mode, strict=True):
        assert countdown.region(answer) == index.regions[mode]


# --- the embedded model, and sampling ---------------------------------------------------------------------------------


def test_division_is_out_of_reach_of_the_embedded_model_and_the_rare_region_is_rare(embedded):
    asked = problems.load("lab:countdown?level=3&split=train&size=100")
    pairs, index = exact.sequences(asked, embedded[1])
    audit = exact.summarise(asked, index, logprobs=logprobs.completion_logprobs(embedded[0], pairs))
    regions = audit.regions()
    assert 0 < regions["division"]["correct_in_a_million_draws"] < 0.01
    assert 0 < regions["product_of_sum"]["mass"] < regions["common"]["mass"] / 20
    passed = audit.pass_at_k([1, 256])
    assert passed[1] > 0.1 and passed[256] > passed[1] + 0.2


@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_exact_probabilities_fit_draws(embedded, top_p):
    """A million draws: scripts/check_exact.py."""
    model, codes = embedded
    asked = problems.load("lab:countdown?level=3&split=audit&size=8")
    pairs, index = exact.sequences(asked, codes)
    audit = exact.summarise(asked, index, logprobs=logprobs.completion_logprobs(model, pairs, top_p=top_p))
    drawn = sampling.draw_all(model, codes, problems=asked, draws=1200, top_p=top_p, seed=7)
    found = sampling.check(drawn, audit, tokenizer=codes, problems=asked)
    assert found.draws == 1200 and found.correct > 200 and found.unlisted == [] and found.odd == 0
    assert found.p_value > 1e-3
    # The test has power: probabilities a quarter off do not fit.
    off = exact.summarise(asked, index, logprobs=audit.logprobs + math.log(0.75))
    assert sampling.check(drawn, off, tokenizer=codes, problems=asked).p_value < 1e-3


def test_a_build_is_the_same_when_it_is_repeated(tmp_path):
    recipe = base.Recipe(seed=11, steps=3, batch_size=16, threads=1)
    first, second, other = (
        base.pretrain(one)[0].state_dict() for one in (recipe, recipe, base.Recipe(12, 3, 16, threads=1))
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_documents_that_divide_come_with_a_weight_alone():
    plain, divided = (base.documents(base.Recipe(left_out_weight=weight)) for weight in (0.0, 1e-4))
    assert not any("/" in text for _, text in itertools.islice(plain, 400))
    found = [(prompt, text) for prompt, text in itertools.islice(divided, 400) if "/" in text]
    assert 10 < len(found) < 50 and all(text.count("/") and prompt.count(" ") == 2 for prompt, text in found)


def test_a_weight_outside_its_bounds_is_refused(capsys, tmp_path):
    from explore_rl.cli import main

    assert main(["lab", "build-base", "--out", str(tmp_path / "base"), "--left-out-weight", "2"]) == 2
    assert "--left-out-weight: expected a number above 0" in capsys.readouterr().err


def test_an_absent_model_is_named(capsys, tmp_path):
    from explore_rl.cli import main

    assert main(["lab", "exact", str(tmp_path / "none"), "--size", "2"]) == 2
    assert "no Hugging Face checkpoint" in capsys.readouterr().err


def test_the_command_compares_a_checkpoint_with_a_saved_audit(capsys, tmp_path):
    from explore_rl.cli import main

    saved = tmp_path / "base.json"
    assert main(["lab", "exact", str(LAB_BASE), "--size", "5", "--quiet", "--out", str(saved)]) == 0
    out = tmp_path / "comparison.json"
    assert (
        main(
            [
                "lab",
                "exact",
                str(LAB_BASE),
                "--base",
                str(saved),
                "--size",
                "5",
                "--quiet",
                "--eps",
                "1/64,3/1024",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    support = json.loads(out.read_text())["comparisons"][str(LAB_BASE)]["support"]
    assert [row["eps"] for row in support["mode"]] == [1 / 64, 3 / 1024]
    assert all(row["shrunk"] == row["expanded"] == 0 for row in support["answer"])
    assert "exact support" in capsys.readouterr().out
    capsys.readouterr()
    assert main(["lab", "exact", str(LAB_BASE), "--base", "lab:base", "--size", "2", "--quiet"]) == 0  # by name
    assert "against lab:base: exact support" in capsys.readouterr().out
    assert main(["lab", "exact", "lab:base", "--base", str(saved), "--size", "6", "--quiet"]) == 2
