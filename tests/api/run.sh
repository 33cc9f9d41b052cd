#!/bin/sh
# Holds docs/openapi.yaml against a running cluster. The Python packages go into target/; where they cannot be installed, a visible
# word and no failure: that says nothing about us.
set -eu
cd "$(dirname "$0")/../.."
venv=target/api-venv
if ! "$venv/bin/python" -c 'import schemathesis, openapi_spec_validator' 2>/dev/null; then
    rm -rf "$venv"
    if ! { python3 -m venv "$venv" && "$venv/bin/pip" install -q -r tests/api/requirements.txt; } >&2; then
        echo "api: SKIPPED, the Python packages schemathesis and openapi-spec-validator cannot be installed here"
        exit 0
    fi
fi
"$venv/bin/openapi-spec-validator" docs/openapi.yaml
API_VENV="$PWD/$venv" cargo test --locked --test api -- --ignored --nocapture --test-threads 1
