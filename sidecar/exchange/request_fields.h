// A request's fields and inputs as a REQUEST frame wants them: names in lower case, and the slot
// table of its route.
//
// Threads: the loop's.
// Owns:    the texts it had to make; views in the spec last as long as this object.
// Limits:  as the parser's fields; a list of values has at most what the query holds.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/config/snapshot.h"
#include "sidecar/exchange/context.h"
#include "sidecar/http/request_head.h"
#include "sidecar/origin/request.h"
#include "sidecar/route/path_template.h"

namespace catzilla::exchange {

class RequestFields {
 public:
  using Wanted = bool (*)(http::HeaderId);
  // `wanted`: which fields are passed on; null: all.
  enum class Connection : uint8_t { kCut, kKept };
  // `connection`: whether fields that belong to the connection are passed on.
  explicit RequestFields(const http::RequestHead& request, Wanted wanted = nullptr,
                         Connection connection = Connection::kCut);

  // One more; `name` in lower case, both borrowed.
  void Add(std::string_view name, std::string_view value) { fields_.push_back({name, value}); }

  // A copy that lasts as long as this object.
  std::string_view Keep(std::string_view text);

  std::span<const http::Field> fields() const { return fields_; }

  // Finds the value of each input that the route registered; says in spec->flags if the query is
  // not UTF-8. `captures` are the path's parameters in the template's order.
  void FillSlots(const RouteTarget& target, std::string_view path,
                 std::span<const route::Capture> captures, origin::RequestSpec* spec);

 private:
  using Values = std::vector<std::string_view>;

  void SplitQuery(origin::RequestSpec* spec);
  void SplitCookies();
  void Collect(const config::Input& input, const RouteTarget& target, std::string_view path,
               std::span<const route::Capture> captures, Values* values) const;

  const http::RequestHead& request_;
  std::vector<http::Field> fields_;
  std::vector<std::unique_ptr<std::string>> texts_;
  std::vector<std::pair<std::string_view, std::string_view>> query_;    // Decoded.
  std::vector<std::pair<std::string_view, std::string_view>> cookies_;  // Raw.
  std::vector<origin::SlotValue> slots_;
  std::vector<Values> lists_;
  bool query_usable_ = true;
};

// Fields that belong to a connection, not to an answer: they are not passed on (RFC 9110
// section 7.6.1).
bool IsConnectionField(std::string_view lower_name);

}  // namespace catzilla::exchange
