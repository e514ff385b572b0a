#!/usr/bin/env bash
# The set-up, then the tests. Arguments go to pytest: scripts/test.sh tests/objectives -x
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup_env.sh
exec .venv/bin/python -m pytest "$@"
