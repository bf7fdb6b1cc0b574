# The stage compat: FastAPI's own tests, out of its own source distribution, against Catzilla; what APM tools record; and
# its part apps: apps of other frameworks, beside uvicorn.
# shellcheck shell=sh

# Of the version that dev.d/requirements.lock pins.
FASTAPI_SDIST=fastapi==0.165.0
FASTAPI_SHA256=dd94d4128319c1e1d50535ab023ab698f850a4d2822f0e181747b46f4ff3c0ab

# Its tests and examples, without its code: what is tested is what is installed.
compat_fastapi() {
  grep -q "^$FASTAPI_SDIST " dev.d/requirements.lock ||
    fail "dev.d/compat.sh names $FASTAPI_SDIST, dev.d/requirements.lock another" "write the new version and its hash there"
  fresh compat-fastapi "$FASTAPI_SHA256" && [ -d "$DEPS/compat/fastapi/tests" ] && return 0
  work=$(mktemp -d)
  printf '%s --hash=sha256:%s\n' "$FASTAPI_SDIST" "$FASTAPI_SHA256" >"$work/requirements.txt"
  step "FastAPI's tests, from the pinned source of $FASTAPI_SDIST" "$DEPS/compat-fastapi.log" \
    "is the package index reachable?" \
    "$VENV/bin/pip" download --disable-pip-version-check --no-deps --no-binary :all: --require-hashes \
    -d "$work" -r "$work/requirements.txt"
  tar -xf "$work"/fastapi-*.tar.gz -C "$work" || fail "the source of $FASTAPI_SDIST could not be unpacked"
  rm -rf "$DEPS/compat/fastapi"
  mkdir -p "$DEPS/compat/fastapi"
  for part in tests docs_src docs scripts pyproject.toml; do
    mv "$work"/fastapi-*/"$part" "$DEPS/compat/fastapi/" || fail "the source of $FASTAPI_SDIST has no $part"
  done
  rm -rf "$work"
  stamp compat-fastapi "$FASTAPI_SHA256"
}

# packages_of NAME FOLDER WHAT: dev.d/NAME.lock, in a folder of its own, so that nothing else sees it.
packages_of() {
  sum=$(sum_of "dev.d/$1.lock" dev.d/requirements.lock)
  fresh "$1-packages" "$sum" && [ -d "$2" ] && return 0
  rm -rf "$2"
  step "$3" "$DEPS/$1-packages.log" "is the package index reachable?" \
    "$VENV/bin/pip" install --disable-pip-version-check --no-deps --require-hashes --target "$2" -r "dev.d/$1.lock"
  stamp "$1-packages" "$sum"
}

# Django, Litestar, Quart and others, each as it is behind uvicorn. A minute.
stage_apps() {
  packages_of apps "$DEPS/apps" "the frameworks that apps are served of"
  dev_build release catzilla-sidecar &&
    CATZILLA_APPS_PACKAGES="$DEPS/apps" pytest_with release -n "$(jobs_count)" tests/apps
}

# CATZILLA_COMPAT=all: also with the compiled lanes off, and all of FastAPI's suite.
stage_compat() {
  mkdir -p "$DEPS/compat"
  compat_fastapi
  packages_of compat "$DEPS/compat/packages" "what FastAPI's tests import"
  packages_of apm "$DEPS/apm" "the APM tools"
  all=""
  [ "${CATZILLA_COMPAT:-}" != all ] || all=--all
  # shellcheck disable=SC2086
  dev_build release catzilla-sidecar &&
    pytest_run tests/compat &&
    CATZILLA_APM_PACKAGES="$DEPS/apm" pytest_run -n "$(jobs_count)" tests/apm &&
    stage_apps &&
    CATZILLA_BIN_DIR="$CATZILLA_TOP/build/release/bin" \
      "$VENV/bin/python" tests/compat/run.py --jobs "$(jobs_count)" $all
}
