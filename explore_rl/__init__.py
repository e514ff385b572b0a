"""explore-rl: exploration-augmented reinforcement learning from verifiable rewards.

Imports nothing, so that the light commands (``explore-rl problems``, ``explore-rl audit``) start without torch, Ray or
vLLM.
Read `types.py` first, then `training/trainer.py`.
"""
