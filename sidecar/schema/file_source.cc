#include "sidecar/schema/file_source.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "sidecar/base/check.h"
#include "sidecar/schema/state_file.h"

namespace catzilla::schema {
namespace {

// An editor writes in several steps; a file read between two of them would be refused for nothing.
constexpr int kSettleMs = 50;

void Resolve(const std::string& folder, std::string* path) {
  if (path->empty() || (*path)[0] == '/') return;
  *path =
      *path == "." ? folder : folder + "/" + (path->starts_with("./") ? path->substr(2) : *path);
}

}  // namespace

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  if (folder[0] == '/') return folder;
  char current[PATH_MAX];
  if (getcwd(current, sizeof(current)) == nullptr) return folder;
  return folder == "." ? current : std::string(current) + "/" + folder;
}

void ResolvePaths(const std::string& folder, config::v1::Config* config) {
  for (auto& mount : *config->mutable_mounts()) {
    if (mount.has_root()) Resolve(folder, mount.mutable_root());
  }
  if (config->has_control()) {
    auto* control = config->mutable_control();
    if (control->has_runtime_dir()) Resolve(folder, control->mutable_runtime_dir());
    if (control->has_socket()) Resolve(folder, control->mutable_socket());
    if (control->has_worker_socket()) Resolve(folder, control->mutable_worker_socket());
    if (control->has_state_dir()) Resolve(folder, control->mutable_state_dir());
  }
  if (config->has_app()) {
    for (auto& root : *config->mutable_app()->mutable_mount_roots()) Resolve(folder, &root);
  }
  if (config->has_telemetry() && config->telemetry().has_access_log_path() &&
      config->telemetry().access_log_path() != "-") {
    Resolve(folder, config->mutable_telemetry()->mutable_access_log_path());
  }
}

FileSource::FileSource(FileSourceOptions options, ConfigStore& store)
    : options_(std::move(options)), store_(store) {}

FileSource::~FileSource() { Stop(); }

Outcome FileSource::Reload() {
  base::MutexLock lock(mutex_);
  std::string text;
  const bool readable =
      options_.path.empty() || ReadWholeFile(options_.path, kDocumentBytesMax, &text);
  return Give(text, readable, readable ? 0 : errno);
}

void FileSource::ReloadIfChanged() {
  base::MutexLock lock(mutex_);
  std::string text;
  const bool readable = ReadWholeFile(options_.path, kDocumentBytesMax, &text);
  const int error = readable ? 0 : errno;
  if (text == last_text_ && error == last_error_) return;
  Give(text, readable, error);
}

Outcome FileSource::Give(const std::string& text, bool readable, int error) {
  last_text_ = text;
  last_error_ = error;
  FileLayer layer;
  Diagnostics findings;
  if (!readable) {
    findings.push_back({Code::kUnreadable, Severity::kError, "", 0, std::strerror(error),
                        error == ENOENT ? "create it, or start without --config"
                                        : "make it readable for the sidecar's user",
                        options_.path});
  } else if (!options_.path.empty()) {
    Document document = ReadDocument(text, options_.path);
    layer.config = std::move(document.config);
    layer.lines = std::move(document.lines);
    findings = std::move(document.diagnostics);
    layer.file = options_.path;
    ResolvePaths(FolderOf(options_.path), &layer.config);
  }
  if (options_.overlay) options_.overlay(&layer, &findings);
  return store_.SetFile(std::move(layer), std::move(findings),
                        options_.path.empty() ? "flags" : options_.path);
}

void FileSource::StartWatching() {
  if (options_.path.empty() || thread_.joinable()) return;
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  CATZILLA_CHECK(wake_ >= 0, "no event descriptor");
  inotify_ = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (inotify_ >= 0) {
    inotify_add_watch(
        inotify_, FolderOf(options_.path).c_str(),
        IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB);
  }
  thread_ = std::thread([this] { Watch(); });
}

void FileSource::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(wake_, &one, sizeof(one));
  thread_.join();
  if (inotify_ >= 0) close(inotify_);
  close(wake_);
  inotify_ = wake_ = -1;
}

void FileSource::Watch() {
  for (;;) {
    pollfd fds[2] = {{wake_, POLLIN, 0}, {inotify_, POLLIN, 0}};
    const int ready =
        poll(fds, inotify_ >= 0 ? 2 : 1, static_cast<int>(options_.poll_interval_us / 1000));
    if (ready < 0 && errno != EINTR) return;
    if (fds[0].revents != 0) return;
    if (ready > 0 && inotify_ >= 0 && fds[1].revents != 0) {
      if (poll(fds, 1, kSettleMs) > 0) return;
      char events[4096];
      while (read(inotify_, events, sizeof(events)) > 0) {
      }
    }
    ReloadIfChanged();
  }
}

}  // namespace catzilla::schema
