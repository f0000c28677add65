#!/bin/sh
# Installs the foreign programs that tests and benchmarks use into build/peers: js-libp2p and the
# IPFS importer (npm), IPFS client libraries (npm), the libraries of the dm3 reference (npm),
# py-libp2p and kademlia (each in an environment of its own), go-libp2p, axe-core for the browser
# tests (npm). A program whose language is not on this machine is left out with a message;
# DMS3_REQUIRE_PEERS=1 makes that a failure.
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

has_npm() {
    command -v npm >/dev/null 2>&1 || { missing "$1 (no npm: install nodejs and npm)"; return 1; }
}

# The npm packages that the lock in folder $2 names, into build/peers/$1.
install_npm() {
    mkdir -p "$PEERS/$1"
    if ! current "$PEERS/$1" "$2/package.json" "$2/package-lock.json"; then
        cp "$2/package.json" "$2/package-lock.json" "$PEERS/$1/"
        echo "Installing the npm packages of build/peers/$1" >&2
        (cd "$PEERS/$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null)
        cat "$2/package.json" "$2/package-lock.json" | cksum >"$PEERS/$1/.installed"
    fi
}

install_js() {
    has_npm js-libp2p || return 0
    install_npm js "$LOCKS/js"
    cp "$LOCKS"/js/*.mjs "$PEERS/js/" # a module finds node_modules beside itself
}

install_dm3() {
    has_npm "the dm3 libraries" || return 0
    install_npm dm3 "$LOCKS/dm3"
    cp "$LOCKS"/dm3/*.mjs "$PEERS/dm3/" # as above
}

install_ipfs() {
    has_npm "the IPFS client libraries" || return 0
    install_npm ipfs "$LOCKS/ipfs"
    cp "$LOCKS"/ipfs/*.mjs "$PEERS/ipfs/" # as above
}

# anvil (npm), contracts as npm packages carry them, of which one asks for a package that does not
# exist any more and cannot be installed, and one of our own, compiled here.
install_ens() {
    has_npm "an Ethereum node" || return 0
    [ "$(uname -sm)" = "Linux x86_64" ] || { echo "Left out: anvil (its lock is for Linux on x86-64)" >&2; return; }
    lock=$LOCKS/ens
    if current "$PEERS/ens" "$lock/package.json" "$lock/package-lock.json" \
        "$lock/contracts.sha256" "$lock/uv.lock" "$lock/universal.vy"; then
        return
    fi
    rm -f "$PEERS/ens/.installed"
    install_npm ens "$lock"
    rm -f "$PEERS/ens/.installed"
    (
        cd "$PEERS/ens"
        for package in ens@0.6.2 resolver@0.3.1 offchain-resolver-contracts@0.2.1; do
            npm pack --silent --loglevel=error "@ensdomains/$package" </dev/null >/dev/null
        done
        if command -v sha256sum >/dev/null 2>&1; then
            sha256sum --quiet -c "$lock/contracts.sha256"
        else
            shasum -a 256 -q -c "$lock/contracts.sha256"
        fi
        for file in ensdomains-*.tgz; do
            mkdir -p "contracts/${file%.tgz}"
            tar xzf "$file" -C "contracts/${file%.tgz}"
        done
    )
    uv=$(sh scripts/uv.sh)
    UV_PROJECT_ENVIRONMENT=$PEERS/ens/vyper "$uv" sync --frozen --quiet --project "$lock" \
        --python "$HERE/.venv/bin/python"
    "$PEERS/ens/vyper/bin/vyper" -f bytecode "$lock/universal.vy" >"$PEERS/ens/universal.hex"
    cat "$lock/package.json" "$lock/package-lock.json" "$lock/contracts.sha256" "$lock/uv.lock" \
        "$lock/universal.vy" | cksum >"$PEERS/ens/.installed"
}

install_axe() {
    has_npm axe-core || return 0
    install_npm axe "$HERE/tests/browser/axe"
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

install_kademlia() {
    if current "$PEERS/kademlia" "$LOCKS/kademlia/pyproject.toml" "$LOCKS/kademlia/uv.lock"; then
        return
    fi
    uv=$(sh scripts/uv.sh)
    echo "Installing kademlia into build/peers/kademlia" >&2
    UV_PROJECT_ENVIRONMENT=$PEERS/kademlia "$uv" sync --frozen --quiet \
        --project "$LOCKS/kademlia" --python "$HERE/.venv/bin/python"
    cat "$LOCKS/kademlia/pyproject.toml" "$LOCKS/kademlia/uv.lock" | cksum \
        >"$PEERS/kademlia/.installed"
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

# An IPFS node for the tests of places: only when it is asked for, since its 250 modules take minutes.
install_kubo() {
    lock=$LOCKS/kubo
    if current "$PEERS/kubo" "$lock/go.mod" "$lock/go.sum"; then
        return
    fi
    command -v go >/dev/null 2>&1 || { missing "kubo (no go on this machine)"; return; }
    mkdir -p "$PEERS/kubo"
    echo "Building kubo into build/peers/kubo" >&2
    (cd "$lock" && GOTOOLCHAIN=local go build -mod=readonly -buildvcs=false -o "$PEERS/kubo/ipfs" \
        github.com/ipfs/kubo/cmd/ipfs) || { missing "kubo (this go could not build it)"; return; }
    cat "$lock/go.mod" "$lock/go.sum" | cksum >"$PEERS/kubo/.installed"
}

case ${1:-all} in
    all) install_js; install_dm3; install_ipfs; install_ens; install_py; install_kademlia; install_go; install_axe ;;
    js | dm3 | ipfs | ens | py | kademlia | go | axe | kubo) "install_$1" ;;
    *) echo "usage: scripts/peers.sh [js|dm3|ipfs|ens|py|kademlia|go|axe|kubo]" >&2; exit 2 ;;
esac
