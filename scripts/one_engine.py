"""One vLLM engine in this process, without actors: for checks that hold its draws against exact enumeration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from explore_rl.config.loading import load_config
from explore_rl.models import end_token_ids
from explore_rl.rollout.settings import engine_environment, engine_settings
from explore_rl.types import Request


class OneEngine:
    """An engine on the CPU with the weights of a checkpoint.

    policy: the checkpoint's folder.
    options: of vLLM, besides ours.
    ends: the ids of its end tokens.
    """

    def __init__(self, policy: str, **options: Any):
        # vLLM reads its settings when it is imported. Intel's OpenMP, which only makes it quicker, is too late here.
        config = load_config(None, ["rollout.threads=1"])
        os.environ |= {k: v for k, v in engine_environment(config, "cpu").items() if k != "LD_PRELOAD"}
        from transformers import AutoTokenizer

        from explore_rl.rollout import vllm_compat

        self.ends = set(end_token_ids(policy))
        self.settings = vllm_compat.EngineSettings(
            model=policy,
            dtype="float32",
            load_format="auto",
            max_num_seqs=256,
            end_tokens=tuple(self.ends),
            stop=(),
            device=engine_settings(config, "cpu") | options,
        )
        self.codes: Any = AutoTokenizer.from_pretrained(policy)
        self.in_flight = vllm_compat.InFlight(vllm_compat.make_engine(self.settings))
        self._draw = vllm_compat.draw

    def prompt_ids(self, prompt: str) -> np.ndarray:
        """int32 [L]"""
        return np.array(self.codes(prompt).input_ids, dtype=np.int32)

    def draw(self, requests: list[Request]) -> Iterator[tuple[int, tuple[int, ...], float]]:
        """The request's index, the tokens drawn, and the sum of their log-probabilities, as requests end."""
        for i, drawn in self._draw(self.in_flight, requests, settings=self.settings, on_step=lambda moved: True):
            yield i, tuple(drawn.tokens.tolist()), float(drawn.logprobs.sum())
