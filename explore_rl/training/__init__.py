"""The step: drawing and learning, the rows that go to the learner, what is logged, and evaluation on the way."""
