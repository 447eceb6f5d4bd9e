# Tests and benchmarks source this file. It starts a temporary PostgreSQL in a folder, which listens on a socket in that folder.
#
#   start_postgres FOLDER [SETTING…]    $postgres is then the process id of the PostgreSQL
#   stop_postgres
#   resume_postgres FOLDER [SETTING…]
#   initialize_postgres FOLDER [OPTION…]     makes a cluster in FOLDER/data with these options of initdb, and does not start it

postgres_binaries=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$postgres_binaries" ] || postgres_binaries=$(dirname "$(command -v initdb)")

as_database_user() {
    if [ "$(id -u)" -eq 0 ]; then setpriv --reuid=postgres --regid=postgres --init-groups "$@"; else "$@"; fi
}

initialize_postgres() {
    local folder=$1
    shift
    mkdir -p "$folder/data"
    [ "$(id -u)" -ne 0 ] || chown postgres "$folder" "$folder/data"
    (cd / && as_database_user "$postgres_binaries/initdb" -D "$folder/data" -U postgres -E UTF8 --locale=C.UTF-8 "$@" >/dev/null)
}

start_postgres() {
    initialize_postgres "$1" --auth=trust
    resume_postgres "$@"
}

# Starts a PostgreSQL that start_postgres made and that was stopped.
resume_postgres() {
    local folder=$1 options=()
    shift
    for setting in "$@"; do options+=(-c "$setting"); done
    (
        cd /
        as_database_user "$postgres_binaries/postgres" -D "$folder/data" -c "unix_socket_directories=$folder" \
            -c listen_addresses= -c max_connections=300 "${options[@]}" >>"$folder/postgres.log" 2>&1
    ) &
    for _ in $(seq 1200); do
        if "$postgres_binaries/pg_isready" -q -h "$folder"; then
            postgres=$(head -n 1 "$folder/data/postmaster.pid")
            return
        fi
        sleep 0.05
    done
    cat "$folder/postgres.log" >&2
    return 1
}

stop_postgres() {
    [ -n "${postgres:-}" ] || return 0
    kill -INT "$postgres" 2>/dev/null || return 0
    while kill -0 "$postgres" 2>/dev/null; do sleep 0.1; done
    postgres=
}
