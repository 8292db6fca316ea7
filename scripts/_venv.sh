# Sourced by the scripts beside it: a virtual environment in .venv, installed and current.
#
# ensure_venv EXTRAS: EXTRAS is "" or "[dev]". Installs only when pyproject.toml has
# changed since the last time, so that a second run starts at once.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv="$root/.venv"

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 or newer is needed, and was not found on the PATH." >&2
    echo "Install it, or name it: PYTHON=/path/to/python3.11 scripts/run" >&2
    return 1
}

ensure_venv() {
    local extras=$1 python stamp wanted
    stamp="$venv/.installed${extras}"
    if [ ! -x "$venv/bin/python" ]; then
        python=$(find_python) || return 1
        echo "==> Making a virtual environment in .venv ($("$python" --version))" >&2
        "$python" -m venv "$venv" || return 1
    fi
    wanted=$(cat "$root/pyproject.toml" "$root/connect/__init__.py" | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "==> Installing the project${extras:+ and what its tests need} (once; about a minute)" >&2
        "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar on \
            --editable "$root$extras" >&2 || return 1
        echo "$wanted" >"$stamp"
    fi
}
