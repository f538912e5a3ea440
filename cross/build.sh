#!/usr/bin/env bash
# Builds the agent for every target of cross/targets into cross/out/<target>/. Two builds of the same commit are
# byte-identical: no paths, no build ids, no cgo, no time.
#   cross/build.sh VERSION [TARGET…]
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1
shift
only=("$@")
while read -r target settings; do
  [[ -z $target || $target == \#* ]] && continue
  [[ ${#only[@]} -gt 0 && ! " ${only[*]} " == *" $target "* ]] && continue
  out=${OUT:-cross/out}/$target
  mkdir -p "$out"
  # shellcheck disable=SC2086 # settings are words
  env CGO_ENABLED=0 GOFLAGS= GOOS=linux $settings go build -trimpath -buildvcs=false -tags nethttpomithttp2 \
    -ldflags "-s -w -buildid= -X main.version=$version" -o "$out/waxwing-agent" ./agent/cmd/waxwing-agent
  printf '%-12s %9d bytes\n' "$target" "$(stat -c %s "$out/waxwing-agent")"
done < cross/targets
