# ./dev run: the example behind the sidecar, in the foreground; Ctrl-C drains and ends it.
# shellcheck shell=sh

# Indented by four, each line is a command: ./dev cleanroom runs them all, as a reader would.
run_show() {
  cat <<TEXT

  The shop is at $url/ (and its API's manual at $url/docs).
  Try, in another terminal, in $CATZILLA_TOP:

  # a static file, from the sidecar's memory
    curl -sI $url/shop.css
  # an answer from Python and SQLite
    curl -s '$url/api/products?category=naps&size=2'
  # a slow report: the second time from the cache
    curl -sI -X GET $url/api/report; curl -sI -X GET $url/api/report | grep -i cache-status
  # forget that report
    $ctl cache purge --tag report
  # a new mount, without a restart
    $ctl mount add /manual docs && curl -s $url/manual/tour.md | head -n 3
  # what it has counted
    curl -s http://$host:$ops/metrics | grep '^catzilla_cache_requests_total'

  docs/tour.md explains them. Ctrl-C drains and ends it.

TEXT
}

run_wait() {
  deadline=$(($(date +%s) + 60))
  until curl -sf -o /dev/null "http://$host:$ops/readyz" && curl -sf -o /dev/null --max-time 5 "$url/api/products"; do
    kill -0 "$run_child" 2>/dev/null || return 1
    [ "$(date +%s)" -lt "$deadline" ] || return 1
    sleep 0.2
  done
}

# The rooms alone, then whole servers beside their peers; with arguments only those scenarios.
dev_bench() {
  [ $# -gt 0 ] || "$VENV/bin/python" bench/rooms.py
  "$VENV/bin/python" bench/http/run.py "$@"
}

dev_run() {
  host=${CATZILLA_HOST:-127.0.0.1} port=${CATZILLA_PORT:-8080} ops=${CATZILLA_OPS_PORT:-9901}
  url=http://$host:$port
  bin=build/release/bin
  # A socket's path has 108 bytes at most.
  if [ ${#CATZILLA_TOP} -lt 80 ]; then sockets=build/run; else sockets=$(mktemp -d); fi
  mkdir -p "$sockets"
  chmod 700 "$sockets"
  sockets_full=$(cd "$sockets" && pwd)
  ctl="$bin/catzillactl --address unix:$sockets/control.sock"

  say "starting the shop on $url"
  (cd python_sdk/examples/shop && PATH="$CATZILLA_TOP/$bin:$PATH" exec "$VENV/bin/python" -m catzilla run shop:app \
    --workers 2 --host "$host" --port "$port" --ops-host "$host" --ops-port "$ops" --runtime-dir "$sockets_full" "$@") &
  run_child=$!
  trap 'kill -TERM "$run_child" 2>/dev/null || true' INT TERM
  run_wait || {
    kill -TERM "$run_child" 2>/dev/null || true
    wait "$run_child" || true
    fail "the shop did not come up" "the reason is above; is port $port or $ops taken? CATZILLA_PORT and CATZILLA_OPS_PORT choose others"
  }
  run_show
  # A signal ends the first wait; the second one waits for the drain.
  code=0
  wait "$run_child" || code=$?
  if kill -0 "$run_child" 2>/dev/null; then
    code=0
    wait "$run_child" || code=$?
  fi
  exit "$code"
}
