#!/bin/sh
# run.sh SECONDS [TARGET...]: lets cargo-fuzz try each target (default: all) for SECONDS, starting from fuzz/seeds/.
# What it finds interesting stays in fuzz/corpus/, what breaks something in fuzz/artifacts/.
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
[ $# -gt 0 ] || set -- image keyset open_sealed datagram http_head http_body tokens ticket
# No sanitizer: our code has no unsafe parts, and those of its dependencies are fuzzed by their own projects.
cargo +nightly fuzz build --sanitizer none
for target in "$@"; do
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    log=fuzz/artifacts/$target.log
    if ! cargo +nightly fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len=8192 -print_final_stats=1 -verbosity=0 >"$log" 2>&1; then
        cat "$log"
        echo "fuzz: $target: FAILED, the input is in fuzz/artifacts/$target/"
        exit 1
    fi
    echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, none broke anything"
done
