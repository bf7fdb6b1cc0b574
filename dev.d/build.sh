# ./dev build [PRESET [TARGET...]]: configures and builds one preset.
# shellcheck shell=sh

PRESETS="release debug asan tsan fuzz"

dev_build() {
  preset=${1:-release}
  [ $# -eq 0 ] || shift
  case " $PRESETS " in *" $preset "*) ;; *) fail "there is no preset $preset" "presets: $PRESETS" ;; esac
  cmake --preset "$preset" >"$DEPS/cmake-$preset.log" 2>&1 || {
    cat "$DEPS/cmake-$preset.log" >&2
    echo "dev: cmake could not configure preset $preset; after a big change try ./dev clean" >&2
    return 1
  }
  say "building $preset"
  if [ $# -gt 0 ]; then set -- --target "$@"; fi
  cmake --build --preset "$preset" -j "$(jobs_count)" "$@" || {
    echo "dev: the build of preset $preset failed; the compiler's first error above is the one to read" >&2
    return 1
  }
}
