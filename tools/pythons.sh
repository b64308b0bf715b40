#!/usr/bin/env bash
# Run the tests under every supported Python on this machine: those on the PATH, and pyenv's.
set -eu
cd "$(dirname "$0")/.."

ran=""
for minor in ${PYTHONS:-3.11 3.12 3.13 3.14}; do
  python=$(command -v "python$minor" || ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/$minor".*/bin/python 2>/dev/null | tail -n 1 || true)
  if [ -z "$python" ] || ! "$python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$minor')" 2>/dev/null; then
    echo "Python $minor is not on this machine: not tested"
    continue
  fi
  echo "== Python $minor"
  make test PYTHON="$python" VENV=".venv-$minor" EXTRA=test ARGS="${*:--q}"
  ran="$ran $minor"
done
[ -n "$ran" ] || { echo "none of them is on this machine"; exit 0; }
echo "passed under:$ran"
