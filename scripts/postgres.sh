# shellcheck shell=bash
# A throw-away PostgreSQL server, for the scripts that source this file. It has a folder, a port and a socket of its
# own, keeps nothing, and is no part of a PostgreSQL that may run on the machine.

postgres_folder=
postgres_pid=

# Prints the folder of the newest server's binaries; fails when there is none.
postgres_binaries() {
    local folder newest=
    for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin | sort -V); do
        if [[ -x $folder/initdb && -x $folder/postgres ]]; then newest=$folder; fi
    done
    if [[ -z $newest ]] && command -v initdb postgres >/dev/null; then
        newest=$(dirname "$(readlink -f "$(command -v initdb)")")
    fi
    [[ -n $newest ]] && echo "$newest"
}

# Runs a command as somebody who may run a server: PostgreSQL refuses root.
postgres_as_owner() {
    if ((EUID == 0)); then
        setpriv --reuid="$(postgres_owner)" --regid="$(id -g "$(postgres_owner)")" --clear-groups "$@"
    else
        "$@"
    fi
}

postgres_owner() {
    if ((EUID != 0)); then
        id -un
    elif id postgres >/dev/null 2>&1; then
        echo postgres
    else
        echo nobody
    fi
}

# A port that nobody listens on at this moment, below the range that outgoing connections are given.
postgres_free_port() {
    local port
    while true; do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
}

# postgres_start [setting=value]…: starts a server and sets postgres_url to a superuser's URL of it.
postgres_start() {
    local binaries port setting attempt settings=()
    binaries=$(postgres_binaries) || {
        echo "PostgreSQL's server is not installed: on Debian, apt-get install postgresql" >&2
        return 1
    }
    for setting in "$@"; do settings+=(-c "$setting"); done
    postgres_folder=$(mktemp -d "${TMPDIR:-/tmp}/tollgate-postgres.XXXXXX")
    if ((EUID == 0)); then chown "$(postgres_owner)" "$postgres_folder"; fi
    # Where the server can, an order of text that is not that of the bytes: what forgets its COLLATE "C" shows.
    local locale=(--no-locale)
    if "$binaries/initdb" --help | grep -q -- --icu-locale; then
        locale=(--locale-provider=icu --icu-locale=en-US --locale=C)
    fi
    (
        cd "$postgres_folder" || exit
        postgres_as_owner "$binaries/initdb" --pgdata="$postgres_folder/data" --username=postgres --auth=trust \
            --encoding=UTF8 --no-sync "${locale[@]}" >"$postgres_folder/log" 2>&1
    ) || {
        cat "$postgres_folder/log" >&2
        return 1
    }
    for attempt in 1 2 3; do
        port=$(postgres_free_port)
        # A process group of its own: Ctrl-C is for the tests first, and for their database when they are gone.
        set -m
        (
            cd "$postgres_folder" || exit
            postgres_as_owner "$binaries/postgres" -D "$postgres_folder/data" -c port="$port" \
                -c listen_addresses=127.0.0.1 -c unix_socket_directories="$postgres_folder" \
                -c max_connections=300 "${settings[@]}"
        ) >>"$postgres_folder/log" 2>&1 </dev/null &
        postgres_pid=$!
        set +m
        # A server that found its port taken has ended, and the next port is tried.
        while kill -0 "$postgres_pid" 2>/dev/null; do
            if "$binaries/pg_isready" -q -h "$postgres_folder" -p "$port"; then
                # shellcheck disable=SC2034 # for those who source this
                postgres_url="postgres://postgres@127.0.0.1:$port/postgres"
                return 0
            fi
            sleep 0.05
        done
        echo "PostgreSQL did not start on port $port (attempt $attempt)" >&2
    done
    cat "$postgres_folder/log" >&2
    return 1
}

# Stops what postgres_start started; safe to call when nothing was.
postgres_stop() {
    if [[ -n $postgres_pid ]]; then
        # At once: nothing in it is worth a checkpoint.
        kill -QUIT -- "-$postgres_pid" 2>/dev/null || true
        wait "$postgres_pid" 2>/dev/null || true
        postgres_pid=
    fi
    if [[ -n $postgres_folder ]]; then
        rm -rf "$postgres_folder"
        postgres_folder=
    fi
}
