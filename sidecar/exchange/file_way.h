// The way to a file: hot entries answer in this turn, the others are opened off the loop.
//
//   Start(), or Step() where an app's answer has named it --hot--> answered
//       \--> opening (waits) --Opened()--> answered
// Another file of the mount may have to answer instead, once for a fallback and once for an error's
// page: then it is looked for in the same way.
//
// Threads: the loop's. Owns: what was opened, until it is answered from.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sidecar/exchange/handed_file.h"
#include "sidecar/exchange/next.h"
#include "sidecar/exchange/plan.h"
#include "sidecar/files/answer.h"
#include "sidecar/files/mount.h"

namespace catzilla::exchange {

class Exchange;

class FileWay {
 public:
  FileWay(Exchange& exchange, const MountTarget& mount)
      : exchange_(exchange), mount_(*mount.files) {}
  // Instead of an app's answer, and with its fields.
  FileWay(Exchange& exchange, std::unique_ptr<HandedFile> handed)
      : exchange_(exchange), mount_(*handed->mount->files), handed_(std::move(handed)) {}

  Next Start();
  Next Step();
  void Opened(files::OpenResult result);

 private:
  Next Look(std::string_view path);
  Next Open(std::string_view path);
  Next SendInstead(const std::string& file);
  Next Refuse(uint16_t status, std::string_view cause);
  Next Send(files::Entry& entry);
  Next SendHanded(files::Entry& entry);
  Next SendAnswer(const files::Answer& answer);
  std::string_view path() const;
  bool FallsBack() const { return !mount_.config().spa_fallback.empty(); }

  Exchange& exchange_;
  files::Mount& mount_;
  std::unique_ptr<HandedFile> handed_;
  bool started_ = false;
  files::OpenResult opened_;
  bool is_opened_ = false;
  bool is_fallback_ = false;  // The mount's spa_fallback answers for a missing path.
  uint16_t page_status_ = 0;  // The mount's page for this error answers.
};

}  // namespace catzilla::exchange
