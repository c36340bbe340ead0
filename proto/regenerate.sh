#!/usr/bin/env bash
# Makes the stubs; nothing else may make them. They load on protobuf 4.25 to 7. Stubs of newer tools load only on their own
# major version, so grpcio-tools is pinned, in an environment of its own (Python 3.12 or older).
#   proto/regenerate.sh [VENV]     VENV: folder of the tools, kept between calls (default .cache/stubs)
set -euo pipefail
cd "$(dirname "$0")"
venv=${1:-../.cache/stubs}
if [[ ! -x $venv/bin/python ]]; then
  for python in python3.11 python3.12 python3; do command -v "$python" >/dev/null && break; done
  "$python" -m venv "$venv"
fi
"$venv/bin/python" -c 'import grpc_tools' 2>/dev/null || "$venv/bin/pip" install -q 'grpcio-tools==1.63.2' 'setuptools<80'
"$venv/bin/python" -W ignore -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. detctl_proto/v1/*.proto
