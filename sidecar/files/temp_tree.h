// For tests: a directory that is gone when the test is over.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace catzilla::files {

class TempTree {
 public:
  TempTree() {
    const char* base = std::getenv("TMPDIR");
    std::string pattern = std::string(base != nullptr ? base : "/tmp") + "/catzilla-files-XXXXXX";
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }
  ~TempTree() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempTree(const TempTree&) = delete;
  TempTree& operator=(const TempTree&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

  void Directory(std::string_view name) const { std::filesystem::create_directories(*this / name); }
  // Creates or rewrites in place (the same inode).
  void Write(std::string_view name, std::string_view bytes) const {
    std::filesystem::create_directories(std::filesystem::path(*this / name).parent_path());
    std::ofstream out(*this / name, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(out.flush().good()) << name;
  }
  // As a deploy does it: a new file, renamed over the old.
  void Replace(std::string_view name, std::string_view bytes) const {
    Write(std::string(name) + ".new", bytes);
    std::filesystem::rename(*this / (std::string(name) + ".new"), *this / name);
  }
  void Link(std::string_view name, std::string_view target) const {
    ASSERT_EQ(symlink(std::string(target).c_str(), (*this / name).c_str()), 0) << name;
  }
  void SetModified(std::string_view name, int64_t seconds) const {
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    ASSERT_EQ(utimensat(AT_FDCWD, (*this / name).c_str(), times, 0), 0) << name;
  }

 private:
  std::string path_;
};

}  // namespace catzilla::files
