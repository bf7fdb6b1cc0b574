#include "sidecar/files/resolve.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <deque>
#include <utility>
#include <vector>

namespace catzilla::files {

namespace {

// O_NONBLOCK: a FIFO must not hold the thread. It has no effect on regular files.
constexpr int kReadFlags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;

int CallOpenat2(int directory, const char* path, uint64_t flags, uint64_t resolve) {
  open_how how{};
  how.flags = flags;
  how.resolve = resolve;
  return static_cast<int>(syscall(SYS_openat2, directory, path, &how, sizeof(how)));
}

// The components of a path still to be walked, with the links already expanded in front of them.
class Walk {
 public:
  Walk(int root, const std::string& relative, bool follow) : follow_(follow), root_(root) {
    Push(relative);
  }

  // The descriptor, or -1 with errno.
  int Run() {
    while (!pending_.empty()) {
      const std::string name = std::move(pending_.front());
      pending_.pop_front();
      if (name == ".") continue;
      if (name == "..") {
        // Only descriptors reached from the root are on the stack, so this cannot rise above it.
        if (reached_.empty()) return Fail(EXDEV);
        reached_.pop_back();
        continue;
      }
      UniqueFd seen(openat(Top(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      if (!seen) return -1;
      struct stat status;
      if (fstat(seen.get(), &status) != 0) return -1;
      if (S_ISLNK(status.st_mode)) {
        if (!Expand(seen.get())) return -1;
      } else if (S_ISDIR(status.st_mode)) {
        reached_.push_back(std::move(seen));
      } else {
        if (!pending_.empty() || directory_wanted_) return Fail(ENOTDIR);
        // A swap between the two opens meets O_NOFOLLOW and, later, fstat.
        return openat(Top(), name.c_str(), kReadFlags | O_NOFOLLOW);
      }
    }
    return openat(Top(), ".", kReadFlags | O_DIRECTORY);
  }

 private:
  static int Fail(int error) {
    errno = error;
    return -1;
  }
  static bool Refuse(int error) {
    errno = error;
    return false;
  }

  int Top() const { return reached_.empty() ? root_ : reached_.back().get(); }

  void Push(std::string_view path) {
    std::vector<std::string> names;
    for (size_t begin = 0; begin < path.size();) {
      size_t end = path.find('/', begin);
      if (end == std::string_view::npos) end = path.size();
      if (end > begin) names.emplace_back(path.substr(begin, end - begin));
      begin = end + 1;
    }
    if (pending_.empty()) directory_wanted_ = directory_wanted_ || path.ends_with('/');
    pending_.insert(pending_.begin(), names.begin(), names.end());
  }

  bool Expand(int link) {
    if (!follow_ || ++links_ > Resolver::kSymlinksMax) return Refuse(ELOOP);
    char target[PATH_MAX];
    const ssize_t bytes = readlinkat(link, "", target, sizeof(target));
    if (bytes < 0) return false;
    if (bytes == 0) return Refuse(ENOENT);
    if (bytes == sizeof(target)) return Refuse(ENAMETOOLONG);
    // As RESOLVE_BENEATH: an absolute link leaves the root even if it points back into it.
    if (target[0] == '/') return Refuse(EXDEV);
    Push(std::string_view(target, bytes));
    return true;
  }

  const bool follow_;
  const int root_;
  std::deque<std::string> pending_;
  std::vector<UniqueFd> reached_;
  int links_ = 0;
  bool directory_wanted_ = false;
};

}  // namespace

ResolveMethod DetectResolveMethod() {
  const UniqueFd probe(
      CallOpenat2(AT_FDCWD, ".", O_PATH | O_CLOEXEC, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS));
  if (probe) return ResolveMethod::kOpenat2;
  const bool refused = errno == ENOSYS || errno == EPERM || errno == EINVAL || errno == E2BIG;
  return refused ? ResolveMethod::kWalk : ResolveMethod::kOpenat2;
}

base::Result<Opened, int> Resolver::Open(const std::string& relative, int64_t now_us,
                                         int64_t root_age_us_max) {
  base::Result<SharedFd, int> root = Root(now_us, root_age_us_max);
  if (!root) return base::Fail(root.error());
  const int root_fd = (*root)->get();

  Opened opened;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    opened.fd.Reset(method_ == ResolveMethod::kOpenat2 ? OpenByKernel(root_fd, relative)
                                                       : OpenByWalk(root_fd, relative));
    // EAGAIN: a rename ran at the same time and the kernel could not be sure.
    if (opened.fd || (errno != EAGAIN && errno != EINTR)) break;
  }
  if (!opened.fd) return base::Fail(int{errno});
  if (fstat(opened.fd.get(), &opened.status) != 0) return base::Fail(int{errno});
  const mode_t mode = opened.status.st_mode;
  if (!S_ISREG(mode) && !S_ISDIR(mode)) return base::Fail(int{ENOENT});
  return opened;
}

base::Result<Resolver::SharedFd, int> Resolver::Root(int64_t now_us, int64_t age_us_max) {
  base::MutexLock lock(mutex_);
  const bool fresh = root_ != nullptr && now_us - root_opened_us_ <= age_us_max;
  if (fresh) return root_;
  UniqueFd fd(open(root_path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) {
    const int error = errno;
    root_ = nullptr;
    return base::Fail(int{error});
  }
  root_ = std::make_shared<const UniqueFd>(std::move(fd));
  root_opened_us_ = now_us;
  return root_;
}

void Resolver::ForgetRoot() {
  base::MutexLock lock(mutex_);
  root_ = nullptr;
}

int Resolver::OpenByKernel(int root, const std::string& relative) const {
  uint64_t resolve = RESOLVE_NO_MAGICLINKS;
  if (symlinks_ != config::Symlinks::kAnywhere) resolve |= RESOLVE_BENEATH;
  if (symlinks_ == config::Symlinks::kNever) resolve |= RESOLVE_NO_SYMLINKS;
  return CallOpenat2(root, relative.empty() ? "." : relative.c_str(), kReadFlags, resolve);
}

int Resolver::OpenByWalk(int root, const std::string& relative) const {
  if (symlinks_ == config::Symlinks::kAnywhere) {
    return openat(root, relative.empty() ? "." : relative.c_str(), kReadFlags);
  }
  return Walk(root, relative, symlinks_ == config::Symlinks::kInside).Run();
}

uint16_t HttpStatusOf(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case EXDEV:
    case ENAMETOOLONG:
    case ENXIO:  // A socket, or a FIFO's other end.
    case ENODEV:
    case EISDIR:
      return 404;
    case EACCES:
    case EPERM:
      return 403;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:     // Renames never paused, or the file never held still.
    case ETIMEDOUT:  // A file system whose server does not answer.
      return 503;
    default:
      return 500;
  }
}

}  // namespace catzilla::files
