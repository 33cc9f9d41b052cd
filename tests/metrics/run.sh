#!/bin/sh
# What Prometheus' own tool says of our metrics and alerts; and that every metric that deploy/ names exists. Says SKIPPED
# without promtool (Debian package prometheus).
#
#   run.sh SERVER STRESS_TEST
set -eu
server=$1 stress=$2
command -v promtool >/dev/null || { echo "metrics-test: SKIPPED, promtool is missing: apt-get install prometheus"; exit 0; }
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid"; rm -rf "$folder"' EXIT
promtool check rules deploy/alerts.yml
promtool test rules deploy/alerts_test.yml

address=127.0.0.1:$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf '[nodes]\n1 = "%s"\n' "$address" >"$folder/cluster.toml"
"$server" 1 --cluster "$folder/cluster.toml" --images "$folder/images" --secrets "$folder/secrets" >"$folder/log" 2>&1 &
pid=$!
tries=0
until curl --silent --fail "http://$address/readyz" >/dev/null; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { cat "$folder/log"; echo "metrics-test: the node is not ready"; exit 1; }
    sleep 0.1
done
"$stress" -n 40 --max-size 400 --yes --plain --cluster "$folder/cluster.toml" >"$folder/stress" &
load=$!
for _ in 1 2 3 4 5 6 7 8; do
    sleep 0.5
    curl --silent --fail "http://$address/metrics" >"$folder/metrics" || continue
    promtool check metrics <"$folder/metrics"
done
wait $load
curl --silent --fail "http://$address/metrics" >"$folder/metrics"
promtool check metrics <"$folder/metrics"
echo "promtool check metrics: $(grep -c '^# TYPE' "$folder/metrics") families, nothing to say"
missing=0
for name in $(grep -ohE '(pixseal|process)_[a-z0-9_]+' deploy/alerts.yml deploy/grafana.json | sort -u); do
    grep -qE "^($name[ {]|# TYPE $name )" "$folder/metrics" || { echo "deploy/ names $name, which no node tells"; missing=1; }
done
exit $missing
