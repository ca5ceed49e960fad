#!/usr/bin/env bash
# Makes every secret of an installation, once, in a folder that is yours to
# keep, and prints the Secrets of it:
#
#   k8s/secrets.sh FOLDER [DATABASE] | kubectl --namespace NAMESPACE apply -f -
#
# DATABASE is HOST:PORT/NAME?OPTIONS, and postgres:5432/muster unless told.
# What is in FOLDER already stays as it is, so it can be run again. Keep FOLDER
# as you keep a master key, and out of version control: it holds it.
# MUSTER is the program to make keys with (`muster`).
set -euo pipefail
umask 077

muster=$(command -v "${MUSTER:-muster}") || { echo "there is no program ${MUSTER:-muster}" >&2; exit 1; }
muster=$(realpath "$muster")
services=(identity tenancy device-registry key-management)
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: $0 FOLDER [HOST:PORT/NAME?OPTIONS]" >&2
    exit 2
fi
mkdir -p "$1"
cd "$1"
database=${2:-postgres:5432/muster?sslmode=disable}
name=${database#*/} && name=${name%%\?*}

# A password of 48 hexadecimal digits, which need no quoting anywhere.
password() {
    mkdir -p passwords
    [ -s "passwords/$1" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"passwords/$1"
    cat "passwords/$1"
}

role() { echo "muster_${1//-/_}"; }

# What an administrator of PostgreSQL runs once; again, it renews the passwords.
logins() {
    echo "-- Logins of Muster: the owner of the schemas, and one for each service, which owns nothing."
    echo "SET password_encryption = 'scram-sha-256';"
    echo "SET client_min_messages = warning;"
    for login in muster_owner $(for s in "${services[@]}"; do role "$s"; done); do
        echo "SELECT 'CREATE ROLE $login' WHERE NOT EXISTS"
        echo "    (SELECT FROM pg_roles WHERE rolname = '$login') \\gexec"
        echo "ALTER ROLE $login LOGIN PASSWORD '$(password "$login")';"
    done
    # Whoever grants rights to a role here is a member of it.
    echo "GRANT $(for s in "${services[@]}"; do role "$s"; done | paste -sd,) TO muster_owner;"
    # Whoever is no superuser makes a database for roles only that he has.
    echo "SELECT 'GRANT muster_owner TO CURRENT_USER' WHERE NOT pg_has_role(current_user, 'muster_owner', 'USAGE') \\gexec"
    echo "SELECT 'CREATE DATABASE \"$name\" OWNER muster_owner' WHERE NOT EXISTS"
    echo "    (SELECT FROM pg_database WHERE datname = '$name') \\gexec"
}

# secret NAME KEY FILE [KEY FILE]…: one Secret with these files.
secret() {
    printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  labels: {app.kubernetes.io/part-of: muster}\ndata:\n' "$1"
    shift
    while [ $# -gt 0 ]; do
        printf '  %s: %s\n' "$1" "$(base64 <"$2" | tr -d '\n')"
        shift 2
    done
}

# Each file is made anew only if it is not there: a new master key would make
# what the old one protects unreadable.
[ -s service-keys/services.json ] || "$muster" admin service-keys --out service-keys >&2
[ -s master.key ] || { "$muster" admin master-key >master.key.new && mv master.key.new master.key; }
[ -s administrator.email ] || printf %s "${MUSTER_ADMIN_EMAIL:-admin@example.com}" >administrator.email
if [ -n "${MUSTER_ADMIN_PASSWORD:-}" ] && [ ! -s passwords/administrator ]; then
    mkdir -p passwords
    printf %s "$MUSTER_ADMIN_PASSWORD" >passwords/administrator
fi
password administrator >/dev/null
password postgres >/dev/null
logins >logins.sql
mkdir -p database
printf 'postgres://muster_owner:%s@%s' "$(password muster_owner)" "$database" >database/migrate.url
for service in "${services[@]}"; do
    printf 'postgres://%s:%s@%s' "$(role "$service")" "$(password "$(role "$service")")" "$database" >"database/$service.url"
done

cat <<'MAP'
apiVersion: v1
kind: ConfigMap
metadata:
  name: service-keys
  labels: {app.kubernetes.io/part-of: muster}
data:
  services.json: |
MAP
sed 's/^/    /' service-keys/services.json
[ -z "$(tail -c1 service-keys/services.json)" ] || echo
for service in "${services[@]}" gateway operator; do
    secret "$service-service-key" "$service.pem" "service-keys/$service.pem"
done
for service in "${services[@]}" migrate; do
    secret "$service-database" url "database/$service.url"
done
secret master-key master.key master.key
secret administrator email administrator.email password passwords/administrator
# Only the overlay `dev` runs a PostgreSQL of its own.
if [ "${database%%:*}" = postgres ]; then
    secret postgres password passwords/postgres logins.sql logins.sql
fi
