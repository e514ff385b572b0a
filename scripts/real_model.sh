#!/usr/bin/env bash
# GRPO on a pretrained model of 135M parameters: 10 steps of 8 x 8, exact audits before and after, pictures.
#   bash scripts/real_model.sh
# The model is fetched once (93 MB) into EXPLORE_RL_CACHE, else ~/.cache/explore-rl. OUTPUT=folder chooses where the run goes; what a
# killed command has finished is not done again.
set -euo pipefail
cd "$(dirname "$0")/.."
output=${OUTPUT:-runs/real_short}
if ! command -v explore-rl > /dev/null; then
  [ -x .venv/bin/explore-rl ] || bash scripts/setup_env.sh
  PATH="$PWD/.venv/bin:$PATH"
fi
explore-rl models get smollm2-135m
problems='real:sum?terms=2&digits=2&split=audit&size=60' # as run.exact_problems of the recipe
if [ ! -f "$output/final/config.json" ]; then
  if [ -f "$output/config.yaml" ]; then
    explore-rl resume "$output"
  else
    explore-rl train real/short run.output="$output" "$@"
  fi
fi
explore-rl lab exact "$output/final" --base smollm2-135m --problems "$problems" --eps 3/1024 --k 1,16,256,1024 \
  --out "$output/exact.json" --quiet
echo "pictures: $output/figures; rollouts as a page: explore-rl rollouts $output"
