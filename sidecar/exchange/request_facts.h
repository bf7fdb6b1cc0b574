// What is worked out of a request once, and asked for by several: its decoded path, its client, the
// host as caches know it, its id.
//
// Threads: the loop's.
// Owns:    what it had to make; the rest is views into the request, made anew when that moves.
// Limits:  what a request has grown past kKeptBytes is given back when it ends.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sidecar/exchange/client_origin.h"
#include "sidecar/exchange/context.h"
#include "sidecar/http/request_head.h"

namespace catzilla::exchange {

class RequestFacts {
 public:
  // Longer ids are not the client's to choose: such a one is as none.
  static constexpr size_t kIdBytesMax = 128;

  RequestFacts() = default;
  RequestFacts(const RequestFacts&) = delete;
  RequestFacts& operator=(const RequestFacts&) = delete;

  // Borrows both until Reset().
  void Begin(http::RequestHead& request, const ClientFacts& client);
  void Reset();
  // Takes the request's bytes into own memory: they are in the loop's shared buffer until then.
  void Pin();

  // Decoded once, and cleaned of dot segments if set_path() said so.
  std::string_view path() const { return path_; }
  uint8_t path_flags() const { return path_flags_; }
  std::string_view DecodePath();
  void set_path(std::string_view path) { path_ = path; }  // In the request or in clean_storage().
  std::string& clean_storage() { return clean_; }

  const ClientOrigin& origin();
  // "http" or "https", as trusted proxies say.
  std::string_view scheme() { return origin().https ? "https" : "http"; }
  // As in a cache's key: lower case, with its port unless that is the scheme's own.
  std::string_view key_host();

  // The client's own, or what NameRequest() has made; empty: there is none.
  std::string_view id() const { return id_; }
  // The client's own id, if it has one of a length that is passed on, is id() from here on.
  void TakeId();
  // There is an id after this; answers from elsewhere are found by it.
  void NameRequest(Context& context);

 private:
  static constexpr size_t kKeptBytes = 1024;

  http::RequestHead* request_ = nullptr;
  const ClientFacts* client_ = nullptr;
  std::string_view path_;
  std::string decoded_;
  std::string clean_;
  uint8_t path_flags_ = 0;
  bool origin_known_ = false;
  ClientOrigin origin_;
  std::string key_host_;
  std::string id_;
};

}  // namespace catzilla::exchange
