"""Did reinforcement learning break the leash? Estimates, support, tests, a verdict and a report, from samples of any
origin.

Knows no model, no Ray, no torch and nothing of explore_rl. The record schema lives in `analysis.records`.
"""
