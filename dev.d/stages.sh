# The stages of ./dev test. Each is one function and fails loudly; ./dev test NAME… runs some of them.
# shellcheck shell=sh disable=SC2046,SC2086

STAGES="lint unit integration release tsan fuzz bazel"

pytest_run() { "$VENV/bin/python" -m pytest -q -p no:cacheprovider "$@"; }

stage_lint() {
  "$VENV/bin/clang-format" --dry-run --Werror $(git ls-files '*.cc' '*.h') || return 1
  "$VENV/bin/ruff" check . && "$VENV/bin/ruff" format --check . || return 1
  (cd proto && "$VENV/bin/buf" lint) || return 1
  shellcheck -x dev dev.d/*.sh || return 1
  pytest_run tests/tidy
}

# Unit tests of every room under AddressSanitizer and UndefinedBehaviorSanitizer.
stage_unit() {
  dev_build asan && ctest --preset asan -j "$(jobs_count)" --no-tests=error && pytest_run python_sdk/tests
}

# The real programs from outside, with the sanitizers watching.
stage_integration() {
  dev_build asan catzilla-sidecar catzillactl && CATZILLA_BIN_DIR="$CATZILLA_TOP/build/asan/bin" pytest_run tests/integration
}

# What only an optimised build without sanitizers can show: allocations, memory, jemalloc.
stage_release() {
  dev_build release && ctest --preset release -j "$(jobs_count)" --no-tests=error &&
    CATZILLA_BIN_DIR="$CATZILLA_TOP/build/release/bin" pytest_run tests/integration
}

# The gRPC-free core under ThreadSanitizer.
stage_tsan() { dev_build tsan && ctest --preset tsan -j "$(jobs_count)" --no-tests=error; }

# Every fuzzer: its corpus, then twenty seconds of its own ideas.
stage_fuzz() {
  dev_build fuzz || return 1
  found=0
  for program in build/fuzz/bin/fuzz_*; do
    [ -x "$program" ] || continue
    found=1
    name=$(basename "$program")
    corpus=tests/fuzz/$(echo "$name" | sed 's/^fuzz_//; s/_fuzz$//')
    [ -d "$corpus" ] || { echo "no corpus for $name in $corpus" >&2; return 1; }
    work=$(mktemp -d)
    "$program" -max_total_time="${CATZILLA_FUZZ_SECONDS:-20}" -timeout=10 -print_final_stats=1 "$work" "$corpus" >"$work.log" 2>&1 || {
      tail -40 "$work.log" >&2
      return 1
    }
    printf '%s: %s\n' "$name" "$(grep -o 'stat::number_of_executed_units.*' "$work.log")"
    rm -rf "$work" "$work.log"
  done
  [ "$found" = 1 ]
}

stage_bazel() { bazel test --noshow_progress //... ; }

dev_test() {
  [ $# -gt 0 ] || set -- $STAGES
  passed=0 failed=0 summary=""
  for stage in "$@"; do
    case " $STAGES " in *" $stage "*) ;; *) fail "there is no stage $stage" "stages: $STAGES" ;; esac
    say "test: $stage"
    begin=$(date +%s)
    if (stage_"$stage"); then
      passed=$((passed + 1)) word=passed
    else
      failed=$((failed + 1)) word=FAILED
    fi
    summary="$summary$(printf '%-12s %-7s %5d s' "$stage" "$word" $(($(date +%s) - begin)))
"
  done
  printf '\n%s%d passed, %d failed\n' "$summary" "$passed" "$failed"
  [ "$failed" = 0 ] || fail "some stages failed" "run one again with: ./dev test STAGE"
}
