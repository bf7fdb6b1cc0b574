// The api layer on disk: what operators changed survives a restart and a kill -9.
//
// Threads: one caller at a time (the ConfigStore's change lock). Written whole: a temporary file,
//          fsync, rename, fsync of the directory; a reader sees the old or the new, never half.
// Fails:   with a sentence that names the path.
#pragma once

#include <string>

#include "sidecar/schema/diagnostic.h"
#include "sidecar/schema/layers.h"

namespace catzilla::schema {

class StateFile {
 public:
  explicit StateFile(std::string directory);

  const std::string& path() const { return path_; }

  // False: there is nothing kept. What cannot be read is a finding.
  bool Load(ApiLayer* layer, Diagnostics* findings) const;

  // Creates the directory if need be. Returns what went wrong; empty: nothing.
  std::string Save(const ApiLayer& layer) const;

  // Renames the file out of the way; returns the new path, empty if it could not.
  std::string SetAside() const;

 private:
  const std::string directory_;
  const std::string path_;
};

// The whole of a file. False, with errno, if it cannot be read or has more than `bytes_max`.
bool ReadWholeFile(const std::string& path, size_t bytes_max, std::string* out);

}  // namespace catzilla::schema
