#!/usr/bin/env bash
# Make a virtual environment in folder $1 with the first Python that is new enough.
set -euo pipefail

target=$1
new_enough='import sys; sys.exit(sys.version_info < (3, 11))'

python=
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
  if command -v "$candidate" >/dev/null && "$candidate" -c "$new_enough" 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "comms needs Python 3.11 or newer; on Debian 12 or Ubuntu 24.04: sudo apt-get install python3 python3-venv" >&2
  exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  echo "$python lacks the venv module; install it: sudo apt-get install python3-venv" >&2
  exit 1
fi
rm -rf "$target"
"$python" -m venv "$target"
