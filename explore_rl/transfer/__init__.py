"""Weights from the learner to the engines: the driver's part (sync.py), the ranks' (on_ranks.py, sender.py), the engines' (receiver.py)."""
