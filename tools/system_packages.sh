#!/usr/bin/env bash
# Install what the tests take from Debian's packages: a browser, a SIP load generator, two stores.
set -euo pipefail

missing=()
need() { # package, command that it brings
  command -v "$2" >/dev/null || missing+=("$1")
}
need chromium chromium
need sip-tester sipp
need redis-server redis-server
need espeak-ng espeak-ng
# PostgreSQL's server programs are in no folder of the search path
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)

[ ${#missing[@]} -gt 0 ] || exit 0

install=(apt-get install --yes --no-install-recommends "${missing[@]}")
if ! command -v apt-get >/dev/null; then
  echo "make test needs: ${missing[*]} (names of Debian's packages); install them and run it again" >&2
  exit 1
fi
if [ "$(id -u)" = 0 ]; then
  as_root=()
elif sudo --non-interactive true 2>/dev/null; then
  as_root=(sudo)
else
  echo "make test needs more Debian packages; install them: sudo ${install[*]}" >&2
  exit 1
fi
echo "Installing Debian packages: ${missing[*]} ..."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { "${as_root[@]}" apt-get update && "${as_root[@]}" "${install[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  exit 1
fi
