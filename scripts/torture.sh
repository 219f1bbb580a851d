#!/usr/bin/env bash
# Every try of tests/program/torture, in release: kills, failing disks, damaged and foreign files, bombs. Prints one table
# and puts it into docs/trust.md; ends with 1 if anything did not hold. Takes an hour or two, 2 GB of memory and 2 GB below
# $TMPDIR, no network and no rights beyond a user's.
#
#   scripts/torture.sh [FILTER]    with a FILTER (such as kills) only the tests of that name, and docs/trust.md stays
set -euo pipefail
cd "$(dirname "$0")/.."

filter=${1:-}
folder=${CARGO_TARGET_DIR:-target}
mkdir -p "$folder"
log=$folder/torture.log

ended=0
DEEPCUT_TORTURE=long RUST_BACKTRACE=0 cargo test --release --test program "torture::$filter" -- --nocapture --test-threads=1 2>&1 |
    tee "$log" || ended=1
# Without those in which the harness tests itself.
rows=$(grep '^| ' "$log" | grep -v '^| rows | themselves ' || true)
if [ -z "$rows" ]; then
    echo "no row was run" >&2
    exit 1
fi

temporary=${TMPDIR:-/tmp}
processor=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)
table=$(
    echo "Made on $(date -u +%Y-%m-%d) by \`scripts/torture.sh\`: ${processor:-$(uname -m)}, $(nproc) cores, $(uname -s) $(uname -r), $(stat -f -c %T "$temporary")."
    echo
    echo "| kind | attack | tries | held | failed |"
    echo "|---|---|---:|---:|---:|"
    echo "$rows"
)
printf '\n%s\n' "$table"

if [ -z "$filter" ]; then
    # Between the two comments of the document, and nothing else of it.
    TABLE=$table awk '
        /<!-- table: end -->/ { inside = 0 }
        !inside { print }
        /<!-- table: begin -->/ { inside = 1; print ""; print ENVIRON["TABLE"]; print "" }
    ' docs/trust.md >"$folder/trust.md"
    cat "$folder/trust.md" >docs/trust.md
fi

if [ "$ended" != 0 ]; then
    echo "something did not hold; the reasons stand in $log" >&2
fi
exit "$ended"
