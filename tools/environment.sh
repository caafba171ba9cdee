# Sourced by demo.sh and test.sh: makes .venv at the root from the exact versions of constraints.txt,
# once; afterwards `python` and `jaxemo` are those of the environment. JAXEMO_PYTHON chooses the interpreter.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

find_python() {
    local candidate
    for candidate in ${JAXEMO_PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "jaxemo needs Python 3.11, 3.12 or 3.13 (set JAXEMO_PYTHON to one)." >&2
    return 1
}

make_environment() {
    local python stamp wanted
    python=$(find_python)
    stamp=.venv/jaxemo-environment
    wanted=$("$python" -V; cat pyproject.toml tools/constraints.txt)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    echo "making the environment in .venv ($("$python" -V)); this happens once"
    rm -rf .venv
    if command -v uv >/dev/null; then
        uv venv --quiet --python "$python" .venv
        uv pip install --quiet --python .venv/bin/python -c tools/constraints.txt -e '.[test]'
    else
        "$python" -m venv .venv
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -c tools/constraints.txt -e '.[test]'
    fi
    echo "$wanted" >"$stamp"
}

make_environment
export PATH="$root/.venv/bin:$PATH"
