#include "sidecar/http/head_analysis.h"

#include <algorithm>
#include <cstring>

namespace catzilla::http {
namespace {

struct Authority {
  std::string_view host;  // With the brackets of an IPv6 literal.
  uint64_t port = 0;      // 0: none.
};

// uri-host [ ":" port ] (RFC 9110 section 7.2). An empty host is left to the caller.
bool ParseAuthority(std::string_view text, Authority* authority) {
  size_t host_bytes = 0;
  if (!text.empty() && text.front() == '[') {
    const size_t end = text.find(']');
    if (end == std::string_view::npos || end < 3) return false;
    for (const char c : text.substr(1, end - 1)) {
      if (!IsIn(c, kHexChar) && c != ':' && c != '.') return false;
    }
    host_bytes = end + 1;
  } else {
    while (host_bytes < text.size() && IsIn(text[host_bytes], kHostChar)) ++host_bytes;
  }
  if (host_bytes > RequestHead::kHostBytesMax) return false;
  authority->host = text.substr(0, host_bytes);
  authority->port = 0;
  const std::string_view rest = text.substr(host_bytes);
  if (rest.empty() || rest == ":") return true;
  return rest.front() == ':' && rest.size() <= 6 &&
         ParseDecimal(rest.substr(1), &authority->port) && authority->port > 0 &&
         authority->port <= 65535;
}

}  // namespace

ParseError HeadAnalysis::Run() {
  ParseError error = RequestLine();
  if (error == ParseError::kNone) error = Target();
  if (error == ParseError::kNone) error = Fields();
  if (error == ParseError::kNone) error = Framing();
  if (error == ParseError::kNone) error = Host();
  return error;
}

// "METHOD target HTTP/1.x": single spaces only, and nothing else on the line.
ParseError HeadAnalysis::RequestLine() {
  RequestHead& head = head_;
  if (head.target_offset_ < 2 || head.target_length_ == 0) return ParseError::kRequestLine;
  head.method_length_ = head.target_offset_ - 1;
  if (head.base_[head.method_length_] != ' ' || !IsToken(head.method_text())) {
    return ParseError::kRequestLine;
  }
  head.method_ = MethodFromText(head.method_text());

  constexpr std::string_view kProtocol = " HTTP/";
  constexpr size_t kTailBytes = kProtocol.size() + 5;
  const size_t tail = head.target_offset_ + head.target_length_;
  if (head.length_ - tail < kTailBytes) return ParseError::kRequestLine;
  const std::string_view text(head.base_ + tail, kTailBytes);
  const std::string_view version = text.substr(kProtocol.size(), 3);
  if (!Is(text.substr(0, kProtocol.size()), " HTTP/") || !IsIn(version[0], kDigitChar) ||
      version[1] != '.' || !IsIn(version[2], kDigitChar) ||
      !Is(text.substr(kTailBytes - 2), "\r\n")) {
    return ParseError::kRequestLine;
  }
  if (version[0] != '1' || version[2] > '1') return ParseError::kVersion;
  head.minor_version_ = static_cast<uint8_t>(version[2] - '0');
  return ParseError::kNone;
}

// The four forms of RFC 9112 section 3.2.
ParseError HeadAnalysis::Target() {
  RequestHead& head = head_;
  const std::string_view target = head.target();
  if (!AllIn(target, kTargetChar)) return ParseError::kTarget;
  head.is_asterisk_ = false;
  head.is_absolute_ = false;
  if (head.method_ == Method::kConnect) return ParseError::kConnectMethod;
  if (target.front() == '/') {
    SplitQuery(head.target_offset_, head.target_length_);
    return ParseError::kNone;
  }
  if (target == "*") {
    if (head.method_ != Method::kOptions) return ParseError::kTarget;
    head.is_asterisk_ = true;
    SplitQuery(head.target_offset_, head.target_length_);
    return ParseError::kNone;
  }
  if (target.size() > 7 && EqualsLower(target.substr(0, 7), "http://")) return AbsoluteTarget(7);
  if (target.size() > 8 && EqualsLower(target.substr(0, 8), "https://")) {
    default_port_ = 443;
    return AbsoluteTarget(8);
  }
  return ParseError::kTarget;
}

ParseError HeadAnalysis::AbsoluteTarget(size_t scheme_bytes) {
  RequestHead& head = head_;
  const std::string_view rest = head.target().substr(scheme_bytes);
  const size_t authority_bytes = std::min(rest.find_first_of("/?"), rest.size());
  head.is_absolute_ = true;
  head.authority_offset_ = head.target_offset_ + static_cast<uint32_t>(scheme_bytes);
  head.authority_length_ = static_cast<uint32_t>(authority_bytes);
  if (!ReadAuthority(head.authority()) || head.host_length_ == 0) return ParseError::kTarget;
  SplitQuery(head.authority_offset_ + head.authority_length_,
             static_cast<uint32_t>(rest.size() - authority_bytes));
  return ParseError::kNone;
}

void HeadAnalysis::SplitQuery(uint32_t offset, uint32_t length) {
  RequestHead& head = head_;
  const std::string_view text = head.View(offset, length);
  const size_t mark = text.find('?');
  head.path_offset_ = offset;
  head.has_query_ = mark != std::string_view::npos;
  if (head.has_query_) {
    head.path_length_ = static_cast<uint32_t>(mark);
    head.query_offset_ = offset + static_cast<uint32_t>(mark) + 1;
    head.query_length_ = length - static_cast<uint32_t>(mark) - 1;
  } else {
    head.path_length_ = length;
    head.query_offset_ = offset + length;
    head.query_length_ = 0;
  }
}

// Fields...

ParseError HeadAnalysis::Fields() {
  RequestHead& head = head_;
  for (uint64_t& word : head.present_) word = 0;
  head.content_length_ = 0;
  ParseError error = ParseError::kNone;
  for (uint32_t i = 0; i < head.field_count_; ++i) {
    HeaderField& field = head.fields_[i];
    const char* const value = head.base_ + field.value_offset;
    while (field.value_length > 0 &&
           (value[field.value_length - 1] == ' ' || value[field.value_length - 1] == '\t')) {
      --field.value_length;
    }
    field.id = FindHeaderId(head.name(i));
    const auto bit = static_cast<size_t>(field.id);
    head.present_[bit / 64] |= uint64_t{1} << (bit % 64);
    switch (field.id) {
      case HeaderId::kHost:
        if (has_host_) return ParseError::kHostRepeated;
        has_host_ = true;
        host_field_ = head.value(i);
        if (!head.is_absolute_) {
          head.authority_offset_ = field.value_offset;
          head.authority_length_ = field.value_length;
        }
        break;
      case HeaderId::kContentLength:
        error = ContentLength(head.value(i));
        break;
      case HeaderId::kTransferEncoding:
        error = TransferEncoding(head.value(i));
        break;
      case HeaderId::kConnection:
        close_ = close_ || ListHas(head.value(i), "close");
        stays_ = stays_ || ListHas(head.value(i), "keep-alive");
        connection_upgrade_ = connection_upgrade_ || ListHas(head.value(i), "upgrade");
        break;
      case HeaderId::kExpect:
        if (!EqualsLower(head.value(i), "100-continue")) error = ParseError::kExpectation;
        expects_ = true;
        break;
      default:
        break;
    }
    if (error != ParseError::kNone) return error;
  }
  return ParseError::kNone;
}

ParseError HeadAnalysis::ContentLength(std::string_view value) {
  if (has_length_) return ParseError::kContentLength;
  has_length_ = true;
  return ParseDecimal(value, &head_.content_length_) ? ParseError::kNone
                                                     : ParseError::kContentLength;
}

ParseError HeadAnalysis::TransferEncoding(std::string_view value) {
  if (has_coding_) return ParseError::kTransferEncoding;
  has_coding_ = true;
  if (EqualsLower(value, "chunked")) return ParseError::kNone;
  // "gzip, chunked" is framed unmistakably, but a coding we do not have.
  ListItems items(value);
  std::string_view item;
  std::string_view last;
  size_t chunked = 0;
  while (items.Next(&item)) {
    last = item;
    chunked += EqualsLower(item, "chunked") ? 1 : 0;
  }
  const bool framed = chunked == 1 && EqualsLower(last, "chunked");
  return framed ? ParseError::kTransferCodingUnknown : ParseError::kTransferEncoding;
}

ParseError HeadAnalysis::Framing() {
  RequestHead& head = head_;
  const bool is_1_1 = head.minor_version_ == 1;
  if (has_coding_ && has_length_) return ParseError::kAmbiguousLength;
  if (has_coding_ && !is_1_1) return ParseError::kTransferEncoding;
  head.body_kind_ = has_coding_                ? BodyKind::kChunked
                    : head.content_length_ > 0 ? BodyKind::kLength
                                               : BodyKind::kNone;
  head.keep_alive_ = !close_ && (is_1_1 || stays_);
  head.expect_continue_ = expects_ && is_1_1 && head.has_body();
  head.wants_upgrade_ = is_1_1 && connection_upgrade_ && head.Has(HeaderId::kUpgrade);
  return ParseError::kNone;
}

ParseError HeadAnalysis::Host() {
  RequestHead& head = head_;
  if (!has_host_) {
    if (head.minor_version_ == 1) return ParseError::kHostMissing;
    if (!head.is_absolute_) {
      head.authority_offset_ = head.authority_length_ = 0;
      head.host_offset_ = head.host_length_ = head.port_ = 0;
      head.host_folded_ = false;
      return ParseError::kNone;
    }
  }
  if (head.is_absolute_) {
    // Whatever Host says, the target is whom it is for (RFC 9112 section 3.2.2).
    Authority field;
    if (has_host_ && !ParseAuthority(host_field_, &field)) return ParseError::kHostInvalid;
  } else if (!ReadAuthority(host_field_)) {
    return ParseError::kHostInvalid;
  }
  FoldHost();
  return ParseError::kNone;
}

bool HeadAnalysis::ReadAuthority(std::string_view text) {
  Authority authority;
  if (!ParseAuthority(text, &authority)) return false;
  if (authority.host.empty() && authority.port != 0) return false;
  head_.host_offset_ = head_.authority_offset_;
  head_.host_length_ = static_cast<uint16_t>(authority.host.size());
  head_.port_ = static_cast<uint16_t>(authority.port);
  return true;
}

void HeadAnalysis::FoldHost() {
  RequestHead& head = head_;
  head.host_folded_ = false;
  const std::string_view host = head.View(head.host_offset_, head.host_length_);
  bool folded = false;
  for (const char c : host) folded |= c >= 'A' && c <= 'Z';
  if (!folded) return;
  for (size_t i = 0; i < host.size(); ++i) head.lower_host_[i] = ToLower(host[i]);
  head.host_folded_ = true;
}

}  // namespace catzilla::http
