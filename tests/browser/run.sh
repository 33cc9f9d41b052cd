#!/bin/sh
# Drives the page with a real browser: tests/browser/test_page.py, by Selenium and axe from PyPI in a folder of its own under target/.
# What the browser needs comes from the system: Debian's chromium and chromium-driver, which are installed where that is
# allowed. Where there is no browser, a visible word and no failure: that says nothing about the page.
#
#   run.sh [NAME …]          all tests, or those of these names
#   run.sh --screenshots     writes the pictures of docs/page.md
set -eu
cd "$(dirname "$0")/../.."
skip() {
    echo "browser-test: SKIPPED, $1"
    exit 0
}
is_there() { command -v chromium >/dev/null && command -v chromedriver >/dev/null; }
if ! is_there && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium chromium-driver >&2 ||
        skip "apt-get cannot install chromium and chromium-driver"
fi
is_there || skip "there is no chromium with its chromedriver (Debian: apt-get install chromium chromium-driver)"
venv=target/browser-venv
if ! "$venv/bin/python" -c 'import axe_core_python, selenium' 2>/dev/null; then
    rm -rf "$venv"
    { python3 -m venv "$venv" && "$venv/bin/pip" install -q -r tests/browser/requirements.txt; } >&2 ||
        skip "the Python packages of tests/browser/requirements.txt cannot be installed"
fi
cargo build --locked --bin server --bin seal
export PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/python" tests/browser/test_page.py "$@"
