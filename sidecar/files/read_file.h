// A file's bytes, and the entity tags made of them or of its status.
//
// Threads: ReadWhole() blocks: the files executor's. The tags are pure.
// Fails:   ReadWhole() with errno, EAGAIN when the file has another size by now.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sidecar/files/entry.h"

namespace catzilla::files {

// Reads `size` bytes and makes sure that the file ends there. Returns 0 or errno.
int ReadWhole(int fd, uint64_t size, std::string* bytes);

// Reads to the end of a file whose size the file system does not know (procfs, sysfs). Returns 0 or
// errno, EFBIG when there are more than `bytes_max`.
int ReadToEnd(int fd, uint64_t bytes_max, std::string* bytes);

// Strong: equal bytes have it everywhere, whatever their times say. `suffix` tells the coding.
std::string ContentTag(std::string_view bytes, std::string_view suffix = {});

// Of a file that is not read. It cannot tell a rewrite of the same size whose times were put back
// to the epoch, as images and reproducible builds do, so it is weak then.
std::string StatusTag(const FileIdentity& identity, std::string_view suffix = {});

}  // namespace catzilla::files
