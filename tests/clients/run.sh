#!/bin/sh
# Runs the blocks of docs/clients.md. The Python packages go into target/; nothing else is installed, and what is not there is
# SKIPPED by name: that says nothing about us.
set -eu
cd "$(dirname "$0")/../.."
venv=target/clients-venv
if ! "$venv/bin/python" -c 'import requests, httpx' 2>/dev/null; then
    rm -rf "$venv"
    if ! { python3 -m venv "$venv" && "$venv/bin/pip" install -q -r tests/clients/requirements.txt; } >&2; then
        echo "clients: the Python packages requests and httpx cannot be installed here"
    fi
fi
CLIENTS_PYTHON="$PWD/$venv/bin/python" cargo test --locked --test clients -- --ignored --nocapture --test-threads 1
