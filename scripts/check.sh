#!/usr/bin/env bash
# Everything that must hold before a change is shared: format, lints with and without CUDA, AVIF and object storage and of what
# Python imports, the library alone, documentation, tests.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --check
cargo clippy --all-targets -- -D warnings
if [ "$(uname)" != Darwin ]; then # which has no CUDA
    cargo clippy --all-targets --features cuda -- -D warnings
fi
cargo clippy --lib --tests --features avif -- -D warnings
cargo clippy --all-targets --features remote -- -D warnings
cargo clippy -p deepcut-python -- -D warnings # needs no Python
cargo check --no-default-features # the library alone
cargo check --no-default-features --features cli # the program without network
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
if command -v cargo-deny >/dev/null; then
    # The advisory database needs the network; licences, bans and sources do not.
    cargo deny --offline check licenses bans sources
else
    echo "cargo-deny is not installed: licences were not checked"
fi
cargo test
cargo test --lib --features avif avif
cargo test --features remote remote
