// What the probes say.
//
// Threads: any. Owns: nothing.
// /livez: the process and its loops react. /readyz: it should get traffic. /startupz: the first
// configuration is served; none of them depends on the app.
#pragma once

#include <string>

namespace catzilla::ops {

struct Health {
  bool good = true;
  std::string text = "ok\n";  // For people; one line per reason.
};

class HealthSource {
 public:
  virtual Health Live() = 0;
  virtual Health Ready() = 0;
  virtual Health Started() = 0;

 protected:
  ~HealthSource() = default;
};

}  // namespace catzilla::ops
