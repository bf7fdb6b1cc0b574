// A hot answer costs no allocation: counted, not believed.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "sidecar/files/mount_harness.h"
#include "sidecar/http/request_parser.h"

namespace {
thread_local uint64_t t_allocations = 0;

void* CountedAllocation(size_t bytes) {
  ++t_allocations;
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  std::abort();
}
}  // namespace

void* operator new(size_t bytes) { return CountedAllocation(bytes); }
void* operator new[](size_t bytes) { return CountedAllocation(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace catzilla::files {
namespace {

TEST(Allocations, AreNoneForHotAnswers) {
  MountHarness h;
  h.tree.Write("a.txt", std::string(1024, 'a'));
  h.Make();
  const std::string etag(h.Get("/static/a.txt").entry->etag());
  const std::string common = " /static/a.txt HTTP/1.1\r\nHost: a\r\n";
  struct {
    std::string request;
    int status;
  } const kRows[] = {
      {"GET" + common + "\r\n", 200},
      {"HEAD" + common + "\r\n", 200},
      {"GET" + common + "If-None-Match: " + etag + "\r\n\r\n", 304},
      {"GET" + common + "Range: bytes=0-99\r\n\r\n", 206},
      {"GET" + common + "Range: bytes=0-99,900-999\r\n\r\n", 206},
      {"GET" + common + "Range: bytes=9999-\r\n\r\n", 416},
  };
  AnswerScratch scratch;
  scratch.text.reserve(4096);
  base::EpochDomain::Reader reader(h.domain);
  for (const auto& row : kRows) {
    http::HeadBuffer buffer;
    http::RequestParser parser;
    parser.Begin(&buffer, {});
    ASSERT_EQ(parser.Next(row.request).event, http::RequestParser::Event::kHead);
    const uint64_t before = t_allocations;
    for (int i = 0; i < 1000; ++i) {
      reader.Enter();
      const Mount::Lookup lookup = h.mount->Find("/static/a.txt", h.now, 0);
      ASSERT_EQ(lookup.found, Mount::Found::kEntry);
      const Answer answer =
          h.mount->Respond(*lookup.entry, buffer.head(), "/static/a.txt", h.now, scratch, 0);
      ASSERT_EQ(answer.status, row.status);
      const base::Ref<base::Owner> owner(lookup.entry);
      reader.Leave();
    }
    EXPECT_EQ(t_allocations - before, 0u) << row.request;
  }
}

}  // namespace
}  // namespace catzilla::files
