// Any field value: terms that a deflater can keep, or none.
#include "sidecar/base/check.h"
#include "sidecar/websocket/extensions.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace catzilla::websocket;  // NOLINT: a fuzzer is one file
  const std::string_view value(reinterpret_cast<const char*>(data), size);
  const DeflateTerms terms = NegotiateDeflate(value);
  if (!terms.agreed) return 0;
  CATZILLA_CHECK(terms.window_bits >= 9 && terms.window_bits <= 15, "bits that zlib can write");
  char out[128];
  const DeflateTerms again = NegotiateDeflate(DescribeTerms(terms, out));
  CATZILLA_CHECK(again.agreed && again.window_bits == terms.window_bits, "what we say is sound");
  return 0;
}
