"""Weights from the learner to the engines.

The driver's part is sync.py, the ranks' on_ranks.py and sender.py, the engines' receiver.py.
"""
