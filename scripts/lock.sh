#!/usr/bin/env bash
# Resolves requirements/*.in into requirements/*.lock (needs uv). The CPU torch comes from PyTorch's own index, or from a folder of wheels:
#   scripts/lock.sh [--find-links FOLDER]
set -euo pipefail
cd "$(dirname "$0")/../requirements"
target=(--python-version 3.11 --python-platform x86_64-unknown-linux-gnu --no-header --no-annotate -q)
source=("$@")
[ $# -gt 0 ] || source=(--index https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match)
uv pip compile cpu.in --overrides overrides.txt "${source[@]}" "${target[@]}" -o cpu.lock
uv pip compile gpu.in "${target[@]}" -o gpu.lock
