"""The settings of a run: fields (schema.py), reading (loading.py, recipes.py), what makes sense together (checks.py)."""
