#!/usr/bin/env bash
# Goes from a clean clone to a verdict in containers: it builds the images, starts deploy/compose.yaml, and audits the digits on two
# Debian releases.
#   deploy/compose/demo.sh [--down]      --down stops and removes containers and volumes afterwards
# It needs Docker, docker-compose (or docker compose), and the images python:3.11-slim, python:3.13-slim and redis:7. It downloads
# several GB of torch for each image, once.
set -euo pipefail
cd "$(dirname "$0")/../.."
compose() {
  if docker compose version >/dev/null 2>&1; then docker compose -f deploy/compose.yaml -p detctl-demo "$@"; else
    docker-compose -f deploy/compose.yaml -p detctl-demo "$@"; fi
}
build() { # TAG [ARGUMENTS…]
  printf 'building %s\n' "$1"
  docker build -q --network host -t "$1" "${@:2}" . 2>/dev/null >/dev/null || docker build --network host -t "$1" "${@:2}" . >&2
}
build detctl/coordinator:demo --target coordinator
build detctl/cli:demo --target cli
while read -r name python; do
  build "detctl/agent:$name" --target agent --build-arg "PYTHON_IMAGE=$python"
  build "detctl/agent-torch:$name" -f deploy/compose/agent-torch.Dockerfile \
    --build-arg "PYTHON_IMAGE=$python" --build-arg "AGENT=detctl/agent:$name"
done <<'T'
bookworm python:3.11-slim
trixie python:3.13-slim
T
[[ ${1:-} != --down ]] || trap 'compose down -v --remove-orphans' EXIT
compose up -d
compose run --rm -T detctl machines --wait bookworm,trixie --timeout 120
code=0
compose run --rm -T detctl audit digits --machines bookworm,trixie --twins 2 || code=$?
printf 'exit code %s (0 identical, 1 different)\n' "$code"
((code <= 1))
