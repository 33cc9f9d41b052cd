#!/bin/sh
# Runs the commands of README, one after the other, in a clone of what is committed: those of "Two commands" and "Use it", in
# sh, and its Python. N=2000 becomes N=$N (40); nothing else is changed, and each command is printed before it runs.
set -eu
cd "$(dirname "$0")/../.."
here=$PWD N=${N:-40}
for port in 8001 8002 8003; do
    if python3 -c "import socket; socket.create_connection(('127.0.0.1', $port), 1)" 2>/dev/null; then
        echo "readme-test: SKIPPED, port $port is in use: something runs there already"
        exit 0
    fi
done
python=python3
if ! python3 -c 'import requests' 2>/dev/null; then
    python=$here/target/readme-venv/bin/python
    "$python" -c 'import requests' 2>/dev/null ||
        { python3 -m venv target/readme-venv && target/readme-venv/bin/pip install --quiet requests; } ||
        { echo "readme-test: its Python is SKIPPED, requests cannot be had"; python=; }
fi
folder=$(mktemp -d)
trap 'cd "$folder/pixseal" 2>/dev/null && make --silent stop >/dev/null 2>&1; rm -rf "$folder"' EXIT
git clone --quiet . "$folder/pixseal"
mkdir -p target
ln -s "$here/target" "$folder/pixseal/target"
cd "$folder/pixseal"
cp docs/page-light.png cat.png
mkdir holidays
cp docs/page-dark.png holidays/sea.png

# Of both sections: indented lines as they are, and the Python blocks, each as one line of the form `python FILE`.
awk -v folder="$folder" '
    /^## / { wanted = $0 == "## Two commands" || $0 == "## Use it" }
    !wanted { next }
    /^```python/ { file = folder "/block" ++blocks ".py"; inside = 1; print "python " file; next }
    /^```/ { inside = 0; next }
    inside { print > file; next }
    /^    / { sub(/^    /, ""); sub(/ +# .*/, ""); print }
' README.md >"$folder/commands"
[ "$(wc -l <"$folder/commands")" -ge 12 ] || { echo "readme-test: README has hardly any commands"; exit 1; }
count=0
while read -r command; do
    case $command in
    python\ *)
        [ -n "$python" ] || continue
        command="$python ${command#python }"
        ;;
    esac
    command=$(echo "$command" | sed "s/N=2000/N=$N/")
    echo "\$ $command"
    sh -euc "$command" </dev/null >"$folder/said" 2>&1 || { cat "$folder/said"; echo "readme-test: FAILED: $command"; exit 1; }
    tail -n 2 "$folder/said"
    count=$((count + 1))
done <"$folder/commands"
cmp -s copy.png docs/page-light.png || { [ -z "$python" ] || { echo "readme-test: FAILED: copy.png is another image"; exit 1; }; }
[ -n "$(ls copies 2>/dev/null)" ] || { echo "readme-test: FAILED: copies/ is empty"; exit 1; }
echo "readme-test: $count commands of README did what they say"
