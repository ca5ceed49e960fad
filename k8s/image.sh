#!/usr/bin/env bash
# Packs a program that is built already into the image, with no registry:
#   k8s/image.sh TAG [PROGRAM]     PROGRAM is target/release/muster unless told
# The program must be built against a libc like this machine's, since its
# libraries are taken from here.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: $0 TAG [PROGRAM]" >&2
    exit 2
fi
tag=$1 program=${2:-$here/../target/release/muster}
if [ ! -x "$program" ]; then
    echo "$program is no program; cargo build --release --locked makes it" >&2
    exit 1
fi

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
"$here/rootfs.sh" "$program" "$context/rootfs"
cp "$here/Dockerfile" "$context/"
# The stage needs no feature of BuildKit, which not every client has.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
docker build --quiet --target prebuilt --tag "$tag" "$context"
