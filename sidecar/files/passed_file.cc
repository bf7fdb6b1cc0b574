#include "sidecar/files/passed_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "sidecar/files/page_cache.h"
#include "sidecar/files/read_ahead.h"

namespace catzilla::files {
namespace {

// What the kernel knows already: the server of a network file system may take for ever.
bool Known(int fd, struct statx* known) {
  return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_SIZE | STATX_MTIME,
               known) == 0;
}

int64_t ModifiedNs(const struct statx& known) {
  return int64_t{known.stx_mtime.tv_sec} * 1'000'000'000 + known.stx_mtime.tv_nsec;
}

}  // namespace

base::Ref<PassedFile> PassedFile::Take(base::UniqueFd fd, uint64_t offset, uint64_t length,
                                       std::string_view* why, Count count) {
  const int flags = fcntl(fd.get(), F_GETFL);
  struct statx known;
  if (flags < 0 || !Known(fd.get(), &known)) {
    *why = "a descriptor that cannot be asked what it is";
  } else if (!S_ISREG(known.stx_mode)) {
    *why = "a descriptor of something that is no regular file";
  } else if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_PATH) != 0) {
    *why = "a descriptor that is not open for reading alone";
  } else if (offset > known.stx_size || length > known.stx_size - offset) {
    *why = "a file that is shorter than what is to be sent of it";
  } else {
    auto* file = new PassedFile(std::move(fd), std::move(count));
    file->size_ = known.stx_size;
    file->modified_ns_ = ModifiedNs(known);
    return base::Ref<PassedFile>::Adopt(file);
  }
  return nullptr;
}

PassedFile::PassedFile(base::UniqueFd fd, Count count)
    : fd_(std::move(fd)), count_(std::move(count)) {
  if (count_ != nullptr) count_->fetch_add(1, std::memory_order_relaxed);
}

PassedFile::~PassedFile() {
  if (count_ != nullptr) count_->fetch_sub(1, std::memory_order_relaxed);
}

bool PassedFile::Intact(int64_t /*now_us*/) const {
  struct statx known;
  return !lost_.load(std::memory_order_relaxed) && Known(fd_.get(), &known) &&
         known.stx_size == size_ && ModifiedNs(known) == modified_ns_;
}

uint64_t PassedFile::Cached(uint64_t offset, uint64_t bytes, int64_t /*now_us*/) const {
  return CachedBytes(fd_.get(), offset, bytes);
}

bool PassedFiles::ReadAhead(const base::Ref<base::Owner>& file, uint64_t offset, uint64_t bytes,
                            const Waiter& waiter) {
  return PostReadAhead(executor_, group_, file, {offset, bytes}, waiter, {}) !=
         base::Executor::Posted::kFull;
}

}  // namespace catzilla::files
