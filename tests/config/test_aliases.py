"""Names of verl, TRL and OpenRLHF lead to ours, or to what there is here instead."""

import re

import pytest

from analysis.errors import InputError
from explore_rl.config.aliases import ALIASES, INSTEAD, INSTEAD_OF, THEIRS
from explore_rl.config.loading import load_config
from explore_rl.config.schema import all_settings


@pytest.mark.parametrize(
    ("theirs", "hint"),
    [
        # By the last word, whatever the section; a name of two words wins over the word alone.
        ("actor_rollout_ref.actor.optim.lr", "did you mean learner.learning_rate?"),
        ("critic.optim.lr", "did you mean learner.critic_learning_rate?"),
        ("actor_rollout_ref.rollout.n", "did you mean algorithm.group_size?"),
        ("actor_rollout_ref.rollout.val_kwargs.n", "did you mean run.evaluate_samples?"),
        ("actor_rollout_ref.rollout.val_kwargs.temperature", "did you mean run.evaluations?"),
        ("actor_rollout_ref.rollout.name", "here completions are always drawn by vLLM"),
        ("actor_rollout_ref.rollout.engine_kwargs.vllm.swap_space", "did you mean rollout.engine?"),
        ("num_generations", "did you mean algorithm.group_size?"),
        ("gradient_accumulation_steps", "did you mean learner.micro_batch_tokens?"),
        ("lora_r", "did you mean learner.lora?"),
        ("top_k", "here training draws from the model's whole distribution"),
        ("algorithm.kl_ctrl.horizon", "here the KL has a constant coefficient"),
        ("value_clip", "here a critic is the strategy ppo's"),
        ("trainer.resume_mode", "here explore-rl resume RUN"),
        ("learner.learning_rat", "did you mean learner.learning_rate?"),
    ],
)
def test_a_name_of_other_trainers_leads_to_ours_or_to_what_there_is_instead(theirs, hint):
    with pytest.raises(InputError, match=re.escape(hint)):
        load_config(None, [f"{theirs}=1"])


def test_the_names_of_other_trainers_stand_for_settings_that_are_there_and_one_each():
    ours = set(all_settings())
    assert set(THEIRS) <= ours and not ours & set(ALIASES) and not set(ALIASES) & set(INSTEAD_OF)
    listed = [name for names in (*THEIRS.values(), *INSTEAD) for name in names.split()]
    assert len(listed) == len(set(listed))
