"""Exploration methods, one file each."""
