#!/usr/bin/env bash
# Packs the PostgreSQL that is installed here into an image for tests, with no
# registry: .ci/postgres-image.sh TAG
# It takes POSTGRES_PASSWORD and the arguments of `postgres`, as the official
# image does, and listens on 5432.
set -euo pipefail

tag=${1:?usage: .ci/postgres-image.sh TAG}
version=$(ls /usr/lib/postgresql | sort -n | tail -n 1)
home=/usr/lib/postgresql/$version
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/rootfs

# A program or library with everything that it loads, at the same paths.
add() {
    local file
    for file in "$@"; do
        install -D -m 0755 "$file" "$root$file"
        { ldd "$file" || true; } | { grep -o '/[^ ]*' || true; } | while read -r library; do
            [ -e "$root$library" ] || install -D -m 0755 "$library" "$root$library"
        done
    done
}

mkdir -p "$root/etc" "$root/usr/share" "$root/var/lib"
mkdir -m 1777 "$root/tmp" "$root/var/lib/postgresql"
add "$home/bin/postgres" "$home/bin/initdb"
# Without the compiler of queries, which is larger than all the rest.
for library in "$home"/lib/*.so; do
    case $library in */llvmjit.so) ;; *) add "$library" ;; esac
done
mkdir -p "$root/usr/share/postgresql"
cp -r "/usr/share/postgresql/$version" "$root/usr/share/postgresql/"
cp -r /usr/share/zoneinfo "$root/usr/share/"
# initdb runs its programs by a shell.
add /bin/sh
echo 'postgres:x:999:999:PostgreSQL:/var/lib/postgresql:/bin/sh' >"$root/etc/passwd"
echo 'postgres:x:999:' >"$root/etc/group"

cat >"$root/start" <<START
#!/bin/sh
set -eu
data=/var/lib/postgresql/data
[ "\${1:-}" != postgres ] || shift
if [ ! -s \$data/PG_VERSION ]; then
    echo "\${POSTGRES_PASSWORD:?is not set}" >/tmp/password
    $home/bin/initdb -D \$data --username=postgres --pwfile=/tmp/password --auth=scram-sha-256 \\
        --encoding=UTF8 --locale=C --no-sync --no-instructions
    echo 'host all all all scram-sha-256' >>\$data/pg_hba.conf
fi
exec $home/bin/postgres -D \$data -k /tmp -c listen_addresses='*' "\$@"
START
chmod 0755 "$root/start"

tar -C "$root" --owner=0 --group=0 --numeric-owner -c . | docker import \
    --change 'USER 999:999' --change 'EXPOSE 5432' \
    --change 'ENTRYPOINT ["/start"]' --change 'CMD ["postgres"]' \
    - "$tag"
