#!/usr/bin/env bash
# Format, lint and types, with the settings of pyproject.toml. Arguments are files; default: everything.
set -euo pipefail
cd "$(dirname "$0")/.."
places=("$@")
[ $# -gt 0 ] || places=(explore_rl analysis tests scripts examples setup.py)
.venv/bin/ruff format --check --quiet "${places[@]}" || { echo "check: not laid out by ruff format (or a file it cannot read)" >&2; exit 1; }
.venv/bin/ruff check --output-format concise "${places[@]}"
[ $# -gt 0 ] || .venv/bin/basedpyright --level error
