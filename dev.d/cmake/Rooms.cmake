# catzilla_room(<name> [DEPS <room>...] [LINK <target>...] [TEST_LINK <target>...])
#
# A room is a folder with one purpose. This makes of the folder it is called in:
#   catzilla_<name>         a library of every *.cc but the tests, fuzzers, benches and mains
#   catzilla_<name>_test    every *_test.cc, one gtest program (unit tests sit beside the code)
#   fuzz_<stem>             one libFuzzer program per *_fuzz.cc, with CATZILLA_FUZZ
#   catzilla_<name>_bench   every *_bench.cc, one google-benchmark program, with CATZILLA_BENCH
# DEPS are the rooms it may include; tests/tidy fails on any other include.

add_library(catzilla_options INTERFACE)
target_include_directories(catzilla_options INTERFACE "${CMAKE_SOURCE_DIR}")
target_compile_options(catzilla_options INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
# Fat objects hold machine code as well: all but targets with the property CATZILLA_LTO are linked
# from that, quickly.
if(CATZILLA_LTO)
  add_compile_options(-flto=auto -ffat-lto-objects)
  add_link_options($<IF:$<BOOL:$<TARGET_PROPERTY:CATZILLA_LTO>>,-flto=auto,-fno-lto>)
endif()
if(CATZILLA_SANITIZE)
  add_compile_options(-fsanitize=${CATZILLA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CATZILLA_SANITIZE})
  target_compile_definitions(catzilla_options INTERFACE CATZILLA_SANITIZED=1)
endif()

function(catzilla_room name)
  cmake_parse_arguments(ROOM "" "" "DEPS;LINK;TEST_LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cc")
  set(library ${sources})
  list(FILTER library EXCLUDE REGEX "(_test|_fuzz|_bench|/main)\\.cc$")
  list(TRANSFORM ROOM_DEPS PREPEND "catzilla_")
  if(library)
    add_library(catzilla_${name} STATIC ${library})
    target_link_libraries(catzilla_${name} PUBLIC catzilla_options ${ROOM_DEPS} ${ROOM_LINK})
  else()
    add_library(catzilla_${name} INTERFACE)
    target_link_libraries(catzilla_${name} INTERFACE catzilla_options ${ROOM_DEPS} ${ROOM_LINK})
  endif()

  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(tests AND NOT CATZILLA_FUZZ)
    add_executable(catzilla_${name}_test ${tests})
    target_link_libraries(catzilla_${name}_test PRIVATE
      catzilla_${name} GTest::gmock GTest::gtest_main ${ROOM_TEST_LINK})
    add_test(NAME unit.${name} COMMAND catzilla_${name}_test
      WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
    set_tests_properties(unit.${name} PROPERTIES LABELS unit TIMEOUT 300)
  endif()

  if(CATZILLA_FUZZ)
    set(fuzzers ${sources})
    list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
    foreach(source ${fuzzers})
      get_filename_component(stem "${source}" NAME_WE)
      add_executable(fuzz_${stem} "${source}")
      target_link_libraries(fuzz_${stem} PRIVATE catzilla_${name})
      target_link_options(fuzz_${stem} PRIVATE -fsanitize=fuzzer)
    endforeach()
  endif()

  if(CATZILLA_BENCH)
    set(benches ${sources})
    list(FILTER benches INCLUDE REGEX "_bench\\.cc$")
    if(benches)
      add_executable(catzilla_${name}_bench ${benches})
      target_link_libraries(catzilla_${name}_bench PRIVATE
        catzilla_${name} benchmark::benchmark benchmark::benchmark_main)
    endif()
  endif()
endfunction()
