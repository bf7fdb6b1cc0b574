#include "sidecar/schema/file_source.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "sidecar/base/check.h"
#include "sidecar/base/clock.h"
#include "sidecar/schema/state_file.h"
#include "sidecar/schema/units.h"

namespace catzilla::schema {
namespace {

// Between two looks at a file that inotify told of. An editor writes in several steps; what is read
// between two of them would be refused for nothing, or, worse, accepted.
constexpr int kSettleMs = 50;

void Resolve(const std::string& folder, std::string* path) {
  if (path->empty() || (*path)[0] == '/') return;
  *path =
      *path == "." ? folder : folder + "/" + (path->starts_with("./") ? path->substr(2) : *path);
}

Diagnostic Unreadable(int error, const std::string& path) {
  std::string message = std::strerror(error);
  std::string hint = "make it readable for the sidecar's user";
  if (error == ENOENT) hint = "create it, or start without --config";
  if (error == EISDIR) {
    message = "is a folder";
    hint = "name the file in it, for example " + path + (path.ends_with('/') ? "" : "/") +
           "catzilla.yaml";
  }
  if (error == EFBIG) {
    message = "has more than " + FormatSize(kDocumentBytesMax);
    hint = "split it, or remove what is generated";
  }
  return {error == EFBIG ? Code::kDocumentTooLarge : Code::kUnreadable,
          Severity::kError,
          "",
          0,
          std::move(message),
          std::move(hint),
          path};
}

std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

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

FileSource::Look FileSource::Read() const {
  Look look;
  if (options_.path.empty()) return look;
  struct stat status{};
  if (stat(options_.path.c_str(), &status) != 0) {
    look.error = errno;
  } else if (S_ISDIR(status.st_mode)) {
    look.error = EISDIR;
  } else if (!ReadWholeFile(options_.path, kDocumentBytesMax, &look.text)) {
    look.error = errno;
    look.text.clear();
  }
  return look;
}

Outcome FileSource::Reload() {
  base::MutexLock lock(mutex_);
  return Give(Read());
}

bool FileSource::LookAtFile() {
  base::MutexLock lock(mutex_);
  Look look = Read();
  if (look == given_) {
    before_.reset();
    return false;
  }
  const bool being_written =
      open_since_us_ != 0 &&
      base::ReadClock().monotonic_us - open_since_us_ < options_.open_writer_us;
  if (being_written || before_ != look) {
    before_ = std::move(look);
    return true;
  }
  before_.reset();
  open_since_us_ = 0;
  Give(std::move(look));
  return false;
}

Outcome FileSource::Give(Look look) {
  const bool readable = look.error == 0;
  given_ = std::move(look);
  FileLayer layer;
  Diagnostics findings;
  if (!readable) {
    findings.push_back(Unreadable(given_.error, options_.path));
  } else if (!options_.path.empty()) {
    Document document = ReadDocument(given_.text, options_.path);
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
    inotify_add_watch(inotify_, FolderOf(options_.path).c_str(),
                      IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE |
                          IN_DELETE | IN_ATTRIB);
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

void FileSource::ReadEvents() {
  const std::string name = NameOf(options_.path);
  alignas(inotify_event) char events[4096];
  for (ssize_t n; (n = read(inotify_, events, sizeof(events))) > 0;) {
    for (ssize_t at = 0; at < n;) {
      inotify_event event{};
      std::memcpy(&event, events + at, sizeof(event));
      const bool ours = event.len > 0 && name == events + at + sizeof(event);
      at += static_cast<ssize_t>(sizeof(event) + event.len);
      if (!ours) continue;
      if ((event.mask & IN_MODIFY) != 0) {
        open_since_us_ = base::ReadClock().monotonic_us;
      } else if ((event.mask & (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE)) != 0) {
        open_since_us_ = 0;
      }
    }
  }
}

void FileSource::Watch() {
  const int poll_ms = static_cast<int>(options_.poll_interval_us / 1000);
  bool told = false;   // By inotify, of what is not settled yet.
  bool again = false;  // It is not settled yet.
  for (;;) {
    pollfd fds[2] = {{wake_, POLLIN, 0}, {inotify_, POLLIN, 0}};
    const int ready =
        poll(fds, inotify_ >= 0 ? 2 : 1, again && told ? std::min(kSettleMs, poll_ms) : poll_ms);
    if (ready < 0 && errno != EINTR) return;
    if (fds[0].revents != 0) return;
    if (ready > 0 && inotify_ >= 0 && fds[1].revents != 0) {
      if (poll(fds, 1, kSettleMs) > 0) return;
      ReadEvents();
      told = true;
    }
    again = LookAtFile();
    if (!again) told = false;
    if (options_.on_look) options_.on_look();
  }
}

}  // namespace catzilla::schema
