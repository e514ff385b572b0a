"""Families of short arithmetic problems for pretrained models, whose probability of success is exact."""
