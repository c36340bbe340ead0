#!/usr/bin/env bash
# Shows detctl's main job on the embedded store: two machines whose file systems list a folder in different orders, then one
# machine and an older CPU that it emulates. It needs detctl[all,demo] on PATH; `make demo` installs it.
set -euo pipefail
cd "$(dirname "$0")/.."
examples=$PWD/examples
home=$PWD/.demo
rm -rf "$home"
mkdir -p "$home"
shared=$(mktemp -d /dev/shm/detctl-demo.XXXXXX)
export XDG_STATE_HOME=$home/state XDG_RUNTIME_DIR=$shared DETCTL_COORDINATOR=unix:$shared/coordinator.sock
processes=()
finish() {
  for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$shared"
}
trap finish EXIT

if [[ -t 1 ]]; then bold=$'\033[1m' plain=$'\033[0m'; else bold='' plain=''; fi
heading() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
show() { printf '$ %s\n' "$*"; }

heading "Make two copies of the digits: one on disk, one in memory"
python "$examples/digits/prepare.py" "$home/disk"
python "$examples/digits/prepare.py" "$shared/memory"
cmp_listings='import os, sys; a, b = (os.listdir(f + "/train") for f in sys.argv[1:]); sys.exit(a == b)'
differ=yes
python -c "$cmp_listings" "$home/disk" "$shared/memory" || differ=no

catalog() { # DATA
  cat <<T
[recipes.digits]
command = ["python", "train.py", "--data", "{data}", "--workers", "{workers}", "--steps", "6"]
folder = "$examples/digits"
timeout_s = 300
paths = ["data"]
[recipes.digits.parameters]
data = "$1"
workers = 0
[environments.default]
python = "$(command -v python)"
variables = { OMP_NUM_THREADS = "1" }
[environments.oldcpu]
python = "$(command -v python)"
variables = { OMP_NUM_THREADS = "1" }
emulate = { cpu = "default" }
T
}
(umask 022; catalog "$home/disk" >"$home/disk.toml"; catalog "$shared/memory" >"$home/memory.toml")

heading "Start a coordinator with its embedded store, and two agents"
detctl-coordinator --listen "$DETCTL_COORDINATOR" --store "sqlite:$home/store.db" --log-level warning \
  --ready-file "$home/ready" 2>"$home/coordinator.log" &
processes+=($!)
until [[ -e $home/ready ]]; do
  kill -0 "${processes[0]}" 2>/dev/null || { cat "$home/coordinator.log" >&2; exit 2; }
  sleep 0.1
done
for name in disk memory; do
  detctl-agent --name $name --coordinator "$DETCTL_COORDINATOR" --catalog "$home/$name.toml" --state "$home/agent-$name" 2>"$home/agent-$name.log" &
  processes+=($!)
done
detctl machines --wait disk,memory || { cat "$home"/agent-*.log >&2; exit 2; }

audit() { show "detctl audit $*"; detctl audit "$@" || [[ $? == 1 ]]; }
if [[ $differ == yes ]]; then
  heading "1. Run the same training on both machines, three twins each"
  audit digits --machines disk,memory
  show "detctl compare --machines disk,memory"
  detctl compare --machines disk,memory || [[ $? == 1 ]]
else
  heading "1. Both places list the folder in the same order here, so an intervention shuffles the order instead"
  audit digits --machines disk --vary listing=sorted,shuffled
fi
heading "2. Compare one machine with an older CPU that it emulates (ATEN_CPU_CAPABILITY=default)"
audit digits --machines disk --environments default,oldcpu
