#!/usr/bin/env bash
# From nothing to a result: the environment, then base model -> training -> exact and sampled audits -> one report.
#   bash scripts/quickstart.sh          GRPO, three hybrids and SFT on the embedded base model (15 minutes on 2 cores)
#   bash scripts/quickstart.sh --fast   GRPO alone, fewer steps (at most 6 minutes)
# Finished parts are not done again: after an interruption, give the same command again. OUTPUT=folder chooses where.
# The model is so small that a CPU serves as well as GPUs: DEVICE=cpu leaves them alone. On one or two GPUs ranks and engines share.
set -euo pipefail
cd "$(dirname "$0")/.."
sweep=configs/lab/quickstart.yaml
output=${OUTPUT:-runs/quickstart}
case "${1:-}" in
  "") ;;
  --fast) sweep=configs/lab/quickstart_fast.yaml output=${OUTPUT:-runs/quickstart-fast} ;;
  -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "quickstart: unknown option $1; the only one is --fast" >&2; exit 2 ;;
esac
gpus=0
[ "${DEVICE:-}" = cpu ] || gpus=$( (nvidia-smi -L 2>/dev/null || true) | wc -l)
if [ "$gpus" = 1 ] && [ "$sweep" = configs/lab/quickstart.yaml ]; then
  echo "quickstart: the mixture policy draws from a base engine on a GPU of its own, and there is one GPU: use --fast, or DEVICE=cpu" >&2
  exit 2
fi
settings=()
case $gpus in 1 | 2) settings=(devices.colocate=true rollout.gpu_memory_utilization=0.4) ;; esac
bash scripts/setup_env.sh
exec .venv/bin/explore-rl sweep "$sweep" "${settings[@]}" --output "$output"
