#include "sidecar/exchange/request_facts.h"

#include <charconv>

#include "sidecar/http/target.h"

namespace catzilla::exchange {

void RequestFacts::Begin(http::RequestHead& request, const ClientFacts& client) {
  request_ = &request;
  client_ = &client;
}

void RequestFacts::Reset() {
  for (std::string* text : {&decoded_, &clean_, &key_host_, &id_}) {
    if (text->capacity() > kKeptBytes) std::string().swap(*text);
    text->clear();
  }
  origin_known_ = false;
}

void RequestFacts::Pin() {
  if (request_->pinned()) return;
  const std::string_view raw = request_->path();
  const bool in_request = path_.data() >= raw.data() && path_.data() <= raw.data() + raw.size();
  request_->Pin();
  if (in_request) path_ = request_->path();
}

std::string_view RequestFacts::DecodePath() {
  const http::DecodedPath decoded = http::DecodePath(request_->path(), decoded_);
  path_ = decoded.path;
  path_flags_ = decoded.flags;
  return path_;
}

const ClientOrigin& RequestFacts::origin() {
  if (!origin_known_) origin_ = FindOrigin(*request_, *client_);
  origin_known_ = true;
  return origin_;
}

std::string_view RequestFacts::key_host() {
  if (!key_host_.empty()) return key_host_;
  key_host_ = request_->host();
  const uint16_t own = origin().https ? 443 : 80;
  if (request_->port() != 0 && request_->port() != own) {
    char digits[8];
    const auto [end, error] = std::to_chars(digits, digits + sizeof(digits), request_->port());
    (key_host_ += ':').append(digits, end);
  }
  return key_host_;
}

void RequestFacts::TakeId() {
  if (!id_.empty()) return;
  const auto given = request_->Find("x-request-id");
  if (given.has_value() && given->size() <= kIdBytesMax) id_ = *given;
}

void RequestFacts::NameRequest(Context& context) {
  TakeId();
  if (!id_.empty()) return;
  static constexpr char kHex[] = "0123456789abcdef";
  uint64_t bits = context.NextRandom();
  for (int i = 0; i < 16; ++i, bits >>= 4) id_ += kHex[bits & 15];
}

}  // namespace catzilla::exchange
