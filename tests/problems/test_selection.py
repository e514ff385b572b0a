"""Splits, subsets, orders and filters depend on ids and the seed alone; overlap finds copies and near copies, and only
those."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.errors import InputError
from explore_rl.problems import load_template, selection
from explore_rl.problems.overlap import find_overlap
from explore_rl.types import Problem


def problem(name, prompt="p", benchmark=None):
    return Problem(id=str(name), prompt=prompt, answer="1", verifier="math", benchmark=benchmark)


MANY = [problem(i) for i in range(2000)]


def ids(problems):
    return [p.id for p in problems]


def test_split_is_disjoint_whole_and_near_its_shares():
    parts = selection.split(MANY, {"train": 0.8, "test": 0.2}, seed=1)
    assert sorted(ids(parts["train"] + parts["test"])) == sorted(ids(MANY))
    assert len(parts["test"]) == pytest.approx(400, abs=4 * (2000 * 0.2 * 0.8) ** 0.5)  # binomial, 4 sigma
    assert set(ids(selection.split(MANY, {"test": 0.2}, seed=2)["test"])) != set(ids(parts["test"]))


def test_a_problem_keeps_its_part_when_others_come_and_go():
    before = selection.split(MANY, {"train": 0.7, "test": 0.3}, seed=3)
    after = selection.split(MANY[::-2] + [problem("new")], {"train": 0.7, "test": 0.3}, seed=3)
    kept = set(ids(MANY[::-2]))
    assert set(ids(after["test"])) - {"new"} == set(ids(before["test"])) & kept


def test_subset_is_nested_seeded_and_in_order():
    small, large = selection.subset(iter(MANY), 50, seed=4), selection.subset(MANY, 200, seed=4)
    assert len(small) == 50 and set(ids(small)) < set(ids(large))
    assert ids(small) == sorted(ids(small), key=int)
    assert set(ids(small)) != set(ids(selection.subset(MANY, 50, seed=5)))
    with pytest.raises(InputError, match="only 3 problems"):
        selection.subset(MANY[:3], 4)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(12)), seed=st.integers(0, 5))
def test_shuffle_does_not_depend_on_the_files_order(order, seed):
    assert ids(selection.shuffle([MANY[i] for i in order], seed)) == ids(selection.shuffle(MANY[:12], seed))
    assert ids(selection.shuffle(MANY[:12], 0)) != ids(selection.shuffle(MANY[:12], 1))


@pytest.mark.parametrize("shares", [{}, {"a": 0.0}, {"a": 0.6, "b": 0.6}, {"a": -1.0}, {"a": float("nan")}])
def test_shares_that_are_none(shares):
    with pytest.raises(InputError, match="expected shares above 0"):
        selection.split(MANY[:3], shares)


def test_filter_by_length_counts_what_the_model_sees(qwen):
    template = load_template("chat")
    problems = [problem("short", "1 + 1?"), problem("long", "1 + 1? " * 40)]
    bound = len(template.encode(problems[0], qwen))
    dropped = selection.Dropped()
    assert ids(selection.filter_by_length(problems, template, tokenizer=qwen, at_most=bound, dropped=dropped)) == [
        "short"
    ]
    assert dropped.kept == 1 and dropped.lines() == [f"1 left out: prompt longer than {bound} tokens (long)"]
    assert ids(selection.filter_by_length(problems, template, tokenizer=qwen, at_most=10_000, at_least=bound + 1)) == [
        "long"
    ]


def test_filter_by_success_from_a_file_of_samples(tmp_path):
    """easy 4 of 4, hard 1 of 4, never 0 of 3 (its timeout is no evidence); other was not measured."""
    rows = (
        [("easy", "correct")] * 4
        + [("hard", "correct")]
        + [("hard", "wrong")] * 3
        + [("never", "wrong")] * 3
        + [("never", "timeout")]
    )
    path = tmp_path / "base.jsonl"
    path.write_text("".join(json.dumps({"problem_id": p, "benchmark": "b", "verdict": v}) + "\n" for p, v in rows))
    counts = selection.read_counts([str(path)])
    assert counts == {("b", "easy"): (4, 4), ("b", "hard"): (1, 4), ("b", "never"): (0, 3)}
    problems = [problem(name, benchmark="b") for name in ("easy", "hard", "never", "other")]

    def kept(*bounds, unmeasured="drop"):
        return ids(selection.filter_by_success(problems, counts, low=bounds[0], high=bounds[1], unmeasured=unmeasured))

    assert kept(0, 0.25) == ["hard", "never"] and kept(0.01, 0.99) == ["hard"] and kept(1, 1) == ["easy"]
    assert kept(0, 0, unmeasured="keep") == ["never", "other"]
    with pytest.raises(InputError, match="problem 'other' of benchmark 'b': no measured success rate"):
        kept(0, 1, unmeasured="error")
    with pytest.raises(InputError, match="expected 0 <= low <= high <= 1"):
        kept(0.5, 0.2)


def test_rates_of_another_benchmark_do_not_count():
    counts = {("b", "1"): (0, 4)}
    assert ids(selection.filter_by_success([problem(1, benchmark="c")], counts, low=0, high=0, unmeasured="drop")) == []


# --- overlap ----------------------------------------------------------------------------------------------------------

ORIGINAL = (
    "Every morning Aya goes for a $9$-kilometer-long walk and stops at a coffee shop afterwards. "
    "How many minutes does it take her?"
)


def pairs(train, audit, **options):
    found = find_overlap(
        [problem(f"t{i}", text) for i, text in enumerate(train)],
        [problem(f"a{i}", text) for i, text in enumerate(audit)],
        **options,
    )
    return {(pair.train, pair.audit, pair.kind) for pair in found.pairs}


def test_exact_copies_whatever_their_spacing_case_and_punctuation():
    retyped = (
        "  every MORNING Aya goes for a 9-kilometer-long walk, and stops at a coffee shop afterwards:\n"
        "how many minutes does it take her"
    )
    copies = [retyped, ORIGINAL.replace("$9$", r"$\,9$")]
    assert pairs(copies, [ORIGINAL]) == {("t0", "a0", "exact"), ("t1", "a0", "exact")}
    assert (
        pairs([r"Find $\dfrac{1}{2}$"], [r"Find $\frac12$"]) == set()
    )  # another way to write it: not found, and said so in the docs
    assert pairs([r"Find $\dfrac{1}{2}$"], [r"find \frac{1}{2}."]) == {("t0", "a0", "exact")}


def test_other_numbers_make_another_problem_of_a_short_one():
    assert pairs(["What is 17 + 25?"], ["What is 17 + 26?"]) == set()
    assert pairs(["What is 17 + 25?"], ["What is 17 - 25?"]) == set()


def test_near_copies_with_the_measures_worked_out_by_hand():
    """Ten words give eight 3-grams. The copy has the first nine words and another tenth: 7 of its 8 are shared; union
    9."""
    words = "one two three four five six seven eight nine ten".split()
    train, audit = problem("t", " ".join([*words[:9], "eleven"])), problem("a", " ".join(words))
    (pair,) = find_overlap([train], [audit], n=3).pairs
    assert pair.kind == "near" and pair.containment == pytest.approx(7 / 8) and pair.jaccard == pytest.approx(7 / 9)
    assert find_overlap([train], [audit], n=3, threshold=0.9).pairs == []


def test_a_problem_inside_a_longer_text_is_found():
    assert pairs(
        ["Here is a task for you, think well about it and write. " + ORIGINAL + " Put the answer in a box, please."],
        [ORIGINAL],
    ) == {("t0", "a0", "near")}


def test_a_shared_instruction_is_no_overlap():
    instruction = (
        "Solve the following problem step by step and put the final answer, as a number without its unit, in a box."
    )
    audit = [f"{instruction} What is {i} times {i + 1} plus {i + 2} minus {i + 3} over {i + 4}?" for i in range(40)]
    train = [f"{instruction} What is {i} times {i + 7} minus {i + 2}?" for i in range(100, 140)]
    assert pairs(train, audit) == set()


def test_messages_are_compared_by_what_the_user_says():
    chat = Problem(
        id="t",
        prompt=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": ORIGINAL}],
        answer="1",
        verifier="math",
    )
    found = find_overlap([chat], [problem("a", ORIGINAL)])
    assert [pair.kind for pair in found.pairs] == ["exact"]
    assert found.lines()[0] == (
        "1 of 1 audit problems are among the 1 others: 1 exact pairs, 0 near (8-grams, at least 0.7 of the smaller set)"
    )


@settings(max_examples=60, deadline=None)
@given(prompts=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=5))
def test_any_text_overlaps_with_itself_or_has_no_words(prompts):
    from explore_rl.problems.overlap import words

    found = pairs(prompts, prompts, n=2)
    for i, prompt in enumerate(prompts):
        assert bool(words(problem(i, prompt))) == ((f"t{i}", f"a{i}", "exact") in found)
