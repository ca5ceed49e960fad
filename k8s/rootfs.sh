#!/usr/bin/env bash
# Collects what the program needs to run on its own: k8s/rootfs.sh PROGRAM FOLDER
set -euo pipefail

program=$1 root=$2
certificates=/etc/ssl/certs/ca-certificates.crt

mkdir -p "$root/etc/ssl/certs"
install -m 0755 "$program" "$root/muster"

# The shared libraries and their loader, at the paths where the loader looks.
if libraries=$(ldd "$program"); then
    printf '%s\n' "$libraries" | grep -o '/[^ ]*' | sort -u | while read -r library; do
        install -D -m 0755 "$library" "$root$library"
    done
elif ! LC_ALL=C ldd "$program" 2>&1 | grep -q 'not a dynamic executable'; then
    echo "ldd can't read $program" >&2
    exit 1
fi

if [ ! -r "$certificates" ]; then
    echo "no $certificates here; install ca-certificates" >&2
    exit 1
fi
install -m 0644 "$certificates" "$root$certificates"
echo 'muster:x:65532:65532:Muster:/:/sbin/nologin' >"$root/etc/passwd"
echo 'muster:x:65532:' >"$root/etc/group"
# Names of peers are looked up in /etc/hosts first, then by DNS.
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
