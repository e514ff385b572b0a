"""DeepSpeed ranks: scoring and optimizer steps on rows that carry their own weights."""
