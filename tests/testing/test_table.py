"""The table of logits itself: its draws, its log-probabilities and its gradient, each against the plain way."""

import learner_kit
import numpy as np
import pytest
from scipy.stats import binom

from analysis.errors import InputError
from explore_rl.cluster.faults import ActorFault, RunStopped
from explore_rl.config.schema import Config
from explore_rl.learner.messages import POLICY_ALONE, LearnerNeeds
from explore_rl.objectives import divergences, losses
from explore_rl.objectives.readouts import HIDDEN_MEAN, VALUE, entropy, logprob, rank_of_target
from explore_rl.objectives.terms import LossTerm
from explore_rl.rollout.answers import BadAnswer
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.testing import LogitTable, TableEngines, TableLearner, digits_config
from explore_rl.training.rows import sequence_of
from explore_rl.types import Request, Row

END, VOCABULARY = 19, 21
PROMPT = (4, 16)
TERMS = [
    LossTerm("policy_gradient", losses.ppo_clip, ("old_logprob", "advantage"), {"clip_low": 0.2, "clip_high": 0.28}),
    LossTerm("kl", divergences.k3, ("base_logprob",)),
    LossTerm("entropy", losses.entropy_bonus, (entropy(0.7),)),
    LossTerm("shaped_trace", losses.shaped_trace, ("advantage",), {"gamma": 0.1}),
    LossTerm("likelihood", losses.likelihood, ()),
]


def random_table(positions=4, vocabulary=VOCABULARY, seed=0):
    table = LogitTable.by_position([PROMPT], positions=positions, vocabulary=vocabulary)
    table.logits[:] = np.random.default_rng(seed).normal(0.0, 1.0, table.logits.shape)
    return table


def softmax(logits, temperature):
    p = np.exp(logits / temperature)
    return p / p.sum()


def engines_of(table, **options):
    engines = TableEngines(Config(), table, **options)
    engines.receive(table, 7)
    return engines


def requests(count, **fields):
    return [Request("p", 0, PROMPT, seed=hashed_seed("table", i), **({"max_tokens": 4} | fields)) for i in range(count)]


# --- drawing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_tokens_are_drawn_as_often_as_the_table_says(temperature):
    """An exact binomial test a token.

    Together they refuse a right engine once in a million seeds, and see that the likeliest token is off by 0.1.
    """
    n, p = 2000, softmax(random_table().logits[0], temperature)
    drawn = engines_of(random_table()).generate(requests(n, max_tokens=1, temperature=temperature))
    counts = np.bincount([rollout.tokens[0] for rollout in drawn], minlength=VOCABULARY)
    level = 1e-6 / VOCABULARY / 2
    low, high = binom.ppf(level, n, p), binom.isf(level, n, p)
    assert ((low <= counts) & (counts <= high)).all()
    likely = p.argmax()
    power = binom.cdf(low[likely] - 1, n, p[likely] - 0.1) + binom.sf(high[likely], n, p[likely] - 0.1)
    assert power > 0.99


def test_a_completion_ends_with_the_end_token_or_its_length_and_depends_on_its_request_alone():
    table = random_table()
    table.logits[:, END] = 2.0
    engines = engines_of(table)
    first = engines.generate(requests(50))
    again = engines.generate(requests(50)[::-1])[::-1]
    assert [r.tokens.tolist() for r in first] == [r.tokens.tolist() for r in again]
    for rollout in first:
        assert END not in rollout.tokens[:-1] and len(rollout.tokens) <= 4
        assert rollout.finish_reason == ("stop" if rollout.tokens[-1] == END else "length")
        assert rollout.text == engines.tokenizer.decode(rollout.tokens, skip_special_tokens=True)
        assert rollout.weight_version == 7
    assert {r.finish_reason for r in first} == {"stop", "length"} and len({r.tokens.tobytes() for r in first}) > 10


def test_log_probabilities_are_the_tables_and_the_learner_says_the_same():
    table = random_table()
    learner = TableLearner(Config(), table, needs=LearnerNeeds(base=True))
    rollouts = engines_of(table).generate(requests(20, temperature=0.7, prefix_ids=(3,)))
    sequences = [sequence_of(r) for r in rollouts]
    for model in ("policy", "base"):
        read = learner.read(sequences, (logprob(0.7), entropy(0.7)), model=model)
        for rollout, (logprobs, entropies) in zip(rollouts, read, strict=True):
            p = np.stack([softmax(row, 0.7) for row in table.logits[: len(rollout.tokens)]])
            expected = np.log(p[np.arange(len(p)), rollout.tokens])
            assert (
                rollout.given[0] and rollout.logprobs[0] == 0 and rollout.tokens[0] == 3 and not rollout.given[1:].any()
            )
            np.testing.assert_allclose(rollout.logprobs[1:], expected[1:], rtol=1e-6)
            np.testing.assert_allclose(logprobs, expected, rtol=1e-6)
            np.testing.assert_allclose(entropies, -(p * np.log(p)).sum(axis=1), rtol=1e-6)


