# The checks that run no program of ours: lint and analyse, and ./dev format.
# shellcheck shell=sh disable=SC2046,SC2086

cxx_files() { git ls-files --cached --others --exclude-standard -- '*.cc' '*.h'; }
shell_files() {
  echo dev
  git ls-files -- '*.sh' .ci/run dev.d/gotools dev.d/lock python_sdk/examples/shop/install-assets
}

check() {
  check_what=$1
  shift
  if "$@" >"$DEPS/check.log" 2>&1; then
    printf '   %-28s ok\n' "$check_what"
  else
    printf '   %-28s FAILED\n' "$check_what"
    cat "$DEPS/check.log" >&2
    lint_failed=1
  fi
}

in_sdk() { (cd python_sdk && "$@"); }
# The same file name may come in two folders: one folder at a time.
types_of_tests() {
  for folder in tests/integration tests/browser tests/conformance tests/fault tests/compat tests/apm tests/apps tests/websockets tests/packaging tests/tidy bench/http; do
    MYPYPATH="$folder:tests/integration:tests/browser:python_sdk/tests" "$VENV/bin/mypy" --config-file mypy.ini "$folder" || return 1
  done
}

protos_unbroken() {
  base=$(base_commit)
  if [ -z "$base" ] || ! git cat-file -e "$base:proto/buf.yaml" 2>/dev/null; then
    echo "no earlier protos to compare with"
    return 0
  fi
  before=$(mktemp -d)
  git archive "$base" proto | tar -xf - -C "$before"
  code=0
  (cd proto && "$VENV/bin/buf" breaking --against "$before/proto") || code=1
  rm -rf "$before"
  return "$code"
}

stage_lint() {
  lint_failed=0
  check clang-format "$VENV/bin/clang-format" --dry-run --Werror $(cxx_files)
  check "ruff" "$VENV/bin/ruff" check .
  check "ruff format" "$VENV/bin/ruff" format --check .
  check "mypy: SDK" in_sdk "$VENV/bin/mypy"
  check "mypy: tests and benches" types_of_tests
  check "buf lint" sh -c "cd proto && '$VENV/bin/buf' lint"
  check "buf breaking" protos_unbroken
  check shellcheck shellcheck -x $(shell_files)
  check "tests/tidy" pytest_run tests/tidy
  [ "$lint_failed" = 0 ] || { echo "dev: ./dev format repairs what is only format" >&2; return 1; }
}

# The units that changed, and those that include a header that changed; all with CATZILLA_ANALYSE=all.
units_changed() {
  base=$(base_commit)
  if [ "${CATZILLA_ANALYSE:-}" = all ] || [ -z "$base" ]; then
    git ls-files -- 'sidecar/*.cc' 'control_client/*.cc'
    return
  fi
  changed=$(git diff --name-only --diff-filter=d "$base" -- 'sidecar' 'control_client')
  for file in $changed; do
    case "$file" in
      *.cc) echo "$file" ;;
      # A header is read through one unit: its own, else the first that includes it.
      *.h)
        if [ -f "${file%.h}.cc" ]; then echo "${file%.h}.cc"; else
          git grep -lF "\"$file\"" -- '*.cc' | head -n 1 || true
        fi
        ;;
    esac
  done | sort -u
}

# clang-tidy on what changed; the compile commands are those of the asan build.
stage_analyse() {
  if ! { cmake --preset asan && cmake --build --preset asan --target catzilla_proto_generated; } >"$DEPS/analyse.log" 2>&1; then
    cat "$DEPS/analyse.log" >&2
    return 1
  fi
  units_changed | grep -v '_fuzz\.cc$\|_bench\.cc$' >"$DEPS/units" || true
  echo "   $(wc -l <"$DEPS/units") units"
  [ -s "$DEPS/units" ] || return 0
  xargs -n 1 -P "$(jobs_count)" "$VENV/bin/clang-tidy" --quiet -p build/asan --extra-arg=-Wno-unknown-warning-option \
    <"$DEPS/units" 2>"$DEPS/clang-tidy.log"
}

dev_format() {
  "$VENV/bin/clang-format" -i $(cxx_files)
  "$VENV/bin/ruff" check --fix-only -q . || true
  "$VENV/bin/ruff" format .
}
