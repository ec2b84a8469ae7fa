#!/bin/sh
# Sets up the virtual environment that is named by the first argument, and the libraries that WeasyPrint draws PDFs with.
# Installs with the system's package manager only where that needs no password; otherwise says what to type.
set -eu
venv=$1

say() { printf '%s\n' "$*" >&2; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_install() {
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null
}

install() { # Debian's names, Fedora's names, macOS's names
    if command -v brew >/dev/null; then
        # shellcheck disable=SC2086
        [ -n "$3" ] && brew install --quiet $3
    elif command -v apt-get >/dev/null && can_install; then
        as_root apt-get update -qq
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends $1 >/dev/null
    elif command -v dnf >/dev/null && can_install; then
        # shellcheck disable=SC2086
        as_root dnf install -y -q $2
    else
        return 1
    fi
}

missing() { # what, Debian's names, Fedora's names, macOS's names
    say "$1 is missing. Type one of these, then run make again:"
    say "  Debian, Ubuntu   sudo apt-get install $2"
    say "  Fedora           sudo dnf install $3"
    say "  macOS            brew install $4"
    exit 1
}

find_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
}

python=$(find_python)
[ -n "$python" ] || missing "Python 3.11 or newer" "python3" "python3" "python"

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    install python3-venv python3 "" 2>/dev/null || true
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing "Python's venv module" "python3-venv" "python3" "python"
fi

began=$(date +%s)
if [ ! -x "$venv/bin/python" ]; then
    say "Making the virtual environment $venv with $("$python" --version) ..."
    "$python" -m venv "$venv"
fi
"$venv/bin/python" deployments/install_packages.py requirements.lock
# Twice quiet: pip warns of every place that has no such package, but still says what is wrong.
"$venv/bin/python" -m pip -qq --disable-pip-version-check install --no-deps --no-build-isolation --editable .
# Else the first start of each command would do it, or all starts where PYTHONDONTWRITEBYTECODE is set.
"$venv/bin/python" -m compileall -q dashboard deployments examples flows models reports routewatch routewatch_server tasks

# Without HarfBuzz-Subset it imports, with a warning, and leaves fonts whole.
draws_pdfs() { "$venv/bin/python" -W ignore -W error:HarfBuzz-Subset -c 'import weasyprint' >/dev/null 2>&1; }
pango="libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
if ! draws_pdfs; then
    say "Installing Pango, which WeasyPrint draws text with ..."
    install "$pango" pango pango || true
    draws_pdfs || missing "Pango, which WeasyPrint draws text with," "$pango" pango pango
fi
say "Ready after $(($(date +%s) - began)) s; $venv is $(du -sk "$venv" | awk '{ print int($1 / 1024) }') MB."