def test_by_last_token_a_row_belongs_to_what_came_before():
    table = LogitTable.by_last_token(5)
    assert table.rows((1, 4), (2, 0, 3)).tolist() == [4, 2, 0]


def test_an_engine_refuses_what_a_real_one_would():
    table = random_table()
    fresh = TableEngines(Config(), table)
    with pytest.raises(RuntimeError, match="holds no weights"):
        fresh.generate(requests(1))
    engines = engines_of(table)
    with pytest.raises(ValueError, match="'base' engines, but none was started"):
        engines.generate(requests(1, engine="base"))
    with pytest.raises(ValueError, match="leaves nothing to draw"):
        engines.generate(requests(1, prefix_ids=(1, 2, 3, 4)))
    with pytest.raises(ValueError, match="top_p"):
        engines.generate(requests(1, top_p=0.5))
    with pytest.raises(ValueError, match="no row for position 4"):
        table.row_of(PROMPT, (1, 2, 3, 4))
    with pytest.raises(ValueError, match="no stop strings"):
        TableEngines(digits_config("rollout.stop=['4']"), table)


def test_a_killed_engine_is_replaced_by_one_without_weights():
    engines = engines_of(random_table())
    before = engines.generate(requests(5))
    assert engines.restart_dead() == []
    engines.kill()
    with pytest.raises(ActorFault, match="^rollout engine 0, asked to draw 5 completions: died"):
        engines.generate(requests(5))
    assert engines.restart_dead() == ["rollout engine 0"]
    with pytest.raises(RuntimeError, match="holds no weights"):
        engines.generate(requests(5))
    engines.receive(random_table(), 8)
    assert [r.tokens.tolist() for r in engines.generate(requests(5))] == [r.tokens.tolist() for r in before]


def test_an_engine_whose_log_probability_is_no_number_is_a_fault_that_says_who():
    table = random_table()
    engines = engines_of(table)
    engines.policy.logits[1, 0] = np.nan  # broken weights: every log-probability of the row is NaN
    with pytest.raises(
        BadAnswer, match=r"problem p, drawn by the 'policy' engines with weights of version 7: .* is nan"
    ):
        engines.generate(requests(20))
    assert issubclass(BadAnswer, RunStopped)


def test_the_base_engine_keeps_the_first_table():
    engines = engines_of(random_table(), needs_base=True)
    engines.receive(random_table(seed=1), 8)
    drawn = engines.generate(requests(30, engine="base", source="base"))
    first = engines_of(random_table()).generate(requests(30))
    assert [r.tokens.tolist() for r in drawn] == [r.tokens.tolist() for r in first]
    assert {r.weight_version for r in drawn} == {-1}


# --- learning ---------------------------------------------------------------------------------------------------------


def learner_of(table, needs=POLICY_ALONE, **learner):
    config = Config()
    config.rollout.temperature = 0.7
    config.learner.optimizer, config.learner.learning_rate, config.learner.max_grad_norm = "sgd", 1.0, 0.0
    for key, value in learner.items():
        setattr(config.learner, key, value)
    return TableLearner(config, table, needs=needs)


