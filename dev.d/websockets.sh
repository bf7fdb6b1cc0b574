# The stage websockets: Autobahn|Testsuite, and what people build on WebSockets, against both kinds of pools.
# shellcheck shell=sh

# Autobahn|Testsuite runs on a Python 2.7 only. Where there is none its tests say that they are left out.
setup_autobahn() {
  python2=$("$VENV/bin/python" tests/websockets/autobahn.py) || {
    say "there is no Python 2.7: Autobahn|Testsuite is left out (CATZILLA_PYTHON2 names one)"
    return 0
  }
  sum=$(sum_of dev.d/autobahn.lock)
  fresh autobahn "$sum" && [ -d "$DEPS/autobahn" ] && return 0
  rm -rf "$DEPS/autobahn"
  step "Autobahn|Testsuite, for $python2" "$DEPS/autobahn.log" "is the package index reachable? it builds C: are Python 2.7's headers there?" \
    "$python2" -m pip install --disable-pip-version-check --no-deps --require-hashes \
    --target "$DEPS/autobahn" -r dev.d/autobahn.lock
  stamp autobahn "$sum"
}

# CATZILLA_AUTOBAHN=all: every case, half an hour; else those of a minute.
stage_websockets() {
  setup_autobahn
  packages_of websockets "$DEPS/websockets" "Socket.IO, Django Channels and wsproto"
  dev_build release catzilla-sidecar catzillactl &&
    CATZILLA_WEBSOCKET_PACKAGES="$DEPS/websockets" pytest_with release -rs tests/websockets
}
