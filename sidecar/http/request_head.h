// A parsed and checked request head: what was asked, of whom, and how its body is framed.
//
// All texts are offsets from one base pointer, so that a head can move: it is born as views into
// the bytes that were just read (nothing is copied) and Pin() takes it into memory of its own when
// the request outlives that read.
//
// Threads: its loop's.
// Owns:    the bytes only after Pin() or when the head came in several reads. Accessors give views
//          that last until Pin(), the next request parsed into it, or the end of the bytes read.
// Limits:  kFieldsMax fields; bytes as the parser's HeadLimits.
// Fails:   never: the parser hands out only heads that passed every check (request_parser.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "sidecar/http/header_id.h"
#include "sidecar/http/list.h"
#include "sidecar/http/method.h"

namespace catzilla::http {

struct HeaderField {
  uint32_t name_offset;
  uint32_t name_length;
  uint32_t value_offset;
  uint32_t value_length;  // Without white space at either end.
  HeaderId id;
};

enum class BodyKind : uint8_t {
  kNone,    // No body; also Content-Length: 0.
  kLength,  // content_length() bytes, at least one.
  kChunked,
};

class RequestHead {
 public:
  static constexpr size_t kFieldsMax = 128;
  static constexpr size_t kHostBytesMax = 255;

  // Nothing is zeroed: the parser sets every member for each request.
  RequestHead() : fields_(new HeaderField[kFieldsMax + 1]) {}
  RequestHead(const RequestHead&) = delete;
  RequestHead& operator=(const RequestHead&) = delete;

  // The request line...
  Method method() const { return method_; }
  std::string_view method_text() const { return View(0, method_length_); }
  int minor_version() const { return minor_version_; }  // HTTP/1.0 or HTTP/1.1.
  std::string_view target() const { return View(target_offset_, target_length_); }  // As sent.
  // Still percent-encoded; begins with '/', but for OPTIONS * it is "*".
  std::string_view path() const {
    return path_length_ == 0 ? std::string_view("/") : View(path_offset_, path_length_);
  }
  bool has_query() const { return has_query_; }
  // What follows the '?', without it. "/a?" has an empty query.
  std::string_view query() const { return View(query_offset_, query_length_); }
  // The same with its '?'; empty without query.
  std::string_view query_with_mark() const {
    return has_query_ ? View(query_offset_ - 1, query_length_ + 1) : std::string_view();
  }
  bool is_asterisk() const { return is_asterisk_; }  // OPTIONS *
  bool is_absolute() const { return is_absolute_; }  // The target named the host itself.

  // Whom it was sent to: from an absolute target, else from Host. Empty if nobody said.
  // Lower case, without port; IPv6 literals keep their brackets.
  std::string_view host() const { return {HostData(), host_length_}; }
  uint16_t port() const { return port_; }  // 0: none was given.
  std::string_view authority() const { return View(authority_offset_, authority_length_); }

  // Fields, in the order they came...
  size_t field_count() const { return field_count_; }
  HeaderId id(size_t i) const { return fields_[i].id; }
  std::string_view name(size_t i) const {  // As sent, not in lower case.
    return View(fields_[i].name_offset, fields_[i].name_length);
  }
  std::string_view value(size_t i) const {
    return View(fields_[i].value_offset, fields_[i].value_length);
  }
  bool Has(HeaderId id) const {
    const auto bit = static_cast<size_t>(id);
    return (present_[bit / 64] >> (bit % 64) & 1) != 0;
  }
  // The first one's value. REQUIRES (all that take an id): id != kOther.
  std::optional<std::string_view> Find(HeaderId id) const;
  // The same by name, whatever its case, for names without id.
  std::optional<std::string_view> Find(std::string_view name) const;
  size_t Count(HeaderId id) const;

  // Calls visit(value) for each field of that name, in order.
  template <typename Visit>
  void ForEach(HeaderId id, Visit visit) const {
    if (!Has(id)) return;
    for (size_t i = 0; i < field_count_; ++i) {
      if (fields_[i].id == id) visit(value(i));
    }
  }
  // Calls visit(item) for each element of the list that all fields of that name make together.
  template <typename Visit>
  void ForEachItem(HeaderId id, Visit visit) const {
    ForEach(id, [&visit](std::string_view list) {
      ListItems items(list);
      std::string_view item;
      while (items.Next(&item)) visit(item);
    });
  }
  // Whether one of the elements is `lower` (given in lower case), whatever its case there.
  bool ListHasItem(HeaderId id, std::string_view lower) const;

  // The body and the connection...
  BodyKind body_kind() const { return body_kind_; }
  bool has_body() const { return body_kind_ != BodyKind::kNone; }
  uint64_t content_length() const { return content_length_; }  // 0 unless kLength.
  bool keep_alive() const { return keep_alive_; }              // The client's wish.
  bool expect_continue() const { return expect_continue_; }    // 1.1 with a body only.
  bool wants_upgrade() const { return wants_upgrade_; }        // Upgrade, and Connection: upgrade.

  // The whole head with its empty line.
  std::string_view bytes() const { return {base_, length_}; }

  // Copies the bytes into own memory, unless they are there already. Idempotent.
  void Pin();
  bool pinned() const { return base_ == owned_.get(); }
  // Lets go of what it has set aside for other requests: this one stays for long. Idempotent.
  void Compact();

 private:
  friend class RequestParser;
  friend class HeadAnalysis;
  friend class HeadPool;

  std::string_view View(uint32_t offset, uint32_t length) const { return {base_ + offset, length}; }
  const char* HostData() const { return host_folded_ ? lower_host_ : base_ + host_offset_; }
  void Reserve(size_t bytes);  // Keeps the first `length_` owned bytes.

  const char* base_ = nullptr;
  uint32_t length_ = 0;
  uint32_t method_length_ = 0;
  uint32_t target_offset_ = 0;
  uint32_t target_length_ = 0;
  uint32_t path_offset_ = 0;
  uint32_t path_length_ = 0;
  uint32_t query_offset_ = 0;
  uint32_t query_length_ = 0;
  uint32_t authority_offset_ = 0;
  uint32_t authority_length_ = 0;
  uint32_t host_offset_ = 0;
  uint16_t host_length_ = 0;
  uint16_t port_ = 0;
  Method method_ = Method::kOther;
  uint8_t minor_version_ = 1;
  BodyKind body_kind_ = BodyKind::kNone;
  bool has_query_ = false;
  bool is_asterisk_ = false;
  bool is_absolute_ = false;
  bool host_folded_ = false;  // The host had capitals: its lower case is in lower_host_.
  bool keep_alive_ = false;
  bool expect_continue_ = false;
  bool wants_upgrade_ = false;
  uint64_t content_length_ = 0;
  uint64_t present_[4] = {};  // One bit per HeaderId.
  uint32_t field_count_ = 0;
  uint32_t owned_capacity_ = 0;
  std::unique_ptr<char[]> owned_;
  std::unique_ptr<HeaderField[]> fields_;  // One more than kFieldsMax: the one that is refused.
  bool compact_ = false;                   // No other request fits in.
  char lower_host_[kHostBytesMax];
};

}  // namespace catzilla::http
