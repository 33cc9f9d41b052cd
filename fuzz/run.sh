#!/bin/sh
# run.sh SECONDS [TARGET...]: lets cargo-fuzz try each target (default: all) for SECONDS, starting from fuzz/seeds/.
# What it found interesting stays in fuzz/corpus/, what broke something in fuzz/artifacts/.
set -eu
cd "$(dirname "$0")/.."
seconds=$1
shift
missing() {
    echo "fuzz: $1 is missing: $2"
    exit 1
}
cargo +nightly --version >/dev/null 2>&1 || missing "nightly Rust" "rustup toolchain install nightly"
cargo fuzz --version >/dev/null 2>&1 || missing "cargo-fuzz" "cargo install cargo-fuzz"
[ $# -gt 0 ] || set -- image keyset open_sealed datagram http_head http_body
for target in "$@"; do
    mkdir -p "fuzz/corpus/$target"
    # Sanitizers find nothing in code without unsafe that costs twice the time to look for.
    cargo +nightly fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len=8192 -print_final_stats=1 -verbosity=0 2>&1 |
        grep -E '^(stat::number_of_executed_units|SUMMARY|thread|artifact)|panicked|ERROR' | sed "s/^/fuzz: $target: /"
done
