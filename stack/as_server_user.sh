#!/bin/sh
# Only its owner can enter the stack's folder. PostgreSQL's user need not: it is given the data folder, and the
# file with the first password, as open descriptors, and no capability.
# as_server_user.sh DATA_FOLDER PASSWORD_FILE COMMAND…
exec 3<"$1" 4<"$2"
shift 2
exec setpriv --reuid=postgres --regid=postgres --init-groups --inh-caps=-all --no-new-privs "$@"
