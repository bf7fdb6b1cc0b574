#include "sidecar/files/content_hash.h"

#include "sidecar/base/sip_hash.h"

namespace catzilla::files {

namespace {

constexpr ContentHashKey kKey = {'c', 'a', 't', 'z', 'i', 'l', 'l', 'a',
                                 '.', 'f', 'i', 'l', 'e', 's', '.', '1'};

uint64_t LoadLittle(const uint8_t* bytes) {
  uint64_t word = 0;
  for (int i = 7; i >= 0; --i) word = word << 8 | bytes[i];
  return word;
}

void StoreLittle(uint64_t word, uint8_t* bytes) {
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(word >> (8 * i));
}

}  // namespace

ContentHash HashContent(std::string_view bytes, const ContentHashKey& key) {
  const base::SipDigest128 digest =
      base::SipHash128<2, 4>(bytes, {LoadLittle(key.data()), LoadLittle(key.data() + 8)});
  ContentHash hash;
  StoreLittle(digest.low, hash.data());
  StoreLittle(digest.high, hash.data() + 8);
  return hash;
}

ContentHash HashContent(std::string_view bytes) { return HashContent(bytes, kKey); }

std::string ToHex(const ContentHash& hash) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * hash.size());
  for (const uint8_t byte : hash) {
    text.push_back(kHex[byte >> 4]);
    text.push_back(kHex[byte & 15]);
  }
  return text;
}

}  // namespace catzilla::files
