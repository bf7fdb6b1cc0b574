#include "sidecar/files/content_hash.h"

#include <bit>
#include <cstring>

namespace catzilla::files {

namespace {

constexpr ContentHashKey kKey = {'c', 'a', 't', 'z', 'i', 'l', 'l', 'a',
                                 '.', 'f', 'i', 'l', 'e', 's', '.', '1'};

uint64_t LoadLittle(const void* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof(word));
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

void StoreLittle(uint64_t word, uint8_t* bytes) {
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  std::memcpy(bytes, &word, sizeof(word));
}

struct SipState {
  uint64_t v0, v1, v2, v3;

  void Round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void Absorb(uint64_t word) {
    v3 ^= word;
    Round();
    Round();
    v0 ^= word;
  }
  uint64_t Squeeze() {
    for (int i = 0; i < 4; ++i) Round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

}  // namespace

ContentHash HashContent(std::string_view bytes, const ContentHashKey& key) {
  const uint64_t k0 = LoadLittle(key.data());
  const uint64_t k1 = LoadLittle(key.data() + 8);
  SipState state{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
                 k1 ^ 0x7465646279746573};
  state.v1 ^= 0xee;  // The 128-bit variant.

  const size_t whole = bytes.size() / 8 * 8;
  for (size_t i = 0; i < whole; i += 8) state.Absorb(LoadLittle(bytes.data() + i));
  uint8_t tail[8] = {};
  if (whole < bytes.size()) std::memcpy(tail, bytes.data() + whole, bytes.size() - whole);
  tail[7] = static_cast<uint8_t>(bytes.size());
  state.Absorb(LoadLittle(tail));

  ContentHash hash;
  state.v2 ^= 0xee;
  StoreLittle(state.Squeeze(), hash.data());
  state.v1 ^= 0xdd;
  StoreLittle(state.Squeeze(), hash.data() + 8);
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
