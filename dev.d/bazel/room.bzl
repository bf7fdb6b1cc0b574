"""room(): a folder with one purpose. The Bazel twin of catzilla_room() in dev.d/cmake/Rooms.cmake.

It makes of the package it is called in
  <name>          a cc_library of every *.cc, *.h and *.inc but the tests, fuzzers, benches and main.cc
  <name>_test     every *_test.cc, one gtest program
  <stem>          a compiled (not linked) fuzzer per *_fuzz.cc: libFuzzer itself comes from CMake
  <name>_bench    every *_bench.cc, one google-benchmark program
"""

# The same as in CMakeLists.txt; tests/tidy compares them.
VERSION = "0.1.0"

LIBRARY_NOT = ["*_test.cc", "*_fuzz.cc", "*_bench.cc", "main.cc"]

def _labels(names):
    """A room's short name, or a label, as a label."""
    return [n if ("//" in n or ":" in n) else "//sidecar/" + n for n in names]

def _split(link):
    """Splits what CMake calls LINK into Bazel labels and the linker's own -l options."""
    labels = [l for l in link if "//" in l]
    options = ["-pthread" if l == "pthread" else "-l" + l for l in link if "//" not in l]
    return labels, options

def room(name, deps = [], link = [], test_deps = [], test_link = [], data = [], defines = []):
    """See the top of this file.

    Args:
      name: the room; the folder's name.
      deps: the rooms it may include, by name (tests/tidy holds them against CMake's DEPS).
      link: libraries of the system as the linker names them ("uv"), or labels ("@llhttp").
      test_deps: more rooms, for the tests only.
      test_link: more libraries, for the tests only.
      data: labels of files that the tests read, at their path from the top of the tree.
      defines: macros for the room and for who includes it.
    """
    labels, options = _split(link)
    native.cc_library(
        name = name,
        srcs = native.glob(["*.cc"], exclude = LIBRARY_NOT),
        hdrs = native.glob(["*.h", "*.inc"]),
        defines = defines,
        linkopts = options,
        visibility = ["//visibility:public"],
        deps = _labels(deps) + labels,
    )

    test_labels, test_options = _split(test_link)
    tests = native.glob(["*_test.cc"])
    if tests:
        native.cc_test(
            name = name + "_test",
            size = "small",
            srcs = tests,
            data = data,
            linkstatic = True,  # One file: a test may start itself as a user who cannot read our folders.
            linkopts = ["-lgmock", "-lgtest_main", "-lgtest", "-pthread"] + test_options,
            deps = [":" + name] + _labels(test_deps) + test_labels,
        )

    for source in native.glob(["*_fuzz.cc"]):
        native.cc_library(
            name = source[:-len(".cc")],
            testonly = True,
            srcs = [source],
            deps = [":" + name],
        )

    benches = native.glob(["*_bench.cc"])
    if benches:
        native.cc_binary(
            name = name + "_bench",
            testonly = True,
            srcs = benches,
            linkopts = ["-lbenchmark_main", "-lbenchmark", "-pthread"],
            deps = [":" + name] + _labels(test_deps) + test_labels,
        )
