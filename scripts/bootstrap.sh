#!/bin/sh
# Makes .venv and installs what uv.lock names into it; does nothing when nothing changed.
#
# Needs Python 3.11, 3.12 or 3.13 with venv and pip. uv is used when it is on PATH, otherwise it is
# installed into .venv. No interpreter is ever downloaded. DMS3_PYTHON chooses an interpreter.
set -eu

VENV=.venv
STAMP=$VENV/.installed
cd "$(dirname "$0")/.."

fail() {
    printf 'dms3 cannot be set up here: %s\n' "$1" >&2
    exit 1
}

# The version of interpreter $1 as "3.12" when dms3 runs on it; nothing otherwise.
supported() {
    "$1" -c 'import sys
if (3, 11) <= sys.version_info[:2] <= (3, 13):
    print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

find_python() {
    for name in ${DMS3_PYTHON:-python3.13 python3.12 python3.11 python3}; do
        path=$(command -v "$name" 2>/dev/null) || continue
        if [ -n "$(supported "$path")" ]; then
            "$path" -c 'import sys; print(sys.executable)'
            return
        fi
    done
}

fingerprint() {
    cat pyproject.toml uv.lock scripts/bootstrap.sh | cksum
}

usable() {
    [ -x "$VENV/bin/python" ] && [ -n "$(supported "$VENV/bin/python")" ]
}

if usable && [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(fingerprint)" ]; then
    exit 0
fi

if usable; then
    PYTHON=
else
    PYTHON=$(find_python)
    if [ -z "$PYTHON" ]; then
        if [ -n "${DMS3_PYTHON:-}" ]; then
            fail "DMS3_PYTHON=$DMS3_PYTHON is not Python 3.11, 3.12 or 3.13."
        fi
        found=$(python3 --version 2>/dev/null || echo "no python3")
        fail "it needs Python 3.11, 3.12 or 3.13, and $found is here.
On Debian or Ubuntu: apt-get install python3 python3-venv python3-pip
Elsewhere: install one of them, or name it: make DMS3_PYTHON=/path/to/python3.12"
    fi
    rm -rf "$VENV"
fi

export UV_PYTHON_DOWNLOADS=never
export UV_PROJECT_ENVIRONMENT="$VENV"
if [ -n "$PYTHON" ]; then
    echo "Creating $VENV with $PYTHON" >&2
    if command -v uv >/dev/null 2>&1; then
        uv venv --quiet --python "$PYTHON" "$VENV"
    else
        version=$(supported "$PYTHON")
        "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || fail \
"$PYTHON has no venv module with pip.
On Debian or Ubuntu: apt-get install python3-venv python3-pip (or python$version-venv)"
        "$PYTHON" -m venv "$VENV" || fail "$PYTHON -m venv $VENV failed (see above)."
    fi
fi
UV=$(sh scripts/uv.sh) || exit 1

echo "Installing the locked packages into $VENV" >&2
# --inexact: uv itself may live in this environment and is not in the lock.
# Compiled now: a node starts in half the time, also where PYTHONDONTWRITEBYTECODE is set.
"$UV" sync --frozen --inexact --compile-bytecode --quiet --python "$VENV/bin/python" \
    || fail "uv sync failed (see above)."
"$VENV/bin/python" -m compileall -q src
fingerprint >"$STAMP"
