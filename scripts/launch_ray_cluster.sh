#!/usr/bin/env bash
# A Ray cluster by hand, one command a node. The same environment (.venv) and the same paths have to be there on every node.
#
#   on the head node:     bash scripts/launch_ray_cluster.sh head
#   on every other node:  RAY_AUTH_TOKEN=... bash scripts/launch_ray_cluster.sh worker HEAD_IP      (the head prints the line)
#   on the head node:     explore-rl train configs/math/qwen2.5-math-7b.yaml devices.ray_address=auto
#   at the end, anywhere: bash scripts/launch_ray_cluster.sh stop        (ends the Ray processes of this user on this node)
#
# PORT (6379) is the head's; CPUS and GPUS limit what a node offers (all of it by default).
set -euo pipefail
cd "$(dirname "$0")/.."

PORT=${PORT:-6379}
RAY=.venv/bin/ray
[ -x "$RAY" ] || RAY=$(command -v ray) || { echo "no ray here: run bash scripts/setup_env.sh on this node first" >&2; exit 2; }
offer=(--disable-usage-stats)
[ -n "${CPUS:-}" ] && offer+=(--num-cpus "$CPUS")
[ -n "${GPUS:-}" ] && offer+=(--num-gpus "$GPUS")

case "${1:-}" in
head)
    export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$("$RAY" get-auth-token --generate | tail -1)}
    ip=${HEAD_IP:-$(hostname -I | awk '{print $1}')}
    "$RAY" start --head --node-ip-address "$ip" --port "$PORT" --include-dashboard=false "${offer[@]}"
    echo
    echo "On every other node:  RAY_AUTH_TOKEN=$RAY_AUTH_TOKEN bash scripts/launch_ray_cluster.sh worker $ip"
    ;;
worker)
    [ -n "${2:-}" ] || { echo "worker needs the head's address: bash scripts/launch_ray_cluster.sh worker HEAD_IP" >&2; exit 2; }
    export RAY_AUTH_MODE=token
    "$RAY" start --address "$2:$PORT" "${offer[@]}"
    ;;
stop)
    "$RAY" stop
    ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
