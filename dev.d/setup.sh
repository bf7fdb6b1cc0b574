# ./dev setup: installs what is missing, and nothing twice.
# shellcheck shell=sh

packages_wanted() { grep -v '^#' "$CATZILLA_TOP/dev.d/apt-packages"; }

packages_missing() {
  for package in $(packages_wanted); do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || echo "$package"
  done
  # Any npm will do, also one that is not Debian's.
  command -v npm >/dev/null 2>&1 || echo npm
}

setup_packages() {
  missing=$(packages_missing)
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null 2>&1 || fail "this is not Debian" "install by hand: $missing"
  say "installing $(echo "$missing" | wc -l) Debian packages"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null ||
    fail "apt-get update failed" "check /etc/apt/sources.list and the network"
  # shellcheck disable=SC2086
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >"$DEPS/apt.log" 2>&1 ||
    fail "apt-get install failed" "see .deps/apt.log"
}

# The stamp of what a step was made from: the step runs again when its inputs change.
fresh() { [ -f "$DEPS/$1.stamp" ] && [ "$(cat "$DEPS/$1.stamp")" = "$2" ]; }
stamp() { printf '%s' "$2" >"$DEPS/$1.stamp"; }

setup_python() {
  sum=$(sha256sum "$CATZILLA_TOP/dev.d/requirements.lock" | cut -d' ' -f1)
  fresh python "$sum" && [ -x "$VENV/bin/python" ] && return 0
  say "Python packages into .venv, from the hash-pinned lock"
  rm -rf "$VENV"
  /usr/bin/python3 -m venv "$VENV" || fail "no virtual environment could be made" "is python3-venv installed?"
  "$VENV/bin/pip" install -q --disable-pip-version-check --require-hashes -r "$CATZILLA_TOP/dev.d/requirements.lock" ||
    fail "pip install failed" "check the network and the package index"
  stamp python "$sum"
}

setup_llhttp() {
  fresh llhttp "$LLHTTP_SHA256" && [ -f "$DEPS/llhttp/src/llhttp.c" ] && return 0
  say "llhttp's generated C, from the pinned $LLHTTP_SDIST"
  work=$(mktemp -d)
  printf '%s --hash=sha256:%s\n' "$LLHTTP_SDIST" "$LLHTTP_SHA256" >"$work/requirements.txt"
  "$VENV/bin/pip" download -q --disable-pip-version-check --no-deps --no-binary :all: --no-build-isolation \
    --require-hashes -d "$work" -r "$work/requirements.txt" || fail "llhttp could not be fetched" "check the package index"
  tar -xf "$work"/httptools-*.tar.gz -C "$work" || fail "the sdist could not be unpacked"
  rm -rf "$DEPS/llhttp"
  mv "$work"/httptools-*/vendor/llhttp "$DEPS/llhttp" || fail "the sdist has no llhttp"
  rm -rf "$work"
  stamp llhttp "$LLHTTP_SHA256"
}

# google/rpc/*.proto: in no Debian package, but in the pinned wheel.
setup_googleapis() {
  source=$("$VENV/bin/python" -c 'import google.rpc, os; print(os.path.dirname(google.rpc.__path__[0]))')
  [ -f "$DEPS/googleapis/google/rpc/error_details.proto" ] && return 0
  mkdir -p "$DEPS/googleapis/google/rpc"
  cp "$source"/rpc/*.proto "$DEPS/googleapis/google/rpc/" || fail "googleapis-common-protos has no google/rpc"
}

setup_sdk() {
  [ -f "$CATZILLA_TOP/python_sdk/scripts/generate" ] || return 0
  sum=$(cat "$CATZILLA_TOP"/proto/catzilla/*/v1/*.proto "$CATZILLA_TOP/python_sdk/scripts/generate" "$CATZILLA_TOP/python_sdk/pyproject.toml" | sha256sum | cut -d' ' -f1)
  fresh sdk "$sum" && return 0
  say "the Python package's generated code"
  "$VENV/bin/python" "$CATZILLA_TOP/python_sdk/scripts/generate" || fail "the protobuf code could not be generated"
  # The sources themselves on the path: what is edited is what runs.
  site=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  printf '%s\n' "$CATZILLA_TOP/python_sdk/src" >"$site/catzilla-source.pth"
  stamp sdk "$sum"
}

setup_assets() {
  [ -x "$CATZILLA_TOP/python_sdk/examples/shop/install-assets" ] || return 0
  "$CATZILLA_TOP/python_sdk/examples/shop/install-assets" || fail "the example's assets could not be installed" "check the npm registry"
}

dev_setup() {
  mkdir -p "$DEPS"
  setup_packages
  setup_python
  setup_llhttp
  setup_googleapis
  setup_sdk
  setup_assets
}
