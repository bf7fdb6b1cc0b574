#include "sidecar/files/content_hash.h"

#include <gtest/gtest.h>

#include <set>

namespace catzilla::files {
namespace {

// The published vectors of SipHash-2-4-128: key 00 01 … 0f, input 00 01 … of the row's length.
TEST(ContentHash, IsSipHash24With128Bits) {
  ContentHashKey key;
  std::string input;
  for (int i = 0; i < 16; ++i) key[i] = static_cast<uint8_t>(i);
  for (int i = 0; i < 64; ++i) input.push_back(static_cast<char>(i));
  EXPECT_EQ(ToHex(HashContent({input.data(), 0}, key)), "a3817f04ba25a8e66df67214c7550293");
  EXPECT_EQ(ToHex(HashContent({input.data(), 1}, key)), "da87c1d86b99af44347659119b22fc45");
}

TEST(ContentHash, TellsEveryLengthAndEveryBitApart) {
  std::set<std::string> seen;
  for (size_t length = 0; length < 70; ++length) {
    std::string bytes(length, 'a');
    EXPECT_TRUE(seen.insert(ToHex(HashContent(bytes))).second);
    for (size_t i = 0; i < length; ++i) {
      bytes[i] ^= 1;
      EXPECT_TRUE(seen.insert(ToHex(HashContent(bytes))).second);
      bytes[i] ^= 1;
    }
  }
}

TEST(ContentHash, IsTheSameInEveryProcess) {
  // What a client has remembered must survive a new version of the sidecar.
  EXPECT_EQ(ToHex(HashContent("Hello, world!")), ToHex(HashContent(std::string("Hello, world!"))));
  EXPECT_EQ(ToHex(HashContent("")).size(), 32u);
}

}  // namespace
}  // namespace catzilla::files
