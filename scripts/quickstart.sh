#!/usr/bin/env bash
# From nothing to a result: the environment, then base model -> training -> exact and sampled audits -> one report.
#   bash scripts/quickstart.sh          GRPO, three hybrids and SFT on the embedded base model (at most 20 minutes on 2 cores)
#   bash scripts/quickstart.sh --fast   GRPO alone, fewer steps (at most 6 minutes)
# Finished parts are not done again: after an interruption, give the same command again. OUTPUT=folder chooses where.
set -euo pipefail
cd "$(dirname "$0")/.."
sweep=configs/lab/quickstart.yaml
output=${OUTPUT:-runs/quickstart}
case "${1:-}" in
  "") ;;
  --fast) sweep=configs/lab/quickstart_fast.yaml output=${OUTPUT:-runs/quickstart-fast} ;;
  -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "quickstart: unknown option $1; the only one is --fast" >&2; exit 2 ;;
esac
bash scripts/setup_env.sh
exec .venv/bin/explore-rl sweep "$sweep" --output "$output"
