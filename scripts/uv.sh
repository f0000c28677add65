#!/bin/sh
# Prints the path of uv: the one on PATH, else one of a fixed version installed into .venv.
set -eu

UV_VERSION=0.13.8
cd "$(dirname "$0")/.."
VENV=$(pwd)/.venv

if command -v uv; then
    exit 0
fi
if [ ! -x "$VENV/bin/uv" ] || [ "$("$VENV/bin/uv" --version | cut -d' ' -f2)" != "$UV_VERSION" ]; then
    # An environment that uv made has no pip; the interpreter brings one.
    if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1 &&
        ! "$VENV/bin/python" -m ensurepip >/dev/null 2>&1; then
        echo "dms3 cannot be set up here: $VENV has no pip, and neither has its Python.
On Debian or Ubuntu: apt-get install python3-pip python3-venv; then remove .venv and try again" >&2
        exit 1
    fi
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" >&2 || {
        echo "dms3 cannot be set up here: pip could not install uv $UV_VERSION (see above)." >&2
        exit 1
    }
fi
echo "$VENV/bin/uv"
