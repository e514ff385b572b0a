"""Advantages, losses, divergences and corrections: pure functions with their equations; formulas stand here alone."""
