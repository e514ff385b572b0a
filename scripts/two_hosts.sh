#!/usr/bin/env bash
# A run over two hosts, made on this one: each has a network, processes, a host name, /tmp and /dev/shm of its own (Linux namespaces).
#
#   sudo bash scripts/two_hosts.sh [OUT]        about 3 minutes on 2 cores; needs root, iproute2 and the .venv; OUT: runs/two-hosts
#   sudo GPUS=4 bash scripts/two_hosts.sh [OUT] the same for GPUs that each host only says it has: scripts/rehearse_gpu_layout.py; 7 minutes
#
# A Ray head and a worker, started with scripts/launch_ray_cluster.sh, carry learner ranks and engines. After some steps everything on the
# second host is killed: the run has to stop and say so. The host comes back, the run goes on with --resume, and its final weights have to be
# those of a run on one host that was never interrupted, bit for bit. Exit code 0: they are.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${1:-runs/two-hosts}
fail() { echo "two_hosts: $*" >&2; exit 1; }
need() { echo "two_hosts: $*" >&2; exit 2; }
[ "$(id -u)" = 0 ] || need "needs root, to make namespaces"
command -v ip >/dev/null || need "needs ip, of the package iproute2"
[ -x .venv/bin/explore-rl ] || need "no .venv here: run bash scripts/setup_env.sh first"
case $PWD in /tmp/*) need "the repository is in /tmp, of which each host has its own: move it" ;; esac
[ ! -e "$OUT" ] || need "$OUT is there already: remove it, or name another folder"

work=$(mktemp -d)
export RAY_AUTH_TOKEN=$(python3 -c 'import secrets; print(secrets.token_hex(32))') RAY_AUTH_MODE=token CPUS=2
if [ -n "${GPUS:-}" ]; then
    export GPUS CPUS=12 # the second engine has to go to the second host
    command=(.venv/bin/python scripts/rehearse_gpu_layout.py 6 train)
    layout=(learner.ranks=2 rollout.actors=2 rollout.tensor_parallel=2)
else
    command=(.venv/bin/explore-rl train)
    layout=(learner.ranks=3 rollout.actors=1 devices.device=cpu) # more than one host holds
fi
host() { local i=$1; shift; nsenter -t "$(cat "$work/host$i")" -a --wd="$PWD" "$@"; }
clean() {
    for i in 1 2; do
        [ ! -s "$work/host$i" ] || kill -9 "$(cat "$work/host$i")" 2>/dev/null || true # its first process: the others go with it
        ip netns del "xh$i-$$" 2>/dev/null || true
    done
    ip link del "xb$$" 2>/dev/null || true
    rm -rf "$work"
}
trap clean EXIT

ip link add "xb$$" type bridge
ip link set "xb$$" up
for i in 1 2; do
    ip netns add "xh$i-$$"
    ip link add "xv$i-$$" type veth peer name eth0 netns "xh$i-$$"
    ip link set "xv$i-$$" master "xb$$" up
    ip -n "xh$i-$$" addr add "10.213.0.$i/24" dev eth0
    ip -n "xh$i-$$" link set eth0 up
    ip -n "xh$i-$$" link set lo up
    # The shell is the host's first process; its id out here is that of unshare's only child.
    ip netns exec "xh$i-$$" unshare -m -u -p -f --mount-proc bash -c \
        "hostname host$i; mount -t tmpfs none /tmp; mount -t tmpfs -o size=8g none /dev/shm; while :; do sleep 1; done" 2>/dev/null &
    for _ in $(seq 100); do
        ! pgrep -P $! >"$work/host$i" || break
        sleep 0.1
    done
    [ -s "$work/host$i" ] || fail "host $i did not start within 10 s: may this user make namespaces?"
done
sleep 1

train() { # name, then the rest of the command
    local name=$1
    shift
    "${command[@]}" configs/lab/grpo.yaml "name=$name" "run.output=$OUT/$name" learner.zero_stage=3 "${layout[@]}" \
        run.steps=12 run.checkpoint_every=4 run.evaluate_every=0 run.exact_every=0 "$@"
}
train_on_1() { host 1 bash -c "$(declare -p command layout OUT); $(declare -f train); train two devices.ray_address=10.213.0.1:6379 $*"; }
steps() { wc -l 2>/dev/null <"$OUT/two/metrics.jsonl" || echo 0; }
say() { echo "two_hosts: $*"; }

mkdir -p "$OUT"
say "one host, 12 steps"
train one >"$OUT/one.log" 2>&1 || fail "the run on one host failed: $OUT/one.log"

say "two hosts, until 6 steps are done"
host 1 env HEAD_IP=10.213.0.1 bash scripts/launch_ray_cluster.sh head >"$OUT/ray.log" 2>&1 || fail "the head did not start: $OUT/ray.log"
host 2 bash scripts/launch_ray_cluster.sh worker 10.213.0.1 >>"$OUT/ray.log" 2>&1 || fail "the worker did not join: $OUT/ray.log"
train_on_1 run.steps=100000 >"$OUT/two.log" 2>&1 &
run=$!
for _ in $(seq 240); do
    [ "$(steps)" -lt 6 ] && kill -0 $run 2>/dev/null || break
    sleep 0.5
done
[ "$(steps)" -ge 6 ] || fail "no 6 steps within 2 minutes: $OUT/two.log"
host 2 bash -c 'pgrep ray::' >/dev/null || fail "nothing of the run is on the second host"

say "the second host is lost after $(steps) steps: $(host 2 bash -c 'pgrep -c ray::') processes of the run"
began=$SECONDS
host 2 bash -c 'kill -9 -1'
for _ in $(seq 180); do
    kill -0 $run 2>/dev/null || break
    sleep 1
done
! kill -0 $run 2>/dev/null || fail "the run did not notice within 3 minutes: $OUT/two.log"
code=0
wait $run || code=$?
say "stopped after $((SECONDS - began)) s with exit code $code: $(grep -a 'stopped:' "$OUT/two.log" | tail -1 | cut -c1-160)"
[ "$code" = 1 ] || fail "expected exit code 1: $OUT/two.log"

say "the second host comes back, the run goes on"
host 2 bash scripts/launch_ray_cluster.sh worker 10.213.0.1 >>"$OUT/ray.log" 2>&1 || fail "the worker did not join again: $OUT/ray.log"
train_on_1 --resume >>"$OUT/two.log" 2>&1 || fail "the run did not go on: $OUT/two.log"

sha256sum "$OUT"/*/final/model.safetensors
cmp "$OUT/one/final/model.safetensors" "$OUT/two/final/model.safetensors" || fail "the weights differ"
say "two hosts, one of them lost on the way, gave the weights of one host bit for bit"
