#!/bin/sh
# Installs the foreign programs of the interop tests into build/peers: js-libp2p and the IPFS
# importer (npm), py-libp2p (an environment of its own), go-libp2p. A program whose language is not
# on this machine is left out with a message; DMS3_REQUIRE_PEERS=1 makes that a failure.
set -eu

cd "$(dirname "$0")/.."
HERE=$(pwd)
LOCKS=$HERE/tests/interop/peers
PEERS=$HERE/build/peers
REQUIRED=${DMS3_REQUIRE_PEERS:-0}
export UV_PYTHON_DOWNLOADS=never

missing() {
    echo "Left out: $1" >&2
    [ "$REQUIRED" != 1 ] || exit 1
}

# True when folder $1 was installed from exactly the files that follow.
current() {
    folder=$1
    shift
    [ -f "$folder/.installed" ] && [ "$(cat "$folder/.installed")" = "$(cat "$@" | cksum)" ]
}

install_js() {
    command -v npm >/dev/null 2>&1 || { missing "js-libp2p (no npm: install nodejs and npm)"; return; }
    mkdir -p "$PEERS/js"
    if ! current "$PEERS/js" "$LOCKS/js/package.json" "$LOCKS/js/package-lock.json"; then
        cp "$LOCKS/js/package.json" "$LOCKS/js/package-lock.json" "$PEERS/js/"
        echo "Installing js-libp2p into build/peers/js" >&2
        (cd "$PEERS/js" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null)
        cat "$LOCKS/js/package.json" "$LOCKS/js/package-lock.json" | cksum >"$PEERS/js/.installed"
    fi
    cp "$LOCKS"/js/*.mjs "$PEERS/js/" # a module finds node_modules beside itself
}

install_py() {
    if current "$PEERS/py" "$LOCKS/py/pyproject.toml" "$LOCKS/py/uv.lock"; then
        return
    fi
    command -v cc >/dev/null 2>&1 && [ -n "$(find /usr/include /usr/local/include /opt/homebrew/include -name gmp.h 2>/dev/null | head -n 1)" ] || {
        missing "py-libp2p (its fastecdsa is compiled: apt-get install gcc libgmp-dev python3-dev)"
        return
    }
    uv=$(sh scripts/uv.sh)
    echo "Installing py-libp2p into build/peers/py" >&2
    UV_PROJECT_ENVIRONMENT=$PEERS/py "$uv" sync --frozen --quiet --project "$LOCKS/py" \
        --python "$HERE/.venv/bin/python"
    cat "$LOCKS/py/pyproject.toml" "$LOCKS/py/uv.lock" | cksum >"$PEERS/py/.installed"
}

install_go() {
    if current "$PEERS/go" "$LOCKS/go/go.mod" "$LOCKS/go/go.sum" "$LOCKS/go/main.go"; then
        return
    fi
    # go-libp2p is tried "where Go is present": its absence is never a failure.
    command -v go >/dev/null 2>&1 || { echo "Left out: go-libp2p (no go on this machine)" >&2; return; }
    mkdir -p "$PEERS/go"
    echo "Building go-libp2p's peer into build/peers/go" >&2
    (cd "$LOCKS/go" && GOTOOLCHAIN=local go build -mod=readonly -buildvcs=false -o "$PEERS/go/peer" .) ||
        { echo "Left out: go-libp2p (this go could not build it, see above)" >&2; return; }
    cat "$LOCKS/go/go.mod" "$LOCKS/go/go.sum" "$LOCKS/go/main.go" | cksum >"$PEERS/go/.installed"
}

case ${1:-all} in
    all) install_js; install_py; install_go ;;
    js | py | go) "install_$1" ;;
    *) echo "usage: scripts/peers.sh [js|py|go]" >&2; exit 2 ;;
esac
