"""Traces, prefixes, replays and anchors: worked gradients of their terms, and who learns from what in a run."""

from dataclasses import replace

import numpy as np
import pytest
from fixed_batch import gradient_of_rows
from one_step import OneStep, drawn

from analysis.errors import InputError
from explore_rl import strategies
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies.held_out import key_of
from explore_rl.strategies.methods.adaptive_entropy import AdaptiveEntropy
from explore_rl.strategies.methods.bread import Bread
from explore_rl.strategies.methods.curriculum import Curriculum
from explore_rl.strategies.methods.dph_rl import DphRl
from explore_rl.strategies.methods.ex_grpo import ExGrpo
from explore_rl.strategies.methods.hints import Hints
from explore_rl.strategies.methods.hpt import Hpt
from explore_rl.strategies.methods.pba import Pba
from explore_rl.strategies.methods.prefix_rft import PrefixRft
from explore_rl.strategies.methods.prefix_rl import PrefixRL
from explore_rl.strategies.methods.relift import Relift
from explore_rl.strategies.methods.rep_exp import RepExp
from explore_rl.strategies.methods.rl_plus import RlPlus
from explore_rl.strategies.methods.rlep import Rlep
from explore_rl.strategies.methods.rlpr import Rlpr
from explore_rl.strategies.methods.srft import Srft
from explore_rl.strategies.methods.witness_floor import WitnessFloor
from explore_rl.strategies.replay import Bank
from explore_rl.strategies.signal import free_terms
from explore_rl.testing import digit_problems, digit_table, digits_config, run_steps
from explore_rl.types import Group, Problem

ONE_STEP = ("run.steps=1", "algorithm.importance_cap=null")


def term_of(strategy, at=0):
    return strategy.terms(digits_config())[at]


