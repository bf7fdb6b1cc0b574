// SipHash (Aumasson and Bernstein), the one implementation: keys of tables, tags of contents.
//
//   SipHash<1, 3>      64 bits, for tables whose keys strangers choose.
//   SipHash128<2, 4>   128 bits, for the validators of files.
//
// Threads: pure; any. The key is `k0`, `k1`: the little-endian halves of the published 16 bytes.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace catzilla::base {

struct SipKey {
  uint64_t k0 = 0;
  uint64_t k1 = 0;
};

struct SipDigest128 {
  uint64_t low = 0;
  uint64_t high = 0;
};

namespace sip {

inline uint64_t LoadLittle(const char* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof(word));
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

// Compress rounds for each word of input, Finish rounds at the end.
template <int Compress, int Finish>
struct State {
  uint64_t v0, v1, v2, v3;

  explicit State(const SipKey& key)
      : v0(key.k0 ^ 0x736f6d6570736575),
        v1(key.k1 ^ 0x646f72616e646f6d),
        v2(key.k0 ^ 0x6c7967656e657261),
        v3(key.k1 ^ 0x7465646279746573) {}

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
  void AbsorbWord(uint64_t word) {
    v3 ^= word;
    for (int i = 0; i < Compress; ++i) Round();
    v0 ^= word;
  }
  void Absorb(std::string_view bytes) {
    const char* at = bytes.data();
    size_t left = bytes.size();
    for (; left >= 8; at += 8, left -= 8) AbsorbWord(LoadLittle(at));
    uint64_t last = static_cast<uint64_t>(bytes.size()) << 56;
    for (size_t i = 0; i < left; ++i) {
      last |= static_cast<uint64_t>(static_cast<uint8_t>(at[i])) << (8 * i);
    }
    AbsorbWord(last);
  }
  uint64_t Squeeze() {
    for (int i = 0; i < Finish; ++i) Round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

}  // namespace sip

template <int Compress, int Finish>
uint64_t SipHash(std::string_view bytes, const SipKey& key) {
  sip::State<Compress, Finish> state(key);
  state.Absorb(bytes);
  state.v2 ^= 0xff;
  return state.Squeeze();
}

template <int Compress, int Finish>
SipDigest128 SipHash128(std::string_view bytes, const SipKey& key) {
  sip::State<Compress, Finish> state(key);
  state.v1 ^= 0xee;
  state.Absorb(bytes);
  SipDigest128 digest;
  state.v2 ^= 0xee;
  digest.low = state.Squeeze();
  state.v1 ^= 0xdd;
  digest.high = state.Squeeze();
  return digest;
}

}  // namespace catzilla::base
