"""The laboratory: problems whose correct answers can all be listed, a small base model, and exact audits."""
