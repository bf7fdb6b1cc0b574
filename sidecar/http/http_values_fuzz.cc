// What is read out of targets and fields: never past the input, and only results that make sense.
// The first byte says which parser gets the rest.

#include <llhttp.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sidecar/base/check.h"
#include "sidecar/http/accept_encoding.h"
#include "sidecar/http/address.h"
#include "sidecar/http/chunked_decoder.h"
#include "sidecar/http/conditional.h"
#include "sidecar/http/entity_tag.h"
#include "sidecar/http/error_page.h"
#include "sidecar/http/forwarded.h"
#include "sidecar/http/http_date.h"
#include "sidecar/http/proxy_protocol.h"
#include "sidecar/http/range.h"
#include "sidecar/http/request_parser.h"
#include "sidecar/http/response_head.h"
#include "sidecar/http/target.h"

namespace catzilla::http {
namespace {

void Target(std::string_view text) {
  std::string scratch;
  const DecodedPath decoded = DecodePath(text, scratch);
  CATZILLA_CHECK(decoded.path.size() <= text.size(), "decoding made it longer");
  CATZILLA_CHECK(((decoded.flags & kPathNotUtf8) == 0) == IsUtf8(decoded.path), "UTF-8 or not");
  std::string replaced;
  AppendReplacingInvalidUtf8(decoded.path, replaced);
  CATZILLA_CHECK(IsUtf8(replaced), "replaced, and still no UTF-8");
  if (decoded.path.empty() || decoded.path.front() != '/') return;
  std::string other;
  std::string_view result;
  if (!RemoveDotSegments(decoded.path, other, &result)) return;
  CATZILLA_CHECK(!result.empty() && result.front() == '/', "a path without its root");
  for (size_t at = 0; at < result.size();) {
    const size_t end = std::min(result.find('/', at + 1), result.size());
    const std::string_view segment = result.substr(at + 1, end - at - 1);
    CATZILLA_CHECK(segment != "." && segment != "..", "a dot segment is left");
    at = end;
  }
}

void Query(std::string_view text) {
  QueryPairs pairs(text);
  std::string_view name;
  std::string_view value;
  std::string scratch;
  size_t bytes = 0;
  while (pairs.Next(&name, &value)) {
    bytes += name.size() + value.size();
    CATZILLA_CHECK(IsUtf8(DecodeFormText(name, scratch)), "a name that is no UTF-8");
    CATZILLA_CHECK(IsUtf8(DecodeFormText(value, scratch)), "a value that is no UTF-8");
  }
  CATZILLA_CHECK(bytes <= text.size(), "more bytes than there were");
}

void Ranges(std::string_view text, uint64_t size) {
  const RangeSet set = ParseRange(text, size);
  uint64_t sum = 0;
  for (size_t i = 0; i < set.count; ++i) {
    const ByteRange& range = set.ranges[i];
    CATZILLA_CHECK(range.length > 0 && range.first < size && range.length <= size - range.first,
                   "a range outside the representation");
    CATZILLA_CHECK(range.length <= size - sum, "ranges that sum past the size");
    sum += range.length;
  }
  CATZILLA_CHECK((set.kind == RangeSet::Kind::kPartial) == (set.count > 0), "206 of nothing");
}

void Date(std::string_view text) {
  const auto seconds = ParseHttpDate(text, 1'790'000'000);
  if (!seconds.has_value()) return;
  const std::string written = FormatHttpDate(*seconds);
  CATZILLA_CHECK(ParseHttpDate(written, 0) == seconds || *seconds > 253402300799, "another date");
}

void Proxy(std::string_view text) {
  ProxyHeader header;
  const ProxyResult whole = ParseProxyHeader(text, &header);
  CATZILLA_CHECK(whole.consumed <= text.size(), "more was consumed than fed");
  if (whole.status != ProxyResult::Status::kDone) return;
  // Every shorter piece waits; more bytes change nothing.
  for (size_t i = 0; i < whole.consumed; i += 1 + whole.consumed / 16) {
    CATZILLA_CHECK(
        ParseProxyHeader(text.substr(0, i), &header).status == ProxyResult::Status::kNeedMore,
        "decided too early");
  }
}

// What llhttp makes of the same chunks; false: it refuses them.
bool DecodeWithLlhttp(std::string_view text, std::string* body) {
  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_body = [](llhttp_t* parser, const char* at, size_t length) {
    static_cast<std::string*>(parser->data)->append(at, length);
    return 0;
  };
  settings.on_message_complete = [](llhttp_t*) { return static_cast<int>(HPE_PAUSED); };
  llhttp_t parser;
  llhttp_init(&parser, HTTP_REQUEST, &settings);
  parser.data = body;
  const std::string request =
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(text);
  return llhttp_execute(&parser, request.data(), request.size()) == HPE_PAUSED;
}

void Chunks(std::string_view text) {
  const auto decode = [text](size_t piece, std::string* body) {
    ChunkedDecoder decoder;
    decoder.Reset(64);
    size_t at = 0;
    for (size_t end = std::min(piece, text.size());;) {
      const ChunkedDecoder::Step step = decoder.Next(text.substr(at, end - at));
      at += step.consumed;
      if (step.event == ChunkedDecoder::Event::kData) {
        body->append(step.data);
      } else if (step.event != ChunkedDecoder::Event::kNeedMore) {
        return step.event;
      } else if (end == text.size()) {
        return step.event;
      } else {
        end = std::min(end + piece, text.size());
      }
    }
  };
  std::string whole;
  std::string bytes;
  const auto event = decode(std::max<size_t>(text.size(), 1), &whole);
  CATZILLA_CHECK(event == decode(1, &bytes) && whole == bytes,
                 "cut into bytes, it is another body");
  // Stricter than llhttp, but never otherwise. (Trailers it reads as fields, and may mind what they
  // say.)
  std::string theirs;
  if (event == ChunkedDecoder::Event::kDone && DecodeWithLlhttp(text, &theirs)) {
    CATZILLA_CHECK(whole == theirs, "llhttp finds another body");
  }
}

// Fields of a request, one a line.
void Fields(std::string_view text) {
  std::string request = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (const char c : text) request.append(c == '\n' ? "\r\n" : std::string(1, c));
  request += "\r\n\r\n";
  HeadBuffer buffer;
  RequestParser parser;
  parser.Begin(&buffer, HeadLimits());
  if (parser.Next(request).event != RequestParser::Event::kHead) return;
  const RequestHead& head = buffer.head();
  const Validators validators{"\"a\"", 784111777};
  JudgePreconditions(head, validators, 1'790'000'000);
  RangeApplies(head, validators, 1'790'000'000);
  const AcceptEncoding accept(head);
  const Coding chosen = accept.Choose({Coding::kBrotli, Coding::kGzip});
  CATZILLA_CHECK(chosen == Coding::kIdentity || accept.Accepts(chosen), "not acceptable");
  const uint8_t local[4] = {10, 0, 0, 1};
  const IpAddress peer = IpAddress::V4(local);
  const ClientOrigin origin = FindClientOrigin(
      head, peer, [](const IpAddress& address) { return address.bytes[12] == 10; });
  CATZILLA_CHECK(!origin.conflict || origin.client == peer, "a disputed client");
  std::string page;
  AppendErrorPage(ChooseErrorFormat(&head), 404, text, text, page);
  CATZILLA_CHECK(IsUtf8(page), "a page that is no UTF-8");
}

void Response(std::string_view text) {
  const size_t half = text.size() / 2;
  char buffer[64];
  ResponseWriter writer(buffer, sizeof(buffer));
  writer.Field(text.substr(0, half), text.substr(half));
  const std::string_view written = writer.bytes();
  CATZILLA_CHECK(std::count(written.begin(), written.end(), '\n') <= 1, "a split answer");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  // A block of its own, so that a look past its end is seen.
  const std::unique_ptr<char[]> block(new char[size]);
  std::copy_n(data + 1, size - 1, block.get());
  const std::string_view text(block.get(), size - 1);
  switch (data[0]) {
    case 't':
      Target(text);
      break;
    case 'q':
      Query(text);
      break;
    case 'r':
      Ranges(text, 1000);
      Ranges(text, 0);
      Ranges(text, UINT64_MAX);
      break;
    case 'd':
      Date(text);
      break;
    case 'e':
      ParseEntityTag(text);
      TagListHas(text, {false, "\"a\""}, TagCompare::kWeak);
      break;
    case 'p':
      Proxy(text);
      break;
    case 'c':
      Chunks(text);
      break;
    case 'a':
      ParseIpAndPort(text);
      break;
    case 'w':
      Response(text);
      break;
    default:
      Fields(text);
  }
  return 0;
}

}  // namespace catzilla::http
