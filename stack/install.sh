#!/bin/sh
# Finds a Python that can run the installer; `make install` calls this.
set -eu
cd "$(dirname "$0")/.."

if [ "$(uname -s)" != Linux ]; then
    echo "error: this runs on Linux only: on $(uname -s), start it in a Debian 12 container or virtual machine" >&2
    exit 1
fi

find_python() {
    for python in python3.11 python3.12 python3; do
        if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then
            return 0
        fi
    done
    return 1
}

if ! find_python && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -q && apt-get install -q -y --no-install-recommends python3 python3-venv
fi
if ! find_python; then
    echo "error: Python 3.11 or 3.12 is needed (Debian 12: apt-get install python3 python3-venv)" >&2
    exit 1
fi
exec "$python" -m stack install
