#include "sidecar/http/forwarded.h"

#include <gtest/gtest.h>

#include "sidecar/http/proxy_protocol.h"
#include "sidecar/http/testing.h"

namespace catzilla::http {
namespace {

IpAddress Ip(std::string_view text) { return ParseIpAndPort(text).value(); }

TEST(IpAddress, IsReadAndWritten) {
  EXPECT_EQ(Ip("10.0.0.7").HostText(), "10.0.0.7");
  EXPECT_EQ(Ip("10.0.0.7:80").port, 80);
  EXPECT_EQ(Ip("[2001:db8::1]:443").HostText(), "2001:db8::1");
  EXPECT_EQ(Ip("2001:db8::1").port, 0);
  EXPECT_EQ(Ip("::ffff:10.0.0.7").HostText(), "10.0.0.7");
  for (const std::string_view text :
       {"", "a", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.7:", "10.0.0.7:x", "10.0.0.7:65536",
        "[10.0.0.7]", "[::1", "[::1]x", "[]", "::1%eth0", "1:2:3", "10.0.0.7 "}) {
    EXPECT_FALSE(ParseIpAndPort(text).has_value()) << text;
  }
  EXPECT_FALSE(ParseIpAddress(std::string_view("10.0.0.7\0x", 10)).has_value());
}

TEST(InRange, ComparesAPrefix) {
  const IpAddress range = Ip("10.16.0.0");
  EXPECT_TRUE(InRange(Ip("10.16.3.4"), range.bytes.data(), 96 + 12));
  EXPECT_TRUE(InRange(Ip("10.31.3.4"), range.bytes.data(), 96 + 12));
  EXPECT_FALSE(InRange(Ip("10.32.3.4"), range.bytes.data(), 96 + 12));
  EXPECT_TRUE(InRange(Ip("2001:db8::1"), range.bytes.data(), 0));
  EXPECT_FALSE(InRange(Ip("10.16.0.1"), range.bytes.data(), 128));
}

// 10.0.0.0/8 is trusted.
ClientOrigin Find(std::initializer_list<std::string_view> lines,
                  std::string_view peer = "10.0.0.1") {
  static std::unique_ptr<HeadBuffer> request;  // The answer borrows from it.
  request = ParseLinesForTest("GET /", lines);
  const IpAddress trusted = Ip("10.0.0.0");
  return FindClientOrigin(request->head(), Ip(peer), [&](const IpAddress& address) {
    return InRange(address, trusted.bytes.data(), 96 + 8);
  });
}

TEST(Forwarded, NobodyIsBelievedUnlessThePeerIsTrusted) {
  const ClientOrigin origin =
      Find({"X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https"}, "192.0.2.1");
  EXPECT_EQ(origin.client, Ip("192.0.2.1"));
  EXPECT_FALSE(origin.forwarded);
  EXPECT_EQ(origin.proto, "");
}

TEST(Forwarded, XForwardedForIsWalkedFromTheRight) {
  EXPECT_EQ(Find({"X-Forwarded-For: 1.2.3.4"}).client, Ip("1.2.3.4"));
  EXPECT_EQ(Find({"X-Forwarded-For: 6.6.6.6, 1.2.3.4"}).client, Ip("1.2.3.4"));
  EXPECT_EQ(Find({"X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.0.0.2"}).client, Ip("1.2.3.4"));
  EXPECT_EQ(Find({"X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 10.0.0.2"}).client, Ip("1.2.3.4"));
  EXPECT_EQ(Find({"X-Forwarded-For: 10.0.0.3, 10.0.0.2"}).client, Ip("10.0.0.3"));
  EXPECT_EQ(Find({"X-Forwarded-For: 1.2.3.4, unknown, 10.0.0.2"}).client, Ip("10.0.0.2"));
  EXPECT_EQ(Find({"X-Forwarded-For: rubbish"}).client, Ip("10.0.0.1"));
}

TEST(Forwarded, ProtoAndHostComeFromTheHopThatNamedTheClient) {
  const ClientOrigin one = Find({"X-Forwarded-For: 1.2.3.4, 10.0.0.2",
                                 "X-Forwarded-Proto: https, http", "X-Forwarded-Host: shop"});
  EXPECT_EQ(one.proto, "https");
  EXPECT_EQ(one.host, "shop");
  const ClientOrigin nearest = Find({"X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: http, https"});
  EXPECT_EQ(nearest.proto, "https") << "the client may have sent the first one";
  EXPECT_EQ(Find({"X-Forwarded-Proto: javascript"}).proto, "");
  // A8: in any case.
  EXPECT_EQ(Find({"X-Forwarded-Proto: HTTPS"}).proto, "https");
  EXPECT_EQ(Find({"X-Forwarded-Proto: Http"}).proto, "http");
  EXPECT_EQ(Find({"Forwarded: for=1.2.3.4;PROTO=\"HttpS\""}).proto, "https");
  EXPECT_EQ(Find({"X-Forwarded-Host: a/b"}).host, "");
}

TEST(Forwarded, TheStandardFieldSaysTheSame) {
  const ClientOrigin origin = Find(
      {"Forwarded: for=6.6.6.6;proto=http, For=\"[2001:db8::7]:4711\";Proto=https;host=\"shop:80\"",
       "forwarded: for=10.0.0.2;proto=http"});
  EXPECT_EQ(origin.client, Ip("[2001:db8::7]:4711"));
  EXPECT_EQ(origin.proto, "https");
  EXPECT_EQ(origin.host, "shop:80");
  EXPECT_TRUE(origin.forwarded);
  EXPECT_EQ(Find({"Forwarded: for=_hidden"}).client, Ip("10.0.0.1"));
}

TEST(Forwarded, TwoStoriesThatDifferAreBothDisbelieved) {
  const ClientOrigin origin =
      Find({"Forwarded: for=6.6.6.6;proto=https", "X-Forwarded-For: 1.2.3.4"});
  EXPECT_TRUE(origin.conflict);
  EXPECT_EQ(origin.client, Ip("10.0.0.1"));
  EXPECT_EQ(origin.proto, "");
  EXPECT_FALSE(Find({"Forwarded: for=1.2.3.4", "X-Forwarded-For: 1.2.3.4"}).conflict);
}

// The PROXY protocol...

using Status = ProxyResult::Status;

std::string V2(uint8_t command, uint8_t family, std::string_view payload) {
  std::string text("\r\n\r\n\0\r\nQUIT\n", 12);
  text += static_cast<char>(command);
  text += static_cast<char>(family);
  text += static_cast<char>(payload.size() >> 8);
  text += static_cast<char>(payload.size() & 0xff);
  return text.append(payload);
}

TEST(ProxyProtocol, VersionOne) {
  ProxyHeader header;
  const std::string_view line = "PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n";
  const ProxyResult result = ParseProxyHeader(std::string(line) + "GET /", &header);
  EXPECT_EQ(result.status, Status::kDone);
  EXPECT_EQ(result.consumed, line.size());
  EXPECT_TRUE(header.has_addresses);
  EXPECT_EQ(header.source, Ip("192.0.2.1:56324"));
  EXPECT_EQ(header.destination, Ip("10.0.0.1:443"));
  EXPECT_EQ(ParseProxyHeader("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", &header).status, Status::kDone);
  EXPECT_EQ(header.source, Ip("[2001:db8::1]:1"));
  EXPECT_EQ(ParseProxyHeader("PROXY UNKNOWN whatever\r\n", &header).status, Status::kDone);
  EXPECT_FALSE(header.has_addresses);
}

TEST(ProxyProtocol, VersionTwo) {
  ProxyHeader header;
  const std::string v4 =
      V2(0x21, 0x11, std::string_view("\xc0\0\2\1\x0a\0\0\1\xdc\x04\x01\xbb", 12));
  EXPECT_EQ(ParseProxyHeader(v4 + "GET", &header).consumed, v4.size());
  EXPECT_EQ(header.source, Ip("192.0.2.1:56324"));
  EXPECT_EQ(header.destination, Ip("10.0.0.1:443"));
  const std::string with_tlvs = V2(0x21, 0x11, std::string(12, '\1') + std::string(100, 'x'));
  EXPECT_EQ(ParseProxyHeader(with_tlvs, &header).consumed, with_tlvs.size());
  EXPECT_EQ(ParseProxyHeader(V2(0x21, 0x21, std::string(36, '\1')), &header).status, Status::kDone);
  EXPECT_EQ(header.source.HostText(), "101:101:101:101:101:101:101:101");
  EXPECT_EQ(ParseProxyHeader(V2(0x20, 0x00, ""), &header).status, Status::kDone);  // LOCAL
  EXPECT_FALSE(header.has_addresses);
  EXPECT_EQ(ParseProxyHeader(V2(0x21, 0x31, std::string(216, 'u')), &header).status, Status::kDone);
  EXPECT_FALSE(header.has_addresses);
}

TEST(ProxyProtocol, EveryPrefixOfAGoodHeaderNeedsMore) {
  ProxyHeader header;
  for (const std::string& text : {std::string("PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n"),
                                  V2(0x21, 0x11, std::string(12, '\1'))}) {
    for (size_t i = 0; i < text.size(); ++i) {
      EXPECT_EQ(ParseProxyHeader(text.substr(0, i), &header).status, Status::kNeedMore) << i;
    }
  }
}

TEST(ProxyProtocol, RefusesTheRest) {
  ProxyHeader header;
  const std::string rows[] = {
      "GET / HTTP/1.1\r\n",
      "PROXY\r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 9 10\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 9\r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 9 10 11\r\n",
      "PROXY TCP4  1.2.3.4 5.6.7.8 9 10\r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 9 65536\r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 9 010\r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 -9 10\r\n",
      "PROXY TCP4 ::1 ::1 9 10\r\n",
      "PROXY TCP6 1.2.3.4 5.6.7.8 9 10\r\n",
      "PROXY TCP5 1.2.3.4 5.6.7.8 9 10\r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\r\n",
      "PROXY UNKNOWN " + std::string(120, 'x'),
      V2(0x11, 0x11, std::string(12, '\1')),
      V2(0x22, 0x11, std::string(12, '\1')),
      V2(0x21, 0x11, std::string(11, '\1')),
      V2(0x21, 0x21, std::string(35, '\1')),
      V2(0x21, 0x41, std::string(12, '\1')),
      V2(0x21, 0x13, std::string(12, '\1')),
      V2(0x21, 0x11, std::string(5000, '\1')),
  };
  for (const std::string& row : rows) {
    EXPECT_EQ(ParseProxyHeader(row, &header).status, Status::kMalformed) << row;
  }
}

}  // namespace
}  // namespace catzilla::http
