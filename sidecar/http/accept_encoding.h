// Which content coding a client takes (RFC 9110 section 12.5.3). Pure; any thread; allocates
// nothing.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "sidecar/http/request_head.h"

namespace catzilla::http {

enum class Coding : uint8_t { kIdentity, kGzip, kBrotli, kZstd };
inline constexpr size_t kCodingCount = 4;
std::string_view CodingName(Coding coding);  // "identity", "gzip", "br", "zstd"

class AcceptEncoding {
 public:
  // Absent: any coding is acceptable, but identity is what we send. Present and empty: identity
  // only.
  explicit AcceptEncoding(const RequestHead& request);
  explicit AcceptEncoding(std::string_view value);  // Of a field that is present.

  // In thousandths; 0: not acceptable.
  int Quality(Coding coding) const { return quality_[static_cast<size_t>(coding)]; }
  bool Accepts(Coding coding) const { return Quality(coding) > 0; }

  // The acceptable one of highest quality; among equals the first. kIdentity if none is acceptable
  // or identity is preferred: sending what one has is better than 406.
  Coding Choose(std::initializer_list<Coding> available) const;

 private:
  void Read(std::string_view value, int* any, bool* seen);
  void Settle(int any, const bool* seen);

  std::array<int, kCodingCount> quality_{};
};

// "gzip;q=0.8" -> 800; 1000 without q; 0 for a malformed one. `parameters` is what follows the
// first ';'.
int ParseQuality(std::string_view parameters);

}  // namespace catzilla::http
