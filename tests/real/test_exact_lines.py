"""Success on plain lines is exact: by every way to write an answer, from any beginning that is computed once."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import stand_in
import torch

from analysis.errors import InputError
from explore_rl.config.loading import load_config
from explore_rl.lab import exact, logprobs, readings
from explore_rl.lab.audits import audit_of
from explore_rl.problems.loading import load_problems
from explore_rl.problems.template_checks import check_lengths
from explore_rl.problems.templates import load_template
from explore_rl.real import tokens
from explore_rl.training.evaluation import ExactAudits, Means

SUMS = "real:sum?terms=2&digits=1&split=audit&size=4"


@pytest.fixture(scope="module")
def codes():
    return stand_in.tokenizer()


@pytest.fixture(scope="module")
def llama(codes):
    torch.set_num_threads(1)
    return stand_in.model(codes)


def audit(model, codes, name, temperature=1.0):
    asked = load_problems(name)
    pairs, index = exact.sequences(asked, codes)
    readouts = readings.readouts_for(asked, codes, temperature=temperature)
    values = logprobs.token_values(model, readings.asked(pairs), readouts=readouts)
    return readings.audit_from(asked, index, pairs=pairs, values=values), pairs


def next_tokens(model, ids, temperature=1.0):
    """[V] probabilities after `ids`."""
    with torch.no_grad():
        logits = model(torch.tensor([ids]), logits_to_keep=1).logits[0, -1].double() / temperature
    return torch.softmax(logits, 0).numpy()


def one_by_one(model, prompt, completion, temperature):
    steps = [next_tokens(model, prompt + completion[:i], temperature)[token] for i, token in enumerate(completion)]
    return math.prod(steps)


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_the_ways_to_write_an_answer_are_all_there_are(codes):
    completion = " + 2\n"
    ways = tokens.ways(completion, codes)
    assert ways[0] == codes(completion).input_ids and len(ways) == 2 and all(w[-1] == ways[0][-1] for w in ways)
    # By brute force: every sequence of tokens with any of the text's characters in it.
    texts = {i: codes.decode([i]) for i in range(len(codes))}
    usable = [i for i, text in texts.items() if text and text in completion]
    found = set()
    for length in range(1, len(completion) + 1):
        for ids in itertools.product(usable, repeat=length):
            if "".join(texts[i] for i in ids) == completion:
                found.add(ids)
    assert found == {tuple(way) for way in ways}
    assert len(tokens.ways(" 57\n", codes)) == 1


def test_the_line_template_ends_at_the_newline_token(codes):
    line = load_template("line")
    assert line.end_id(codes) == tokens.stop_id(codes) == codes("\n").input_ids[0]
    assert line.encode_completion(" 42\n", codes) == codes(" 42\n").input_ids
    with pytest.raises(InputError, match=r"no token of this tokenizer"):
        from explore_rl.lab import tokenizer

        line.end_id(tokenizer.build())


def test_another_template_is_refused_before_anything_is_drawn(codes):
    asked = load_problems(SUMS)
    assert check_lengths(asked, load_template("line"), tokenizer=codes, max_prompt_tokens=200) > 20
    with pytest.raises(InputError, match=r"completions of template 'none' with '<\|end\|>'; .*--template line"):
        check_lengths(asked, load_template("none"), tokenizer=codes, max_prompt_tokens=200)


def test_a_tokenizer_that_joins_the_newline_to_a_digit_is_refused(codes):
    joined = stand_in.tokenizer()
    joined.add_tokens(["2\n"])
    with pytest.raises(InputError, match="does not end a number with a newline token"):
        tokens.ways(" 42\n", joined)


# --- probabilities ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "temperature"), [(SUMS, 1.0), (SUMS, 1.4), ("real:pairs?most=40&split=audit&size=1", 1.0)]
)
def test_probabilities_are_those_of_one_token_after_another(llama, codes, name, temperature):
    """Whether the shots or each prompt is computed once."""
    found, pairs = audit(llama, codes, name, temperature)
    for i in (0, len(pairs) // 2, len(pairs) - 1):
        prompt, completion = pairs[i]
        expected = one_by_one(llama, prompt, completion, temperature)
        assert found.answer_probabilities[i] == pytest.approx(expected, rel=1e-5)
    total = np.bincount(found.index.problem, found.answer_probabilities)
    assert found.success == pytest.approx(total)


def test_any_end_counts_whatever_stands_behind_the_number_but_a_digit(llama, codes):
    found, pairs = audit(llama, codes, SUMS)
    digits = [i for i in range(len(codes)) if codes.decode([i])[:1].isdigit()]
    assert sorted(digits) == list(tokens.digit_ids(codes)) and len(digits) == 10
    assert found.any_end is not None and found.success_any_end is not None
    for (prompt, completion), any_end in zip(pairs, found.any_end, strict=True):
        number = one_by_one(llama, prompt, completion[:-1], 1.0)
        others = np.delete(next_tokens(llama, prompt + completion[:-1]), digits).sum()
        assert math.exp(any_end) == pytest.approx(number * others, rel=1e-5)
    assert (found.success_any_end > found.success).all()


def test_regions_are_the_base_models_and_survive_the_file(codes, tmp_path):
    asked = load_problems("real:pairs?most=40&split=audit&size=1")
    pairs, index = exact.sequences(asked, codes)
    total = asked[0].answer["numbers"][0]
    assert len(pairs) == 2 * (total - 1) and len(index.modes) == total // 2
    rng = np.random.default_rng(0)
    base, tuned = (
        exact.summarise(asked, index, logprobs=drawn, any_end=drawn + 0.01)
        for drawn in rng.uniform(-22, -5, size=(2, len(pairs)))
    )
    bounds = [0.0, 1e-4, 3 / 1024, 1.1]
    names = ("never", "rarely", "often")
    expected = [names[int(np.digitize(p, bounds)) - 1] for p in base.mode_probabilities]
    assert list(base.index.regions) == expected and set(expected) == set(names)
    assert tuned.index.regions != base.index.regions
    compared = exact.compare(base, tuned)
    counts = {name: regions["modes"] for name, regions in compared["regions"]["tuned"].items()}
    assert counts == {name: expected.count(name) for name in ("often", "rarely", "never")}
    base.save(tmp_path / "audit.json")
    again = exact.ExactAudit.load(tmp_path / "audit.json")
    assert again.index.regions == base.index.regions
    assert again.any_end == pytest.approx(base.any_end) and again.logprobs == pytest.approx(base.logprobs)


def test_training_and_the_checkpoint_give_one_audit(llama, codes, tmp_path):
    """The learner's columns are longer than the answers where all prompts share their shots."""
    llama.save_pretrained(tmp_path / "model")
    codes.save_pretrained(tmp_path / "model")
    config = load_config("configs/real/short.yaml", [f"model.path={tmp_path / 'model'}", f"run.exact_problems={SUMS}"])

    def read(sequences, readouts):
        assert len({tuple(ids[:begin]) for ids, begin in sequences}) == 1
        return logprobs.token_values(llama, sequences, readouts=readouts)

    unused: Any = None
    means = Means(
        tokenizer=codes,
        encode_prompt=unused,
        generate=unused,
        verify=unused,
        read=read,
        critic=False,
        append=unused,
    )
    audits = ExactAudits(config, means)
    at_first = audits.audit(0)
    expected = audit_of(tmp_path / "model", load_problems(SUMS))
    assert expected.success_any_end is not None
    assert at_first["pass_at_k"] == pytest.approx(expected.pass_at_k())
    assert at_first["any_end"]["pass@1"] == pytest.approx(expected.success_any_end.mean())
    assert at_first["regions"] == pytest.approx({n: r["mass"] for n, r in expected.regions().items()})
    audits.base = None  # as after a resume: the base is scored from its checkpoint
    assert audits.audit(3)["support"] == at_first["support"]
