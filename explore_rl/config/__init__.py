"""The settings of a run: fields (schema.py), reading (loading.py, recipes.py), what goes together (checks.py)."""
