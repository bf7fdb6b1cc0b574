# ./dev setup: installs what is missing, and nothing twice.
# shellcheck shell=sh

LLHTTP_SDIST=httptools==0.9.0
LLHTTP_SHA256=d484ebb7e3a3f3597b0f645fbd1b85633674ca808c1f5ba11c2caf7c66f5c8b6

# packages_wanted build|all|bench
packages_wanted() {
  awk -v upto="$1" '/^# -- all/ && upto == "build" || /^# -- bench/ && upto != "bench" {exit} !/^#/ {print}' dev.d/apt-packages
  # Any npm will do, also one that is not Debian's.
  command -v npm >/dev/null 2>&1 || echo npm
}

packages_missing() {
  # shellcheck disable=SC2046
  packages_wanted "$1" | sort >"$DEPS/packages.wanted"
  # shellcheck disable=SC2046
  dpkg-query -W -f='${db:Status-Status} ${Package}\n' $(cat "$DEPS/packages.wanted") 2>/dev/null |
    sed -n 's/^installed //p' | sort -u >"$DEPS/packages.there"
  grep -vxFf "$DEPS/packages.there" "$DEPS/packages.wanted" || true
}

setup_packages() {
  missing=$(packages_missing "$1")
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null 2>&1 || fail "this is not Debian" "install by hand: $(echo "$missing" | tr '\n' ' ')"
  say "Debian packages: $(echo "$missing" | wc -l) are missing, with what they need"
  step "apt-get update" "$DEPS/apt.log" "is the network there, and /etc/apt/sources.list right?" \
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
  hold_services || true
  # shellcheck disable=SC2086
  step "apt-get install" "$DEPS/apt.log" "try it by hand: apt-get install --no-install-recommends $(echo "$missing" | tr '\n' ' ')" \
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
  release_services
}

# Tests start nginx and Prometheus themselves; the packages must not put them on this machine's ports.
POLICY=/usr/sbin/policy-rc.d
hold_services() {
  [ ! -e "$POLICY" ] || return 0
  printf '#!/bin/sh\n# catzilla setup\nexit 101\n' | as_root tee "$POLICY" >/dev/null && as_root chmod 755 "$POLICY"
  trap release_services EXIT
}
release_services() {
  ! grep -q '^# catzilla setup$' "$POLICY" 2>/dev/null || as_root rm -f "$POLICY"
}

# The stamp of what a step was made from: the step runs again when its inputs change.
fresh() { [ -f "$DEPS/$1.stamp" ] && [ "$(cat "$DEPS/$1.stamp")" = "$2" ]; }
stamp() { printf '%s' "$2" >"$DEPS/$1.stamp"; }
sum_of() { cat "$@" | sha256sum | cut -d' ' -f1; }

setup_python() {
  sum=$(sum_of dev.d/requirements.lock)
  fresh python "$sum" && "$VENV/bin/python" -c '' 2>/dev/null && return 0
  say "Python packages into .venv, each file checked against the lock's hash"
  "$VENV/bin/python" -c '' 2>/dev/null || {
    rm -rf "$VENV"
    step "a virtual environment" "$DEPS/venv.log" "is python3-venv installed?" /usr/bin/python3 -m venv "$VENV"
  }
  step "pip install" "$DEPS/pip.log" "is the package index reachable? pip's own settings (pip config list) are used" \
    "$VENV/bin/pip" install --disable-pip-version-check --require-hashes -r dev.d/requirements.lock
  stamp python "$sum"
  rm -f "$DEPS/sdk.stamp"
}

# The generated C of llhttp: in no package of Debian 12, but in the source of a Python package.
setup_llhttp() {
  fresh llhttp "$LLHTTP_SHA256" && [ -f "$DEPS/llhttp/src/llhttp.c" ] && return 0
  work=$(mktemp -d)
  printf '%s --hash=sha256:%s\n' "$LLHTTP_SDIST" "$LLHTTP_SHA256" >"$work/requirements.txt"
  step "llhttp 9.4.3, from the pinned source of $LLHTTP_SDIST" "$DEPS/llhttp.log" "is the package index reachable?" \
    "$VENV/bin/pip" download --disable-pip-version-check --no-deps --no-binary :all: --require-hashes \
    -d "$work" -r "$work/requirements.txt"
  tar -xf "$work"/httptools-*.tar.gz -C "$work" || fail "the source of $LLHTTP_SDIST could not be unpacked"
  rm -rf "$DEPS/llhttp"
  mv "$work"/httptools-*/vendor/llhttp "$DEPS/llhttp" || fail "the source of $LLHTTP_SDIST has no llhttp"
  rm -rf "$work"
  stamp llhttp "$LLHTTP_SHA256"
}

# google/rpc/*.proto: in no Debian package, but in a pinned wheel.
setup_googleapis() {
  sum=$(sum_of dev.d/requirements.lock)
  fresh googleapis "$sum" && [ -f "$DEPS/googleapis/google/rpc/error_details.proto" ] && return 0
  from=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/google/rpc
  rm -rf "$DEPS/googleapis"
  mkdir -p "$DEPS/googleapis/google/rpc"
  cp "$from"/*.proto "$DEPS/googleapis/google/rpc/" || fail "googleapis-common-protos has no google/rpc"
  stamp googleapis "$sum"
}

# The SDK's generated code, and the SDK itself on the path: what is edited is what runs.
setup_sdk() {
  sum=$(sum_of proto/catzilla/*/v1/*.proto python_sdk/scripts/* python_sdk/pyproject.toml dev.d/requirements.lock)
  fresh sdk "$sum" && [ -f python_sdk/src/catzilla/_proto/route_service_pb2.py ] && return 0
  step "the SDK's protobuf code" "$DEPS/sdk.log" "is proto/ sound? try: ./dev test lint" \
    "$VENV/bin/python" python_sdk/scripts/generate
  site=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  printf '%s\n' "$CATZILLA_TOP/python_sdk/src" >"$site/catzilla-source.pth"
  printf '#!%s\nfrom catzilla._cli import main\n\nraise SystemExit(main())\n' "$VENV/bin/python" >"$VENV/bin/catzilla"
  chmod +x "$VENV/bin/catzilla"
  stamp sdk "$sum"
}

setup_assets() {
  sum=$(sum_of python_sdk/examples/shop/assets.manifest python_sdk/examples/shop/package-lock.json)
  fresh assets "$sum" && [ -d python_sdk/examples/shop/assets ] && return 0
  step "the example's front-end assets" "$DEPS/assets.log" "is the npm registry reachable? npm's own settings are used" \
    python_sdk/examples/shop/install-assets
  stamp assets "$sum"
}

# dev_setup build|all|bench
dev_setup() {
  setup_packages "$1"
  setup_python
  setup_llhttp
  setup_googleapis
  setup_sdk
  setup_assets
}
