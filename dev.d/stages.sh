# The stages of ./dev test. Each is one function and fails loudly; ./dev test NAME... runs some of them.
# Cheap and telling ones first. dev.d/checks.sh has lint and analyse, dev.d/compat.sh has
# compat, dev.d/websockets.sh has websockets.
# shellcheck shell=sh disable=SC2086

STAGES="lint unit integration release compat websockets browser packaging tsan fuzz bazel analyse"
# Run by name only: their tests are in the stages above.
PARTS="conformance apps"

pytest_run() { "$VENV/bin/python" -m pytest -q -p no:cacheprovider "$@"; }

# pytest with the programs of one preset. Freed memory that AddressSanitizer keeps aside would look like a
# leak to tests that measure, so it keeps little.
pytest_with() {
  with=$1
  shift
  ASAN_OPTIONS="detect_stack_use_after_return=1:strict_string_checks=1:quarantine_size_mb=4" \
    CATZILLA_BIN_DIR="$CATZILLA_TOP/build/$with/bin" pytest_run "$@"
}

# Unit tests of every room under AddressSanitizer and UndefinedBehaviorSanitizer, and the SDK's own.
stage_unit() {
  dev_build asan &&
    ctest --preset asan -j "$(jobs_count)" --no-tests=error &&
    (cd python_sdk && pytest_with asan -n "$(jobs_count)")
}

# The real programs from outside, with the sanitizers watching.
stage_integration() {
  dev_build asan catzilla-sidecar catzillactl && pytest_with asan tests/integration tests/conformance tests/fault
}

# Whether what leaves is what HTTP, Starlette and nginx would have said: the engine's tables of states, and the
# differentials. For who changes the engine; under five minutes.
stage_conformance() {
  dev_build asan catzilla-sidecar catzillactl catzilla_http_test catzilla_route_test catzilla_cache_test \
    catzilla_exchange_test catzilla_server_test &&
    ctest --preset asan -j "$(jobs_count)" --no-tests=error -R '^unit\.(http|route|cache|exchange|server)$' &&
    pytest_with asan tests/conformance tests/integration/test_wire_rules.py tests/integration/test_answers_leave.py \
      tests/integration/test_hostile_clients.py tests/integration/test_random_clients.py
}

# What only an optimised build without sanitizers can show: allocations, memory, jemalloc, the wire.
stage_release() {
  dev_build release &&
    ctest --preset release -j "$(jobs_count)" --no-tests=error &&
    pytest_with release tests/integration tests/conformance
}

# The example in a real browser.
stage_browser() { dev_build release catzilla-sidecar catzillactl && pytest_with release tests/browser; }

# The chart and the image.
stage_packaging() { dev_build release catzilla-sidecar catzillactl && pytest_with release tests/packaging; }

# The gRPC-free core under ThreadSanitizer.
stage_tsan() { dev_build tsan && ctest --preset tsan -j "$(jobs_count)" --no-tests=error; }

# One fuzzer: its corpus, then so many seconds of its own ideas. A finding stays in build/fuzz/findings.
fuzz_one() {
  program=$1
  name=$(basename "$program")
  stem=${name#fuzz_}
  corpus=tests/fuzz/${stem%_fuzz}
  [ -d "$corpus" ] || { echo "$name has no seeds in $corpus" >&2; return 1; }
  work=$(mktemp -d)
  findings=build/fuzz/findings
  mkdir -p "$findings"
  code=0
  "$program" -max_total_time="${CATZILLA_FUZZ_SECONDS:-20}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$findings/$name-" "$work" "$corpus" >"$findings/$name.log" 2>&1 || code=1
  rm -rf "$work"
  if [ "$code" != 0 ]; then
    tail -n 40 "$findings/$name.log" >&2
    echo "$name found something: $findings/$name-*; repeat with: $program FILE" >&2
    return 1
  fi
  printf '   %-28s %s runs\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$findings/$name.log")"
}

stage_fuzz() {
  dev_build fuzz || return 1
  found=0
  for source in sidecar/*/*_fuzz.cc; do
    fuzz_one "build/fuzz/bin/fuzz_$(basename "$source" .cc)" || return 1
    found=$((found + 1))
  done
  [ "$found" -gt 0 ] || { echo "there are no fuzzers" >&2; return 1; }
}

# Offline: everything it needs is from Debian or in .deps/ (WORKSPACE).
stage_bazel() {
  bazel build --jobs="$(jobs_count)" //... && bazel test --jobs="$(jobs_count)" //...
}

dev_test() {
  [ $# -gt 0 ] || set -- $STAGES
  for stage in "$@"; do
    case " $STAGES $PARTS " in *" $stage "*) ;; *) fail "there is no stage $stage" "stages: $STAGES; parts of them: $PARTS" ;; esac
  done
  passed=0 failed=0 summary=""
  for stage in "$@"; do
    say "test: $stage"
    begin=$(date +%s)
    if (stage_"$stage"); then
      passed=$((passed + 1)) word=passed
    else
      failed=$((failed + 1)) word=FAILED
    fi
    seconds=$(($(date +%s) - begin))
    say "test: $stage $word in $seconds s"
    summary="$summary$(printf '  %-12s %-7s %5d s' "$stage" "$word" "$seconds")
"
  done
  printf '\n%s\n%d passed, %d failed\n' "$summary" "$passed" "$failed"
  if [ "$failed" != 0 ]; then
    echo "dev: run a failed stage again with: ./dev test STAGE" >&2
    exit 1
  fi
}
