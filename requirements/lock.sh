#!/bin/sh
# Writes the three locks anew: versions and hashes, no index addresses.
set -eu
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
export UV_CUSTOM_COMPILE_COMMAND="requirements/lock.sh"
lock() { "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links "$@"; }
lock pyproject.toml --extra demo --group build -c requirements/held_back.txt -o requirements/use.lock
lock pyproject.toml --extra demo --group dev -c requirements/use.lock -o requirements/dev.lock
printf 'uv\n' | lock - -o requirements/tool.lock