def make_rows(table, count=8, seed=0):
    """Rows with every term, a masked token here and there, and log-probabilities from elsewhere."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        length = int(rng.integers(1, 5))
        tokens = np.array([*PROMPT, *rng.integers(0, table.vocabulary, length)], dtype=np.int32)
        columns = {name: rng.normal(-2.0, 0.5, length).astype(np.float32) for name in ("old_logprob", "base_logprob")}
        columns["advantage"] = rng.normal(0.0, 1.0, length).astype(np.float32)
        mask = np.ones(length, dtype=np.float32)
        mask[0] = float(length == 1 or i % 2)
        kinds = [{"policy_gradient": 0.5, "kl": 0.2, "entropy": 0.3}, {"shaped_trace": 0.7}, {"likelihood": 0.4}]
        rows.append(Row(tokens, len(PROMPT), kinds[i % 3], columns, mask))
    return rows


def loss_at(table, logits, rows):
    moved = table.copy()
    moved.logits[:] = logits
    return learner_of(moved).update([rows], TERMS)[0].loss


def test_the_gradient_is_that_of_finite_differences():
    table = random_table(vocabulary=6)
    rows = make_rows(table)
    learner = learner_of(table)
    [report] = learner.update([rows], TERMS)
    gradient = learner.history[0].gradient
    step = 1e-5
    expected = np.zeros_like(gradient)
    for place in np.ndindex(gradient.shape):
        nudge = np.zeros_like(gradient)
        nudge[place] = step
        ahead, behind = (loss_at(table, table.logits + sign * nudge, rows) for sign in (1, -1))
        expected[place] = (ahead - behind) / (2 * step)
    np.testing.assert_allclose(gradient, expected, atol=1e-8)
    assert np.abs(gradient).max() > 0.1
    assert report.grad_norm == pytest.approx(np.linalg.norm(expected), rel=1e-6)
    assert report.loss == pytest.approx(sum(value for key, value in report.metrics.items() if key.endswith("/loss")))


def test_sgd_takes_off_the_gradient_up_to_the_norm_it_is_clipped_to():
    table = random_table()
    rows = make_rows(table)
    free, clipped = learner_of(table, learning_rate=0.5), learner_of(table, learning_rate=0.5, max_grad_norm=0.01)
    for learner in (free, clipped):
        learner.update([rows], TERMS)
    gradient = free.history[0].gradient
    np.testing.assert_allclose(free.policy.logits, table.logits - 0.5 * gradient, rtol=1e-12)
    moved = table.logits - clipped.policy.logits
    assert np.linalg.norm(moved) == pytest.approx(0.005, rel=1e-3)
    np.testing.assert_allclose(moved / np.linalg.norm(moved), gradient / np.linalg.norm(gradient), atol=1e-9)


def test_a_row_that_is_not_finite_makes_no_step():
    table = random_table()
    bad = make_rows(table)
    bad[0].columns["advantage"][:] = np.nan
    learner = learner_of(table)
    reports = learner.update([bad, make_rows(table), []], TERMS)
    assert [report.finite for report in reports] == [False, True, True]
    only = learner_of(table)
    only.update([make_rows(table)], TERMS)
    assert (learner.policy.logits == only.policy.logits).all()
    assert learner.steps_taken == 1


def test_rows_and_scores_that_do_not_fit_are_refused():
    table = random_table()
    learner = learner_of(table)
    [row] = make_rows(table, 1)
    row.terms = {"surprise": 1.0}
    with pytest.raises(ValueError, match="surprise"):
        learner.update([[row]], TERMS)
    row.terms = {"kl": 1.0}
    del row.columns["base_logprob"]
    with pytest.raises(ValueError, match="base_logprob"):
        learner.update([[row]], TERMS)
    with pytest.raises(ValueError, match="not announced"):
        learner.read([(row.tokens, row.prompt_length)], (logprob(),), model="base")


def test_adam_goes_on_from_a_checkpoint_bit_for_bit(tmp_path):
    table = random_table()
    adam = {"optimizer": "adamw", "learning_rate": 0.1, "schedule": "cosine"}
    learner = learner_of(table, **adam)
    learner.update([make_rows(table, seed=0)], TERMS)
    learner.save_checkpoint(tmp_path / "learner")
    learner.update([make_rows(table, seed=1)], TERMS)
    resumed = learner_of(table, **adam)
    resumed.load_checkpoint(tmp_path / "learner")
    resumed.update([make_rows(table, seed=1)], TERMS)
    assert (resumed.policy.logits == learner.policy.logits).all()
    assert (resumed.policy.logits != table.logits).any()
    with pytest.raises(InputError, match="not a checkpoint"):
        resumed.load_checkpoint(tmp_path / "nowhere")


# --- whole sequences, whole mini-batches, other models ----------------------------------------------------------------

WHOLE = [*learner_kit.WHOLE_TERMS, learner_kit.BALANCE, learner_kit.VALUE_TERM]
ALL = LearnerNeeds(base=True, critic=True, heads=("log_z",))


def whole_rows(table, count=6, seed=0, terms=()):
    """Rows that feed terms which look at more than a token, a head and a critic."""
    rows = make_rows(table, count, seed)
    kinds = [
        {"gspo": 0.4, "balance": 0.1},
        {"covariance": 0.5, "value": 0.3},
        {"gap": 0.1, "cold_entropy": 0.2, "value": 0.2},
    ]
    for i, row in enumerate(rows):
        row.terms = {name: weight for name, weight in kinds[i % 3].items() if not terms or name in terms}
        row.columns["return"] = np.linspace(-1.0, 1.0, len(row.mask), dtype=np.float32)
        row.columns["value"] = np.zeros(len(row.mask), dtype=np.float32)
    return rows


def test_terms_of_whole_sequences_and_readouts_have_the_gradient_of_finite_differences():
    table = random_table(vocabulary=6)
    rows = whole_rows(table, terms=("gspo", "balance", "gap", "cold_entropy"))
    learner = learner_of(table, ALL)
    learner.update([rows], WHOLE)
    gradient = learner.history[0].gradient
    rng = np.random.default_rng(0)
    for _ in range(3):  # along three directions
        step = 1e-5 * rng.normal(size=gradient.shape)
        ends = []
        for sign in (1, -1):
            moved = table.copy()
            moved.logits[:] = table.logits + sign * step
            ends.append(learner_of(moved, ALL).update([rows], WHOLE)[0].loss)
        assert (ends[0] - ends[1]) / 2 == pytest.approx((gradient * step).sum(), rel=1e-5)


def test_sums_and_gathered_numbers_are_of_all_tokens_that_feed_the_term():
    table = random_table()
    rows = whole_rows(table, 12, terms=("covariance",))
    learner = learner_of(table)
    [report] = learner.update([[row for row in rows if row.terms]], WHOLE[:4])
    feeding = [row for row in rows if row.terms]
    read = learner_of(table).read([(row.tokens, row.prompt_length) for row in feeding], (logprob(0.7),))
    logprobs = np.concatenate([v[row.mask != 0] for (v,), row in zip(read, feeding, strict=True)]).astype(float)
    advantage = np.concatenate([row.columns["advantage"][row.mask != 0] for row in feeding]).astype(float)
    chosen = logprobs * advantage >= np.quantile(logprobs * advantage, 0.7)
    loss = 0.5 * (chosen * (logprobs - logprobs.mean()) * (advantage - advantage.mean())).sum()
    assert report.loss == pytest.approx(loss, rel=1e-5)
    assert report.metrics["covariance/tokens"] == report.metrics["covariance/of"] == len(logprobs)


def test_a_critic_is_a_table_of_values_that_a_value_loss_moves():
    table = random_table()
    rows = [row for row in whole_rows(table, terms=("value",)) if row.terms]
    learner = learner_of(table, ALL, critic_learning_rate=0.5)
    [report] = learner.update([rows], WHOLE)
    expected = np.zeros(len(table.logits))
    for row in rows:
        for position in np.flatnonzero(row.mask):  # the value is 0, and the loss (value - return)^2 / 2
            expected[position] += 0.5 * row.terms["value"] * row.columns["return"][position]
    np.testing.assert_allclose(learner.values.detach().numpy(), expected, rtol=1e-6)
    assert (learner.policy.logits == table.logits).all() and report.loss == report.grad_norm == 0.0
    assert report.metrics["critic/gradient_norm"] == pytest.approx(2 * np.linalg.norm(expected), rel=1e-6)
    [(values,)] = learner.read([(rows[0].tokens, rows[0].prompt_length)], (VALUE,), model="critic")
    np.testing.assert_allclose(values, expected[: len(values)], rtol=1e-6)


def test_all_models_resume_bit_for_bit(tmp_path):
    table = random_table()
    adam = {"optimizer": "adamw", "learning_rate": 0.1, "critic_learning_rate": 0.2}

    def state(learner):
        heads = [head.detach().numpy().copy() for head in learner.heads.values()]
        return [
            learner.policy.logits.copy(),
            learner.base.logits.copy(),
            learner.values.detach().numpy().copy(),
            *heads,
        ]

    learner = learner_of(table, ALL, **adam)
    learner.update([whole_rows(table, seed=0)], WHOLE)
    learner.refresh_base()
    learner.update([whole_rows(table, seed=1)], WHOLE)
    learner.save_checkpoint(tmp_path / "learner")
    learner.update([whole_rows(table, seed=2)], WHOLE)
    resumed = learner_of(table, ALL, **adam)
    resumed.load_checkpoint(tmp_path / "learner")
    assert (resumed.base.logits != table.logits).any() and (resumed.base.logits != resumed.policy.logits).any()
    resumed.update([whole_rows(table, seed=2)], WHOLE)
    for found, expected, initial in zip(state(resumed), state(learner), state(learner_of(table, ALL)), strict=True):
        assert (found == expected).all() and (found != initial).any()
    with pytest.raises(InputError, match="was saved with heads"):
        learner_of(table).load_checkpoint(tmp_path / "learner")


def test_a_reset_optimizer_is_a_new_one():
    table = random_table()
    adam = {"optimizer": "adamw", "learning_rate": 0.1}
    learner = learner_of(table, **adam)
    learner.update([make_rows(table, seed=0)], TERMS)
    fresh = learner_of(learner.policy, **adam)
    learner.reset_optimizer()
    for each in (learner, fresh):
        each.update([make_rows(table, seed=1)], TERMS)
    assert (learner.policy.logits == fresh.policy.logits).all()


def test_a_hidden_state_is_a_row_of_logits_and_its_mean_one_vector_a_sequence():
    table = random_table()
    tokens = np.array([*PROMPT, 3, 5, 7], dtype=np.int32)
    [(mean, ranks)] = learner_of(table).read([(tokens, 2)], (HIDDEN_MEAN, rank_of_target()))
    np.testing.assert_allclose(mean, table.logits[:3].mean(axis=0), rtol=1e-6)
    assert ranks.tolist() == [(table.logits[i] > table.logits[i, t]).sum() for i, t in enumerate((3, 5, 7))]
