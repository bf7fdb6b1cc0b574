# ./dev build [PRESET]: configures and builds one preset.
# shellcheck shell=sh

dev_build() {
  preset=${1:-release}
  shift || true
  cmake --preset "$preset" >"$DEPS/cmake-$preset.log" 2>&1 || {
    cat "$DEPS/cmake-$preset.log" >&2
    fail "cmake could not configure preset $preset" "presets: release debug asan tsan fuzz"
  }
  say "building $preset"
  if [ $# -gt 0 ]; then
    cmake --build --preset "$preset" -j "$(jobs_count)" --target "$@" || fail "the build of preset $preset failed"
  else
    cmake --build --preset "$preset" -j "$(jobs_count)" || fail "the build of preset $preset failed"
  fi
}
