#!/usr/bin/env bash
# Records `cargo xtask deploy demo`, twice, as tests/recording/demo.svg, which the README shows.
# Needs asciinema (Debian) and termtosvg (PyPI).
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo build --quiet --package xtask
rm -rf bundles/store bundles/rehearsal/demo bundles/mke_bundle_v*-demo_*.tar.gz environments/demo/receipt.yaml environments/demo/logs

session=$(mktemp)
cast=$(mktemp --suffix .cast)
trap 'rm -f "$session" "$cast"' EXIT
cat > "$session" <<'SESSION'
type() { printf '\033[1m$\033[0m '; for ((i = 0; i < ${#1}; i++)); do printf '%s' "${1:i:1}"; sleep 0.04; done; sleep 0.4; echo; }
sleep 0.5
type 'cargo xtask deploy demo'
cargo --quiet xtask deploy demo
sleep 2
type 'cargo xtask deploy demo'
cargo --quiet xtask deploy demo
sleep 3
SESSION
asciinema rec --quiet --overwrite --cols 110 --rows 42 --command "bash --norc $session" "$cast"
termtosvg render "$cast" tests/recording/demo.svg --template window_frame
