#!/usr/bin/env bash
# Run the tests under every supported Python on this machine: those on the PATH, and pyenv's.
set -eu
cd "$(dirname "$0")/.."

ran=""
for minor in ${PYTHONS:-3.11 3.12 3.13 3.14}; do
  python=""
  for candidate in "python$minor" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$minor".*/bin/python; do
    # A command of that name may be there and still not run: pyenv has one for every version it could have.
    if "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$minor')" >/dev/null 2>&1; then
      python=$candidate
      break
    fi
  done
  if [ -z "$python" ]; then
    echo "Python $minor is not on this machine: not tested"
    continue
  fi
  echo "== Python $minor"
  make test PYTHON="$python" VENV=".venv-$minor" EXTRA=test ARGS="${*:--q}"
  ran="$ran $minor"
done
[ -n "$ran" ] || { echo "none of them is on this machine"; exit 0; }
echo "passed under:$ran"
