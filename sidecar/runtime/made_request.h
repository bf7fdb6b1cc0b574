// A request that somebody only describes: its head, parsed as from the wire.
//
// Threads: one at a time. Owns: its bytes. Limits: as the server's (http::HeadLimits).
// Fails:   Make() with the status and the words with which the server would refuse it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "sidecar/base/result.h"
#include "sidecar/http/request_parser.h"

namespace catzilla::runtime {

class MadeRequest {
 public:
  struct Refusal {
    uint16_t status = 400;  // 0: it is no request at all, whoever described it has erred.
    std::string sentence;
  };

  // `target`: "/path?query". `host`: of the URL; if empty the fields' own counts, and without one
  // the request has a host that nothing is stored for. `fields`: names and values.
  template <typename Fields>  // A map, also protobuf's.
  static base::Result<MadeRequest, Refusal> Make(const std::string& method,
                                                 const std::string& target, const std::string& host,
                                                 const Fields& fields) {
    std::map<std::string, std::string> copied;
    for (const auto& [name, value] : fields) copied.emplace(name, value);
    return MakeOf(method, target, host, copied);
  }

  const http::RequestHead& head() const { return buffer_->head(); }

 private:
  static base::Result<MadeRequest, Refusal> MakeOf(
      const std::string& method, const std::string& target, const std::string& host,
      const std::map<std::string, std::string>& fields);

  std::unique_ptr<std::string> bytes_;  // Where the head's views point.
  std::unique_ptr<http::HeadBuffer> buffer_;
};

}  // namespace catzilla::runtime
