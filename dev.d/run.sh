# ./dev run: the sidecar with docs/ as its site, in the foreground; Ctrl-C ends it.
# shellcheck shell=sh

dev_run() {
  port=${CATZILLA_PORT:-8080} ops=${CATZILLA_OPS_PORT:-9901}
  runtime=${CATZILLA_RUNTIME_DIR:-$CATZILLA_TOP/build/run}
  bin=$CATZILLA_TOP/build/release/bin
  mkdir -p "$runtime"
  say "starting the sidecar on port $port"
  cat <<TEXT

  Try, in another terminal:
    curl -i http://127.0.0.1:$port/index.md                         a static file
    curl -i -H 'Range: bytes=0-15' http://127.0.0.1:$port/index.md  a part of it
    curl -i http://127.0.0.1:$port/nothing                          what is missing
    curl -s http://127.0.0.1:$ops/readyz                            is it ready?

  Ctrl-C drains and ends it.

TEXT
  exec "$bin/catzilla-sidecar" --root "$CATZILLA_TOP/docs" --port "$port" --ops-port "$ops" --runtime-dir "$runtime" "$@"
}
