#!/usr/bin/env bash
# Makes a virtual environment with the locked dependencies on a bare Debian or Ubuntu.
# usage: tools/setup.sh VENV REQUIREMENTS
set -euo pipefail
venv=$1 requirements=$2

find_python() {
  for candidate in "${PENSTOCK_PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$candidate"; return; }
  done
  echo "penstock needs Python 3.11 or newer: install python3 (or set PENSTOCK_PYTHON)" >&2
  return 1
}

make_venv() {
  "$python" -m venv --clear "$venv" 2>/dev/null && return
  echo "setup: this Python has no venv module" >&2
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    "$python" -m venv --clear "$venv" && return
  fi
  command -v virtualenv >/dev/null && virtualenv -q -p "$python" "$venv" && return
  echo "setup: install it with: sudo apt-get install python3-venv" >&2
  return 1
}

python=$(find_python)
echo "setup: $venv with $("$python" --version)" >&2
make_venv
"$venv/bin/python" -m pip install -q --require-hashes -r "$requirements"
"$venv/bin/python" -m pip install -q --no-deps --no-build-isolation -e .
