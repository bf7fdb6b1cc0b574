#include "sidecar/schema/state_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "catzilla/control/v1/config_service.pb.h"
#include "sidecar/schema/render.h"

namespace catzilla::schema {
namespace {

std::string Wrong(const std::string& path) { return path + ": " + std::strerror(errno); }

// Makes what was written or renamed survive a power cut.
bool SyncDirectory(const std::string& directory) {
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool ok = fsync(fd) == 0;
  close(fd);
  return ok;
}

bool WriteAll(int fd, const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

}  // namespace

bool ReadWholeFile(const std::string& path, size_t bytes_max, std::string* out) {
  out->clear();
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char buffer[64 * 1024];
  for (;;) {
    const ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 || out->size() + static_cast<size_t>(n) > bytes_max) {
      const int error = n < 0 ? errno : EFBIG;
      close(fd);
      errno = error;
      return false;
    }
    if (n == 0) break;
    out->append(buffer, static_cast<size_t>(n));
  }
  close(fd);
  return true;
}

StateFile::StateFile(std::string directory)
    : directory_(std::move(directory)), path_(directory_ + "/api.yaml") {}

bool StateFile::Load(ApiLayer* layer, Diagnostics* findings) const {
  std::string text;
  if (!ReadWholeFile(path_, kDocumentBytesMax, &text)) {
    if (errno == ENOENT) return false;
    findings->push_back({Code::kUnreadable, Severity::kError, "", 0, Wrong(path_),
                         "make it readable for the sidecar's user", path_});
    return true;
  }
  control::v1::ApplyRequest kept;
  LineMap lines;
  ReadMessage(text, path_, &kept, &lines, findings);
  layer->config = kept.config();
  layer->tombstones = {kept.tombstones().begin(), kept.tombstones().end()};
  return true;
}

std::string StateFile::Save(const ApiLayer& layer) const {
  control::v1::ApplyRequest kept;
  *kept.mutable_config() = layer.config;
  for (const std::string& path : layer.tombstones) kept.add_tombstones(path);
  const std::string text =
      "# What operators changed through the control plane. Written by catzilla-sidecar.\n" +
      RenderYaml(kept);
  if (mkdir(directory_.c_str(), 0700) != 0 && errno != EEXIST) return Wrong(directory_);
  const std::string temporary = path_ + ".new";
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return Wrong(temporary);
  const bool written = WriteAll(fd, text) && fsync(fd) == 0;
  const std::string wrong = written ? "" : Wrong(temporary);
  close(fd);
  if (!written) {
    unlink(temporary.c_str());
    return wrong;
  }
  if (rename(temporary.c_str(), path_.c_str()) != 0) return Wrong(path_);
  return SyncDirectory(directory_) ? "" : Wrong(directory_);
}

std::string StateFile::SetAside() const {
  const std::string aside = path_ + ".rejected";
  return rename(path_.c_str(), aside.c_str()) == 0 ? aside : "";
}

}  // namespace catzilla::schema
