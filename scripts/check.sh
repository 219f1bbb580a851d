#!/usr/bin/env bash
# Everything that must hold before a change is shared: format, lints with and without CUDA, documentation, tests.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --check
cargo clippy --all-targets -- -D warnings
cargo clippy --all-targets --features cuda -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
if command -v cargo-deny >/dev/null; then
    # The advisory database needs the network; licences, bans and sources do not.
    cargo deny --offline check licenses bans sources
else
    echo "cargo-deny is not installed: licences were not checked"
fi
cargo test
