# Shared by ./dev and its helpers: where things are, how progress is shown, how a step fails.
# shellcheck shell=sh disable=SC2034

CATZILLA_TOP=$(pwd)
export CATZILLA_TOP
VENV=$CATZILLA_TOP/.venv
DEPS=$CATZILLA_TOP/.deps
LLHTTP_SDIST=httptools==0.9.0
LLHTTP_SHA256=d484ebb7e3a3f3597b0f645fbd1b85633674ca808c1f5ba11c2caf7c66f5c8b6
export CCACHE_DIR="${CCACHE_DIR:-$HOME/.cache/catzilla/ccache}"
export CCACHE_MAXSIZE="${CCACHE_MAXSIZE:-8G}"

say() { printf '\033[1m== %s\033[0m\n' "$*"; }
fail() {
  printf '\n%s\n' "dev: $1" >&2
  [ -z "${2:-}" ] || printf '     %s\n' "$2" >&2
  exit 1
}

# Runs as root, with sudo if need be.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    fail "packages are missing and need root" "run once as root: $*"
  fi
}

jobs_count() { nproc 2>/dev/null || echo 2; }
