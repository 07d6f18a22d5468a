#!/usr/bin/env bash
# Installs what is missing, and says so. Quick when nothing is.
#
#   tests/setup.sh postgres   what "make demo" needs: the PostgreSQL server
#   tests/setup.sh all        what "make test" needs: psql, pgbench, valgrind, and drivers for Python and Node too
#   tests/setup.sh bench      what "make bench" needs: pgbench, and the proxies that the router is compared with
#
# The drivers go to target/test-drivers; nothing is installed outside of it but Debian packages.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly MAJOR_MIN=15
readonly DRIVERS=target/test-drivers
readonly PSYCOPG='psycopg[binary]==3.3.*'
readonly NODE_PG='pg@8'

die() {
    echo "setup: $*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# The folders that may hold server binaries, one a line. shard-admin looks in the same places.
server_folders() {
    if [ -n "${SHARDGATE_PG_BIN:-}" ]; then
        echo "$SHARDGATE_PG_BIN"
        return
    fi
    ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null || true
    tr ':' '\n' <<<"$PATH"
}

# True if a server that is new enough is found.
have_server() {
    local folder version
    while read -r folder; do
        if [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ] && [ -x "$folder/pg_basebackup" ]; then
            version=$("$folder/postgres" --version | sed -E 's/^[^0-9]*([0-9]+).*$/\1/')
            if [ "$version" -ge "$MAJOR_MIN" ]; then
                return 0
            fi
        fi
    done < <(server_folders)
    return 1
}

# Runs a command as root. The first argument says what it is for.
as_root() {
    local purpose=$1
    shift
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        have sudo || die "$purpose needs root: $*"
        sudo "$@"
    fi
}

# Installs Debian packages. On another system it says what is missing.
install() {
    have apt-get || die "$* is missing. Install it with this system's package manager, then run this again."
    echo "setup: installing $*"
    as_root "installing $*" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    as_root "installing $*" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

setup_postgres() {
    have_server && return
    install postgresql
    have_server || die "the packages of this system have no PostgreSQL $MAJOR_MIN or later." \
        "See https://www.postgresql.org/download/, or set SHARDGATE_PG_BIN to the folder of its binaries."
}

setup_clients() {
    if have psql && have pgbench; then
        return
    fi
    # Debian has pgbench with the server; the client's package puts both on the PATH.
    install postgresql postgresql-client
    if ! have psql || ! have pgbench; then
        die "psql and pgbench are not on the PATH."
    fi
}

setup_python() {
    local python=$DRIVERS/python/bin/python
    "$python" -c 'import psycopg' 2>/dev/null && return
    python3 -c 'import ensurepip, venv' 2>/dev/null || install python3 python3-venv
    rm -rf "$DRIVERS/python"
    mkdir -p "$DRIVERS"
    echo "setup: installing $PSYCOPG into $DRIVERS/python"
    python3 -m venv "$DRIVERS/python"
    "$python" -m pip install --quiet --disable-pip-version-check "$PSYCOPG"
    "$python" -c 'import psycopg' || die "psycopg does not work."
}

setup_node() {
    have node || install nodejs
    NODE_PATH=$DRIVERS/node/node_modules node -e 'require("pg")' 2>/dev/null && return
    have npm || install npm
    mkdir -p "$DRIVERS/node"
    echo "setup: installing $NODE_PG into $DRIVERS/node"
    npm install --silent --no-audit --no-fund --no-save --prefix "$DRIVERS/node" "$NODE_PG"
    NODE_PATH=$DRIVERS/node/node_modules node -e 'require("pg")' || die "the pg package does not work."
}

# For the instruction counts.
setup_valgrind() {
    have valgrind || install valgrind
}

# Debian keeps servers in sbin, which is not on everybody's PATH.
have_proxy() { have "$1" || [ -x "/usr/sbin/$1" ]; }

# Both packages start a server of their own, which is not needed and would disturb the figures.
setup_proxies() {
    local missing=()
    have_proxy pgbouncer || missing+=(pgbouncer)
    have_proxy haproxy || missing+=(haproxy)
    [ ${#missing[@]} -eq 0 ] && return
    install "${missing[@]}"
    if [ -d /run/systemd/system ]; then
        as_root "stopping the packages' own servers" systemctl disable --now --quiet "${missing[@]}"
    fi
}

case "${1:-all}" in
postgres)
    setup_postgres
    ;;
all)
    setup_postgres
    setup_clients
    setup_valgrind
    setup_python
    setup_node
    ;;
bench)
    setup_postgres
    setup_clients
    setup_proxies
    ;;
*)
    die "usage: tests/setup.sh postgres|all|bench"
    ;;
esac
