"""The settings of a run: the fields (schema.py), how a recipe is read (loading.py), and what makes sense together (checks.py)."""
