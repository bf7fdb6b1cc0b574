// A loop's one buffer for what it reads from its clients, lent to one read at a time.
//
// Threads: its loop's.
// Limits:  kBytes, the most that is read from one connection in a turn.
// Fails:   never. Under AddressSanitizer the bytes are poisoned while nobody has a lease, so a view
//          that outlives its read, and would show another client's bytes, ends the program.
#pragma once

#include <cstddef>
#include <memory>

#include "sidecar/base/check.h"

#if defined(__SANITIZE_ADDRESS__) && __has_include(<sanitizer/asan_interface.h>)
#define CATZILLA_POISONS_READS 1
#include <sanitizer/asan_interface.h>
#endif

namespace catzilla::server {

class ReadBuffer {
 public:
  static constexpr size_t kBytes = 64 * 1024;

  ReadBuffer() : bytes_(new char[kBytes]) { Close(); }
  ~ReadBuffer() { Open(); }  // The allocator wants it back as it gave it.
  ReadBuffer(const ReadBuffer&) = delete;
  ReadBuffer& operator=(const ReadBuffer&) = delete;

  class Lease {
   public:
    // REQUIRES: no other lease is held.
    explicit Lease(ReadBuffer& buffer) : buffer_(buffer) {
      CATZILLA_CHECK(!buffer.lent_, "two reads use one buffer");
      buffer.lent_ = true;
      buffer.Open();
    }
    ~Lease() {
      buffer_.Close();
      buffer_.lent_ = false;
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    char* bytes() { return buffer_.bytes_.get(); }

   private:
    ReadBuffer& buffer_;
  };

 private:
#ifdef CATZILLA_POISONS_READS
  void Open() { __asan_unpoison_memory_region(bytes_.get(), kBytes); }
  void Close() { __asan_poison_memory_region(bytes_.get(), kBytes); }
#else
  void Open() {}
  void Close() {}
#endif

  const std::unique_ptr<char[]> bytes_;
  bool lent_ = false;
};

}  // namespace catzilla::server
