// What a head means, found in one pass over its fields once all of it is there; and all that must
// be refused although its syntax is right. Private to this room: RequestParser calls it.
#pragma once

#include <cstdint>
#include <string_view>

#include "sidecar/http/request_parser.h"

namespace catzilla::http {

class HeadAnalysis {
 public:
  explicit HeadAnalysis(RequestHead& head) : head_(head) {}

  // REQUIRES: base_, length_, the target's span and the fields' spans are set. Sets the rest.
  ParseError Run();

 private:
  ParseError RequestLine();
  ParseError Target();
  ParseError AbsoluteTarget(size_t scheme_bytes);
  void SplitQuery(uint32_t offset, uint32_t length);
  ParseError Fields();
  ParseError ContentLength(std::string_view value);
  ParseError TransferEncoding(std::string_view value);
  ParseError Framing();
  ParseError Host();
  // The host of `authority_*` into host_*; false: it is none.
  bool ReadAuthority(std::string_view text);
  void FoldHost();

  RequestHead& head_;
  uint16_t default_port_ = 80;
  std::string_view host_field_;
  bool has_host_ = false;
  bool has_length_ = false;
  bool has_coding_ = false;
  bool close_ = false;
  bool stays_ = false;
  bool connection_upgrade_ = false;
  bool expects_ = false;
};

}  // namespace catzilla::http
