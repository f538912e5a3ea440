#!/usr/bin/env bash
# Installs what the tests need besides Go and Node: on Debian as root by itself, elsewhere it says what is missing.
#   cross/deps.sh [COMMAND…]     only what these commands come with
set -euo pipefail
declare -A need=(
  [casync]=casync [mosquitto]=mosquitto [chromium]=chromium [mke2fs]=e2fsprogs [debugfs]=e2fsprogs [ip]=iproute2 [tc]=iproute2 [nft]=nftables
  [aria2c]=aria2 [nginx]=nginx-light [softhsm2-util]=softhsm2 [pkcs11-tool]=opensc [openssl]=openssl
  [xdelta3]=xdelta3 [zstd]=zstd [bsdiff]=bsdiff [mksquashfs]=squashfs-tools
  [qemu-arm-static]=qemu-user-static [qemu-aarch64-static]=qemu-user-static [dpkg-deb]=dpkg
)
missing=()
[[ $# -gt 0 ]] || set -- "${!need[@]}"
for command in "$@"; do
  PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null || missing+=("${need[$command]}")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
  echo "installing: ${missing[*]}" >&2
  apt-get update -qq
  # In this runlevel what is installed is not started.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "these packages are needed; install them first: ${missing[*]}" >&2
  [[ ${CI:-} != true ]]
fi
