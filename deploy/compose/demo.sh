#!/usr/bin/env bash
# Goes from a clean clone to a verdict in containers: it builds the images, starts deploy/compose.yaml, and audits the digits on two
# Debian releases. It prints what it does, and how long each part took.
#   deploy/compose/demo.sh [--down]      --down stops and removes containers and volumes afterwards
# It needs Docker, docker-compose (or docker compose), and the images python:3.11-slim, python:3.13-slim and redis:7. torch comes as a
# CPU wheel of about 200 MB for each image, once. TORCH_INDEX names another package index; with TORCH_INDEX= (empty) pip takes torch
# from PyPI, whose wheels contain CUDA and take several GB.
set -euo pipefail
cd "$(dirname "$0")/../.."
TORCH_INDEX=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}
logs=$(mktemp -d)
builds=()
finish() {
  for build in "${builds[@]}"; do kill "$build" 2>/dev/null || true; done
  rm -rf "$logs"
  [[ $down != --down ]] || compose down -v --remove-orphans
}
down=${1:-}
trap finish EXIT

compose() {
  if docker compose version >/dev/null 2>&1; then docker compose -f deploy/compose.yaml -p detctl-demo "$@"; else
    docker-compose -f deploy/compose.yaml -p detctl-demo "$@"; fi
}
part() { # TITLE COMMAND…
  local title=$1 started=$SECONDS
  shift
  printf '\n== %s\n' "$title"
  "$@"
  printf '   %s: %s s\n' "$title" "$((SECONDS - started))"
}
build() { # TAG [ARGUMENTS…]
  local tag=$1 started=$SECONDS
  shift
  printf '   building %s …\n' "$tag"
  docker build --network host -t "$tag" "$@" . >"$logs/${tag//\//_}" 2>&1 || {
    printf '   building %s failed; its last lines:\n' "$tag" >&2
    tail -n 30 "$logs/${tag//\//_}" >&2
    return 1
  }
  printf '   built %s in %s s\n' "$tag" "$((SECONDS - started))"
}
build_machine() { # NAME PYTHON_IMAGE
  build "detctl/agent:$1" --target agent --build-arg "PYTHON_IMAGE=$2"
  build "detctl/agent-torch:$1" -f deploy/compose/agent-torch.Dockerfile --build-arg "PYTHON_IMAGE=$2" \
    --build-arg "AGENT=detctl/agent:$1" --build-arg "TORCH_INDEX=$TORCH_INDEX"
}
build_all() {
  build detctl/coordinator:demo --target coordinator
  build detctl/cli:demo --target cli
  # These two mostly wait for downloads, so they run side by side.
  build_machine bookworm python:3.11-slim & builds+=($!)
  build_machine trixie python:3.13-slim & builds+=($!)
  local built=0
  for build in "${builds[@]}"; do wait "$build" || built=1; done
  builds=()
  return "$built"
}
audit() {
  compose run --rm -T detctl audit digits --machines bookworm,trixie --twins 2 || code=$?
}

docker version >/dev/null 2>&1 || { echo "make compose-demo needs Docker, and no Docker engine answers here" >&2; exit 2; }
printf 'This builds six images, starts Redis, a coordinator and two machines, and audits one training on both machines.\n'
printf 'torch comes from %s.\n' "${TORCH_INDEX:-PyPI}"
code=0
part "Build the images" build_all
part "Start Redis, the coordinator and two machines" compose up -d
part "Wait until both machines are connected" compose run --rm -T detctl machines --wait bookworm,trixie --timeout 120
part "Audit the digits: two runs on each machine" audit
printf '\nexit code %s (0 identical, 1 different); everything took %s s\n' "$code" "$SECONDS"
((code <= 1))
