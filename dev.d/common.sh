# Shared by ./dev and its helpers: where things are, how progress is shown, how a step fails.
# shellcheck shell=sh disable=SC2034

CATZILLA_TOP=$(pwd)
export CATZILLA_TOP
VENV=$CATZILLA_TOP/.venv
DEPS=$CATZILLA_TOP/.deps
export CCACHE_DIR="${CCACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/catzilla/ccache}"
export CCACHE_MAXSIZE="${CCACHE_MAXSIZE:-8G}"
# Another clone of this tree compiles the same: its absolute path is no part of the key.
export CCACHE_BASEDIR="$CATZILLA_TOP" CCACHE_NOHASHDIR=1
# As root in another user's clone git would refuse to look.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0="$CATZILLA_TOP"
# The system's own tools first: a version manager's python3 or gcc would build something else.
export PATH="/usr/bin:/bin:/usr/sbin:/sbin:$PATH"

if [ -t 1 ]; then BOLD='\033[1m' PLAIN='\033[0m'; else BOLD='' PLAIN=''; fi

say() { printf "${BOLD}== %s${PLAIN}\n" "$*"; }

# fail WHAT [REMEDY]
fail() {
  printf '\ndev: %s\n' "$1" >&2
  [ -z "${2:-}" ] || printf '     %s\n' "$2" >&2
  exit 1
}

# step WHAT LOG REMEDY COMMAND...: runs it with its output in LOG; on failure shows the log's end.
step() {
  step_what=$1 step_log=$2 step_remedy=$3
  shift 3
  step_begin=$(date +%s)
  printf '   %s ... ' "$step_what"
  if "$@" >"$step_log" 2>&1; then
    printf '%d s\n' $(($(date +%s) - step_begin))
  else
    printf 'failed\n\n'
    tail -n 30 "$step_log" >&2
    fail "$step_what: failed (all of it in $step_log)" "$step_remedy"
  fi
}

# Runs as root, with sudo if need be.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    echo "needs root, and there is no sudo: run ./dev setup once as root" >&2
    return 1
  fi
}

jobs_count() { echo "${CATZILLA_JOBS:-$(nproc 2>/dev/null || echo 2)}"; }

# under_lock ARGS...: runs ./dev ARGS again while holding the lock; returns at once if it is held already.
# The lock is not inherited (-o), or a daemon that a build leaves behind would hold it.
under_lock() {
  [ -z "${CATZILLA_DEV_LOCKED:-}" ] || return 0
  flock -n -o "$DEPS/dev.lock" true || echo "dev: another ./dev is at work here, waiting for it" >&2
  CATZILLA_DEV_LOCKED=1 exec flock -o "$DEPS/dev.lock" ./dev "$@"
}

# The commit to compare with: CATZILLA_BASE, else what landed on origin/main, else the one before.
base_commit() {
  head=$(git rev-parse HEAD)
  if [ -n "${CATZILLA_BASE:-}" ]; then
    git rev-parse --verify --quiet "$CATZILLA_BASE^{commit}" || fail "there is no commit $CATZILLA_BASE (CATZILLA_BASE)"
    return
  fi
  base=$(git merge-base HEAD origin/main 2>/dev/null || true)
  if [ -n "$base" ] && [ "$base" != "$head" ]; then
    echo "$base"
  else
    git rev-parse --verify --quiet HEAD~1 || true
  fi
}