# --- the terms' gradients, by the logits of the tokens ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "probabilities", "also", "expected"),
    [
        (RlPlus(), [0.25], {}, [-0.371154]),  # w A' = .571429 x .866025, times 1 - p
        (ExGrpo(), [0.5], {"past_logprob": [0.25]}, [-0.022676]),  # .1 rho / (rho + .1)^2 at rho = 2, times 1 - p
        (DphRl(), [0.25], {"base_logprob": [0.5]}, [-0.375]),  # (u - 1)(1 - p)
        (DphRl(divergence="js"), [0.25], {"base_logprob": [0.5]}, [-0.152049]),  # u log(2u / (u + 1)) (1 - p)
        (WitnessFloor(), [0.25, 0.25], {"base_logprob": [0.5, 0.5]}, [-0.75, -0.75]),  # below the floor: -(1 - p)
        (WitnessFloor(), [0.4, 0.4], {"base_logprob": [0.5, 0.5]}, [0, 0]),  # .64 of the base's: above it
        (Hpt(), [0.25], {}, [-0.75]),
        (Relift(), [0.25], {}, [-0.75]),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_the_terms_gradient_is_the_one_by_hand(strategy, probabilities, also, expected):
    n = len(probabilities)
    found = gradient_of_rows(
        probabilities, probabilities, [1.0] * n, term=term_of(strategy), config=digits_config(), lengths=[n], also=also
    )
    assert found == pytest.approx(expected, abs=1e-6)


def test_adaptive_entropy_pulls_towards_entropy_and_then_moves_its_coefficient():
    one = OneStep(AdaptiveEntropy(target=2.0, initial=0.01, rate=0.005), [[0.5, 0.25, 0.125, 0.125]])
    update = one.step([drawn([0], 1), drawn([0], 1)])  # no advantage: the bonus alone
    assert update.gradient[0] == pytest.approx([0.0025993, -0.0004332, -0.0010831, -0.0010831], abs=1e-6)
    assert one.strategy.coefficient == 0.015 and one.metrics["coefficient"] == 0.01
    above = OneStep(AdaptiveEntropy(target=1.0, initial=0.01, rate=0.02), [[0.25] * 4])
    assert not above.step([drawn([0], 1), drawn([0], 1)]).gradient.any()  # it rests, and falls to 0 at most
    assert above.strategy.coefficient == 0.0


def test_rep_exp_pays_by_the_inverse_of_the_groups_matrix():
    one = OneStep(RepExp(beta=0.5), [[0.5, 0.25, 0.125, 0.125], [0.1, 0.2, 0.3, 0.4]], ("algorithm.advantage=dr_grpo",))
    samples = [drawn([0], 1), drawn([0, 1], 1), drawn([1, 1], 0), drawn([2, 2], 0)]
    one.step(samples)
    rows = one.learner.start.logits
    hidden = np.stack([rows[0] if len(s.rollout.tokens) == 1 else rows.mean(0) for s in samples])
    inverse = np.linalg.inv(np.eye(4) + hidden.T @ hidden)
    expected = [s.verdict.score + 0.5 * h @ inverse @ h for s, h in zip(samples, hidden, strict=True)]
    assert [s.reward for s in samples] == pytest.approx(expected)
    assert samples[0].reward > samples[1].reward  # it stands alone in its direction


# --- traces -----------------------------------------------------------------------------------------------------------


class Seen(strategies.Strategy):
    """Keeps the groups that were learnt from."""

    def after_update(self, groups, context):
        self.groups = groups


def groups_after(folder, strategy, *settings, problems=None, table=None):
    seen = Seen()
    config = digits_config(*ONE_STEP, *settings)
    outcome = run_steps(folder, [strategy, seen], config=config, problems=problems, table=table)
    return seen.groups, outcome


def sure_of(wrong):
    """A table that answers every problem with the digits `wrong`."""
    table = digit_table()
    tokens = [3 if d == "3" else int(d) for d in wrong]
    for position, digit in enumerate(tokens):
        rows = np.arange(len(table.logits)) % 3 == position
        table.logits[rows] = -30.0
        table.logits[rows, digit] = 0.0
    return table


def test_srft_weighs_imitation_against_reinforcement_by_entropy(tmp_path):
    groups, outcome = groups_after(tmp_path, Srft(imitation=0.5, success=0.1), "algorithm.advantage=dr_grpo")
    every = [s for g in groups for s in g.samples]
    traces = [s for s in every if s.rollout.request.source == "trace"]
    of_draws = np.concatenate([s.columns["entropy"] for s in every if s.rollout.drawn]).mean()
    of_traces = np.concatenate([s.columns["entropy"] for s in traces]).mean()
    assert len(traces) == 4
    for sample in traces:
        assert sample.terms["srft_likelihood"] == pytest.approx(0.5 * np.exp(-of_traces), rel=1e-5)
    for sample in (s for s in every if s.rollout.drawn):
        expected = 0.1 * np.exp(of_draws) if sample.verdict.score == 1 else -1.0
        assert sample.advantage == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gate", [0.0, 0.2])
def test_hpt_imitates_what_failed_and_reinforces_the_rest(tmp_path, gate):
    groups, outcome = groups_after(tmp_path, Hpt(gate=gate))
    solved = [np.mean([s.verdict.score for s in g.samples if s.rollout.drawn]) for g in groups]
    for group, share in zip(groups, solved, strict=True):
        feeding = {name for s in group.samples for name in s.terms}
        assert feeding == ({"hpt_likelihood"} if share <= gate else {"policy_gradient"})
    assert outcome.metrics[0]["hpt/imitated"] == sum(share <= gate for share in solved)


def test_relift_waits_for_a_full_buffer_and_learns_it_once(tmp_path):
    relift, seen = Relift(size=8), Seen()
    table = sure_of("33")  # every draw fails, on 5 problems in 4 groups a step
    with pytest.raises(Exception, match="no group had any signal"):
        run_steps(
            tmp_path / "a", [Relift(size=99)], config=digits_config(*ONE_STEP, "run.max_silent_steps=1"), table=table
        )
    relift = Relift(size=5)
    config = digits_config("run.steps=2", "algorithm.importance_cap=null")
    outcome = run_steps(tmp_path / "b", [relift, seen], config=config, table=table)
    assert not outcome.updates[0].rows or not outcome.updates[0].gradient.any()
    learnt = [row for row in outcome.updates[1].rows if "relift" in row.terms]
    assert len(learnt) == 5 and relift.buffer == [] and len(seen.groups) == 9


def test_no_teacher_shows_a_problem_that_the_run_is_judged_on(tmp_path, step, draft):
    """By its numbers in any order, whatever it is called; also where a strategy brings it in, and into a bank."""
    from explore_rl.lab import problems as lab

    (judged,) = lab.load("lab:countdown?level=3&split=audit&size=1")
    (taught,) = lab.load("lab:countdown?level=3&split=train&size=1")
    order = judged.answer["numbers"][::-1]
    disguised = replace(taught, id="mine", answer={"numbers": order, "target": judged.answer["target"]})
    assert key_of(disguised) == key_of(judged) != key_of(taught)
    said = "problem mine is also in lab:countdown.*which the run is judged on"
    for name in (
        "trace_injection",
        "rl_plus",
        "prefix_rl",
        "prefix_rft",
        "bread",
        "hints",
        "hpt",
        "relift",
        "likelihood",
    ):
        strategy = strategies.class_of(name)()
        with pytest.raises(InputError, match=said):
            strategy.check(digits_config(), [taught, disguised], [])
    with pytest.raises(InputError, match=said):  # brought in during the run
        strategies.class_of("bread")().source.prepare([disguised], step())
    won = drawn([0], 1)
    won.columns["old_logprob"] = np.zeros(1, dtype=np.float32)
    with pytest.raises(InputError, match=said):
        Bank("rlep", size=4).add([Group(disguised, [won])], step())


# --- prefixes ---------------------------------------------------------------------------------------------------------


def test_prefix_rl_gives_whole_groups_a_beginning_that_teaches_nothing(tmp_path):
    groups, outcome = groups_after(tmp_path, PrefixRL(low=0.4, high=0.4, rate=1.0))
    for group in groups:
        beginnings = {tuple(s.rollout.tokens[:1]) for s in group.samples}
        assert len(beginnings) == 1 and all(s.rollout.given.tolist()[:2] == [True, False] for s in group.samples)
        assert all(s.rollout.request.in_baseline for s in group.samples)
    assert all(row.mask[0] == 0 and row.mask[1:].all() for row in outcome.updates[0].rows)


def test_prefix_rft_learns_from_the_unsure_part_of_one_prefix(tmp_path):
    strategy = PrefixRft(low=0.7, high=0.7, final=0.7, top=0.5)
    groups, outcome = groups_after(tmp_path, strategy)
    for group in groups:
        (hybrid,) = [s for s in group.samples if s.rollout.given.any()]
        assert hybrid.rollout.given.sum() == 2 and hybrid.rollout.request.source == "hybrid"
        entropy = hybrid.columns["entropy"][:2]
        assert hybrid.columns["learn_given"].tolist() == [
            float(entropy[0] >= entropy[1]),
            float(entropy[1] > entropy[0]),
            0,
        ]
    masks = [row.mask.tolist() for row in outcome.updates[0].rows]
    assert sum(mask[:2] in ([1, 0], [0, 1]) for mask in masks) == 4  # one token of the two that were given


@pytest.mark.parametrize(
    ("strategy", "attempts"), [(Bread(branches=3, attempts=2), 2), (Hints(tiers=[0.4, 0.7], draws=3), 2)]
)
def test_a_failed_group_goes_on_from_longer_prefixes_until_it_succeeds(tmp_path, strategy, attempts):
    groups, outcome = groups_after(tmp_path, strategy, table=sure_of("33"))
    for group in groups:
        given = [int(s.rollout.given.sum()) for s in group.samples]
        # The policy answers 33, whatever is given: one digit of it, then both, which then are right.
        assert given[:8] == [0] * 8 and given[8:] in ([1] * 3 + [2] * 3, [1] * 3)
        assert any(s.verdict.score == 1 for s in group.samples) or given[8:] == [1] * 3 + [2] * 3
    name = "branched" if isinstance(strategy, Bread) else "hinted"
    assert outcome.metrics[0][f"{strategy.name}/{name}"] == sum(len(g.samples) - 8 for g in groups)


def test_hints_join_replace_or_swap_and_wait(tmp_path):
    sizes = {}
    for use in ("join", "replace", "swap"):
        strategy = Hints(tiers=[0.7], draws=3, use=use)
        groups, _ = groups_after(tmp_path / use, strategy, table=sure_of("33"))
        sizes[use] = {(len(g.samples), sum(s.rollout.given.any() for s in g.samples)) for g in groups}
    assert sizes == {"join": {(11, 3)}, "replace": {(4, 3)}, "swap": {(8, 1)}}
    config = digits_config("run.steps=2", "algorithm.importance_cap=null")
    outcome = run_steps(tmp_path / "late", [Hints(after=1.0)], config=config, table=sure_of("33"))
    assert "hints/hinted" not in outcome.metrics[0]


def test_a_hint_in_the_prompt_is_trained_under_that_prompt(step):
    strategy = Hints(place="prompt", tiers=[0.5], template="{prompt}{hint}")
    problem = Problem("a", "8 2=4", {"numbers": [2, 8], "target": 4}, "countdown")
    hinted = strategy._with_hint(problem, "8/")
    assert hinted.prompt == "8 2=48/"
    chat = strategy._with_hint(replace(problem, prompt=[{"role": "user", "content": "8 2=4"}]), "8/")
    assert chat.prompt == [{"role": "user", "content": "8 2=48/"}]


# --- replays ----------------------------------------------------------------------------------------------------------


def test_rlep_replays_what_was_drawn_with_its_probability_then(tmp_path):
    seen = Seen()
    outcome = run_steps(tmp_path, [Rlep(count=1), seen], config=digits_config("run.steps=4"))
    replays = [s for g in seen.groups for s in g.samples if s.rollout.request.source == "replay"]
    assert replays and all(s.rollout.request.in_baseline and s.verdict.score == 1 for s in replays)
    rows = [row for row in outcome.updates[-1].rows if "past_logprob" in row.columns]
    assert len(rows) == len(replays)
    drew = {}
    for number in range(3):
        drew |= {(s["problem_id"], tuple(s["tokens"])): s["old_logprobs"] for s in outcome.samples(number)}
    for group in seen.groups:
        for sample in (s for s in group.samples if s in replays):
            assert sample.columns["old_logprob"] is sample.columns["past_logprob"]
            assert (group.problem.id, tuple(sample.rollout.tokens.tolist())) in drew


def test_ex_grpo_replays_half_solved_problems_in_place_of_a_draw(tmp_path):
    seen = Seen()
    config = digits_config("run.steps=4", "algorithm.importance_cap=null")
    strategy = ExGrpo(start=0.0, share=0.5)
    outcome = run_steps(tmp_path, [strategy, seen], config=config)
    assert [m["ex_grpo/replayed"] for m in outcome.metrics][0] == 0 and outcome.metrics[3]["ex_grpo/replayed"] == 2
    replayed = [g for g in seen.groups if any("ex_grpo" in s.terms for s in g.samples)]
    assert len(replayed) == 2 and all(len(g.samples) == 8 for g in replayed)
    assert {g.problem.id for g in replayed} <= strategy.bank.kept.keys()
    waiting = run_steps(tmp_path / "waits", [ExGrpo(start=0.9)], config=config)
    assert all(m["ex_grpo/replayed"] == 0 for m in waiting.metrics)


def test_a_curriculum_brings_back_what_is_solved_now_and_then(tmp_path):
    strategy = Curriculum(share=1.0, most=0.3)
    outcome = run_steps(tmp_path, [strategy], config=digits_config("run.steps=3"))
    assert outcome.metrics[0]["curriculum/brought_back"] == 0
    solved = [s["problem_id"] for s in outcome.samples(1) if s["verdict"] == "correct"]
    assert outcome.metrics[1]["curriculum/brought_back"] >= 1 and solved


# --- anchors ----------------------------------------------------------------------------------------------------------


def test_dph_rehearses_easy_groups_on_the_bases_draws_and_reinforces_the_others(tmp_path):
    groups, outcome = groups_after(tmp_path, DphRl(easy=0.5, eta=0.2))
    easy = []
    for group in groups:
        anchors = [s for s in group.samples if s.rollout.request.engine == "base"]
        assert len(anchors) == 4 and not any(s.rollout.request.in_baseline for s in anchors)
        easy.append(np.mean([s.verdict.score for s in anchors]) >= 0.5)
        for sample in group.samples:
            is_right = sample.verdict.score == 1
            if sample in anchors:
                assert sample.terms == ({"dph": 0.2} if easy[-1] and is_right else {})
            else:
                assert sample.terms == ({} if easy[-1] else {"policy_gradient": 1.0})
    assert outcome.metrics[0]["dph_rl/easy_groups"] == sum(easy)


def test_pba_holds_boundary_problems_alone(tmp_path):
    counts = tmp_path / "base.csv"
    counts.write_text(
        "problem_id,n,correct\n" + "".join(f"sum-{i},64,{c}\n" for i, c in enumerate((3, 3, 40, 0, 1), 1))
    )
    strategy = Pba(base=str(counts), k=16, reach=0.5, coefficient=0.5)
    strategy.check(digits_config(), digit_problems(), [])
    assert strategy.boundary == {"sum-1", "sum-2"}  # 3 of 64 is .047, and pass@16 = .58; 1 of 64 gives .25
    for options, said in (
        ({"k": 65}, "pass@65 wants more"),
        ({"reach": 0.9}, "no training problem is at the boundary"),
    ):
        with pytest.raises(InputError, match=said):
            Pba(**{"base": str(counts), "k": 16, **options}).check(digits_config(), digit_problems(), [])


def test_the_floor_is_a_regulariser_and_no_reason_to_learn_from_a_group():
    assert WitnessFloor.regulariser and free_terms([]) == frozenset()
    assert isinstance(term_of(WitnessFloor()), LossTerm)


# --- rewards without a verifier ---------------------------------------------------------------------------------------


def test_rlpr_pays_what_the_reasoning_adds_to_the_references_probability(tmp_path):
    """The table knows positions alone, so what comes before the marker moves the reference along."""
    problems = digit_problems()
    config = digits_config(*ONE_STEP, "rollout.max_new_tokens=6", "algorithm.divide_by_std=false")
    table = digit_table(problems, config=config)
    table.logits[:] = np.random.default_rng(0).normal(size=table.logits.shape)
    table.logits[:, 10:] = -30.0  # digits alone
    outcome = run_steps(tmp_path, [Rlpr(marker="3", filter=0.0)], config=config, problems=problems, table=table)
    rewards = []
    for sample in outcome.samples(0):
        reference = int(sample["problem_id"][-1])
        first = table.row_of(tuple(sample["prompt_tokens"]), ())
        at = sample["text"].rfind("3")
        if 0 <= at < 4:
            chances = np.exp(table.log_probabilities(np.array([first + at + 1, first + 1]))[:, reference])
            assert sample["reward"] == pytest.approx(max(0.0, chances[0] - chances[1]), abs=1e-6)
            rewards.append(sample["reward"])
        else:
            assert sample["reward"] == 0
    assert max(rewards) > 0


def test_rlprs_filter_leaves_groups_out_whose_rewards_hardly_differ(tmp_path):
    strategy = Rlpr(marker="1", filter=0.5)
    strategy.usual = 1.0
    groups = [Group(problem, [drawn([0], 1), drawn([1], 0)]) for problem in digit_problems()[:2]]
    groups[1].samples[0].reward = 2.5
    context = type("Context", (), {"metrics": {}})()
    strategy._filter(groups, context)
    assert [s.reward for g in groups for s in g.samples] == [1, 0, 2.5, 0]  # deviations .5 and 1.25: none is below .5
    strategy.usual = 2.0
    strategy._filter(groups, context)
    assert [s.reward for g in groups for s in g.samples] == [None, None, 2.5, 0] and context.metrics["filtered"] == 0.5
