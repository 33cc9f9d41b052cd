#!/bin/sh
# Installs the real Tink into target/ and runs tests/sealed/interop.rs with it; `run.sh verify KEYSET DIR` opens every sealed
# image in DIR with it. Where it cannot be installed, a visible word and no failure: that says nothing about us.
set -eu
cd "$(dirname "$0")/../.."
venv=target/tink-venv
if ! "$venv/bin/python" -c 'import tink' 2>/dev/null; then
    rm -rf "$venv"
    if ! { python3 -m venv "$venv" && "$venv/bin/pip" install -q -r tests/interop/requirements.txt; } >&2; then
        echo "interop: SKIPPED, the Python package tink cannot be installed here"
        exit 0
    fi
fi
if [ $# -gt 0 ]; then
    exec "$venv/bin/python" tests/interop/with_tink.py "$@"
fi
TINK_PYTHON="$PWD/$venv/bin/python" cargo test --test sealed interop
