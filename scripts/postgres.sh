# Sourced by the other scripts: where PostgreSQL is, who runs it, throwaway servers.
# Sets nothing by itself; needs only a POSIX shell (free_port needs bash).

# The folder that holds a server's programs, or nothing. The newest version wins.
postgres_bin() {
    for folder in "${PG_BIN:-}" \
        $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5,5nr) \
        $(ls -d /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin 2>/dev/null | sort -t@ -k2,2nr) \
        $(printf '%s' "$PATH" | tr ':' ' '); do
        if [ -n "$folder" ] && [ -x "$folder/postgres" ] && [ -x "$folder/initdb" ]; then
            printf '%s\n' "$folder"
            return 0
        fi
    done
    return 1
}

# The user that runs servers: PostgreSQL refuses root.
server_user() {
    if [ "$(id -u)" != 0 ]; then
        id -un
    elif id postgres >/dev/null 2>&1; then
        echo postgres
    else
        echo nobody
    fi
}

# Runs a program as the server's user, from a folder that this user can read.
as_server_user() (
    cd /
    user=$(server_user)
    if [ "$(id -u)" != 0 ]; then
        exec "$@"
    elif command -v setpriv >/dev/null 2>&1; then
        exec setpriv --reuid="$(id -u "$user")" --regid="$(id -g "$user")" --clear-groups "$@"
    else
        exec runuser -u "$user" -- "$@"
    fi
)

# A root shell's prefix, or nothing when there is neither root nor sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        echo "this needs root: $*" >&2
        return 1
    fi
}

# Asks on a terminal; elsewhere the answer is yes, because somebody ran the command.
agreed() {
    if [ ! -t 0 ] || [ "${CI:-}" = true ]; then
        return 0
    fi
    printf '%s [Y/n] ' "$1" >&2
    read -r answer
    case "$answer" in
        '' | y | Y | yes) return 0 ;;
        *) return 1 ;;
    esac
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >&2
}

apt_update() {
    as_root apt-get update -q >&2
}

# A TCP port on 127.0.0.1 that nobody listens on now.
free_port() {
    while :; do
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return 0
        fi
    done
}
