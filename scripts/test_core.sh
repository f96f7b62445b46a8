#!/usr/bin/env bash
# Test what colorizes, without torch, in a fresh environment with the lowest or the newest versions
# of what pyproject.toml asks for. Needs uv; options are those of pytest.
# usage: scripts/test_core.sh lowest-direct|highest PYTHON [OPTION...]
set -euo pipefail
cd "$(dirname "$0")/.."
resolution=$1 python=$2
shift 2

venv=$(mktemp -d)/venv
trap 'rm -rf "$(dirname "$venv")"' EXIT
uv venv --quiet --python "$python" "$venv"
install() { uv pip install --quiet --python "$venv" "$@"; }
run() { uv run --no-project --python "$venv" "$@"; }

install --resolution "$resolution" '.[formats,video,web]'
install --group core-tests # always the newest: the bounds are not about these
uv pip freeze --python "$venv"
run pytest tests/color tests/imagefile tests/colorize tests/batch tests/video \
    --ignore tests/batch/ray "$@"
run photochrom colorize src/photochrom/web/static/samples/astronaut.jpg -o "$(dirname "$venv")/colored"
