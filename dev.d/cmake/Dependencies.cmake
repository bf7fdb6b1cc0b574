# Where third-party code comes from: Debian's packages, and llhttp from the pinned source in .deps/
# (`./dev setup` puts it there). Nothing is downloaded by CMake itself.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
endif()

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(libuv REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(jemalloc REQUIRED IMPORTED_TARGET jemalloc)
find_package(ZLIB REQUIRED)
find_package(GTest REQUIRED)
if(CATZILLA_BENCH)
  find_package(benchmark REQUIRED)
endif()
if(NOT CATZILLA_CORE_ONLY AND NOT CATZILLA_FUZZ)
  find_package(absl REQUIRED)
  find_package(Protobuf REQUIRED)
  find_package(gRPC CONFIG REQUIRED)
  find_package(yaml-cpp REQUIRED)
  find_package(CLI11 REQUIRED)
  find_package(spdlog REQUIRED)
endif()

# llhttp: a system copy of version 9 or newer if there is one, else the pinned generated C.
find_package(llhttp 9 CONFIG QUIET)
if(llhttp_FOUND)
  add_library(catzilla_llhttp INTERFACE)
  if(TARGET llhttp::llhttp_static)
    target_link_libraries(catzilla_llhttp INTERFACE llhttp::llhttp_static)
  else()
    target_link_libraries(catzilla_llhttp INTERFACE llhttp::llhttp)
  endif()
else()
  set(CATZILLA_LLHTTP_DIR "${CMAKE_SOURCE_DIR}/.deps/llhttp" CACHE PATH "llhttp's generated C")
  if(NOT EXISTS "${CATZILLA_LLHTTP_DIR}/src/llhttp.c")
    message(FATAL_ERROR "llhttp is missing in ${CATZILLA_LLHTTP_DIR}: run ./dev setup first")
  endif()
  add_library(catzilla_llhttp STATIC
    "${CATZILLA_LLHTTP_DIR}/src/llhttp.c"
    "${CATZILLA_LLHTTP_DIR}/src/api.c"
    "${CATZILLA_LLHTTP_DIR}/src/http.c")
  target_include_directories(catzilla_llhttp SYSTEM PUBLIC "${CATZILLA_LLHTTP_DIR}/include")
endif()
