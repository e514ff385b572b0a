#!/usr/bin/env bash
# Makes .venv beside this folder, once, with pinned dependencies; says so when it is there already.
# The CPU build of vLLM where there is no NVIDIA GPU, the ordinary one where there is; DEVICE=cpu or gpu decides.
# PYTHON=python3.11 chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
kind=cpu
if [ "${DEVICE:-}" != cpu ] && command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then kind=gpu; fi
[ "${DEVICE:-}" != gpu ] || kind=gpu # an image is built where no GPU is
lock=requirements/$kind.lock
stamp=.venv/.explore-rl-$kind
fail() { echo "setup: $*" >&2; exit 2; }

"$python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' ||
  fail "$python is $("$python" -V 2>&1); the pinned packages need Python 3.11 or 3.12: set PYTHON=python3.11"

if [ -f "$stamp" ] && cmp -s "$stamp" "$lock"; then
  echo "setup: .venv is there and matches $lock; re-using it"
else
  [ -x .venv/bin/python ] || { echo "setup: making .venv with $("$python" -V)"; "$python" -m venv .venv; }
  pip() { .venv/bin/python -m pip --disable-pip-version-check -qq "$@"; }
  echo "setup: installing $(grep -c == "$lock") pinned packages from $lock (4 GiB on a CPU; some minutes)"
  if [ "$kind" = cpu ]; then
    torch=$(grep '^torch==' "$lock")
    # The local version +cpu is not on PyPI: first from where pip looks anyway (a mirror, a folder of wheels), then from PyTorch's own index.
    pip install --no-deps "$torch" 2>/dev/null || pip install --no-deps "$torch" --index-url https://download.pytorch.org/whl/cpu ||
      fail "$torch is neither where pip looks nor at https://download.pytorch.org/whl/cpu; install it into .venv by hand and run this again"
  fi
  # uv is faster than pip. It does not read pip's own configuration: where it finds no index, pip does the work.
  pip install --no-deps "$(grep '^uv==' "$lock")"
  UV_CACHE_DIR=${UV_CACHE_DIR:-$PWD/.venv/.uv-cache} .venv/bin/uv pip install -q --compile-bytecode --python .venv/bin/python --no-deps -r <(grep -v '^torch==.*+cpu' "$lock") ||
    { echo "setup: uv could not; now with pip"; pip install --no-deps -r "$lock"; }
  rm -rf .venv/.uv-cache
  pip install --no-deps --no-build-isolation -e .
  check='
import importlib, sys
for name in ("torch", "deepspeed", "ray"):
    print(f"setup: {name} {importlib.import_module(name).__version__}")
from vllm import LLM
import vllm
print(f"setup: vllm {vllm.__version__}, from vllm import LLM works")'
  echo "setup: checking that torch, deepspeed, ray and vllm import"
  log=$(mktemp)
  env DS_ACCELERATOR="$([ "$kind" = cpu ] && echo cpu || echo cuda)" .venv/bin/python -c "$check" 2>"$log" | grep '^setup:' ||
    { cat "$log" >&2; fail "the environment does not import; see above"; }
  rm -f "$log"
  cp "$lock" "$stamp"
fi
