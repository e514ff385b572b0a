#!/usr/bin/env bash
# Sampled audits of a pretrained model, where nothing is exact: GSM8K, four Reasoning Gym tasks, and sums in written steps.
#   bash scripts/real_audits.sh [MODEL]        default smollm2-135m; a run's folder or final/ as well
# GSM8K=file takes a file in place of the hub's openai/gsm8k:test. PROBLEMS and DRAWS (32, 64) make it smaller; OUTPUT=folder chooses
# where the draws go; SETS="steps gsm8k" draws only these. Resumable: what is drawn is not drawn again.
set -euo pipefail
cd "$(dirname "$0")/.."
model=${1:-smollm2-135m}
problems=${PROBLEMS:-32}
draws=${DRAWS:-64}
output=${OUTPUT:-runs/real_audits/$(basename "$model")}
sets=${SETS:-"steps gsm8k chain_sum gcd countdown simple_equations"}
if ! command -v explore-rl > /dev/null; then
  [ -x .venv/bin/explore-rl ] || bash scripts/setup_env.sh
  PATH="$PWD/.venv/bin:$PATH"
fi
mkdir -p "$output"
draw() { # NAME PROBLEMS further arguments
  local file="$output/$1.parquet"
  [ -f "$file" ] || explore-rl sample "$model" --problems "$2" --n "$draws" --part 512 --stall-timeout 600 --out "$file" "${@:3}"
}
for set in $sets; do
  case $set in
    steps)
      spec="real:steps?terms=3&digits=1&split=audit&size=$problems"
      # Right by its end is what is drawn for; the steps are judged afterwards.
      draw steps_drawn "$spec" --template line --max-tokens 48 --verifier-options '{"real_steps": {"reward": "end"}}'
      [ -f "$output/steps.parquet" ] ||
        explore-rl verify "$output/steps_drawn.parquet" --problems "$spec" --verifier real_steps --reasoning --out "$output/steps.parquet"
      ;;
    gsm8k) draw gsm8k "${GSM8K:-openai/gsm8k:test}" --limit "$problems" --template chat --max-tokens 256 ;;
    *) draw "$set" "gym:$set?size=$problems&seed=0" --template chat --max-tokens 192 ;;
  esac
  python scripts/real_base.py "$output/$set.parquet"
done
