#!/usr/bin/env bash
# The set-up, then the tests: all of them in two processes at once. Arguments go to pytest, which then runs in one: scripts/test.sh tests/objectives -x
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup_env.sh
[ $# -gt 0 ] || set -- -n 2 --dist loadgroup
exec .venv/bin/python -m pytest "$@"
