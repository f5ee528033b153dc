# Runs a server so that it never outlives its owner. The owner holds the other end of our standard input:
# when that reaches its end, because the owner closed it or died in any way, the server is shut down.
#   $1  seconds for a fast shutdown (SIGINT) before an immediate one (SIGQUIT), then as many before SIGKILL
#   $2  a directory to remove at the end, or an empty text
#   $3… the command
limit=$1
directory=$2
shift 2
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
# Whoever signals everything (a terminal, an init system) must not take the watchdog first.
trap '' HUP INT TERM
(
    exec <&3 3<&-
    # Blocks until the end of the input. A builtin, so that killing this shell leaves no child behind.
    while read -r _; do :; done
    nap=
    trap '[ -z "$nap" ] || { kill -KILL "$nap"; wait "$nap"; }; exit 0' USR1
    for signal in INT QUIT KILL; do
        left=$limit
        while [ "$left" -gt 0 ]; do
            # Again each second: a server that has only just been started can miss the first one.
            kill -"$signal" "$server" || exit 0
            sleep 1 &
            nap=$!
            wait "$nap"
            left=$((left - 1))
        done
    done
) 2>/dev/null &
guard=$!
exec 3<&-
wait "$server"
status=$?
kill -USR1 "$guard" 2>/dev/null
wait "$guard" 2>/dev/null
[ -z "$directory" ] || rmdir "$directory" 2>/dev/null
exit "$status"
