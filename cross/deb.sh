#!/usr/bin/env bash
# Packs the agents that were built into Debian packages, cross/out/*.deb.
#   cross/deb.sh VERSION
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1#v}
[[ $version =~ ^[0-9]+\.[0-9]+ ]] || version=0.0.0+$version # a commit is no version
declare -A debian=([armv5]=armel [armv7]=armhf [arm64]=arm64 [amd64]=amd64 [386]=i386 [riscv64]=riscv64 [mipsle]=mipsel)
for target in "${!debian[@]}"; do
  [[ -x cross/out/$target/waxwing-agent ]] || continue
  AGENTS=cross/out VERSION=$version DEB_ARCH=${debian[$target]} TARGET=$target \
    go tool -modfile=cross/tools.mod nfpm package --config cross/nfpm.yaml --packager deb --target cross/out/
done
