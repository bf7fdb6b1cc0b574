#include "sidecar/exchange/request_fields.h"

#include <algorithm>

#include "sidecar/http/header_id.h"
#include "sidecar/http/target.h"
#include "sidecar/http/text.h"

namespace catzilla::exchange {

bool IsConnectionField(std::string_view name) { return http::IsHopByHop(http::FindHeaderId(name)); }

namespace {

// What a client may not make vanish by naming it in Connection: what proxies in front and the app's
// own guards rely on.
bool IsProtected(std::string_view name) {
  static constexpr std::string_view kNames[] = {"authorization", "content-length", "content-type",
                                                "cookie",        "forwarded",      "host",
                                                "x-request-id"};
  return http::EqualsLower(name.substr(0, 11), "x-forwarded") ||
         std::any_of(std::begin(kNames), std::end(kNames),
                     [&](std::string_view kept) { return http::EqualsLower(name, kept); });
}

// RFC 9110 section 7.6.1: what Connection names concerns this connection only.
bool IsNamedByConnection(const http::RequestHead& request, size_t i) {
  if (!request.Has(http::HeaderId::kConnection)) return false;
  bool named = false;
  request.ForEachItem(http::HeaderId::kConnection, [&](std::string_view name) {
    named = named || http::EqualsIgnoringCase(name, request.name(i));
  });
  return named && !IsProtected(request.name(i));
}

// Python's str.strip() of a latin-1 text, which Starlette reads cookies with: NEL and the no-break
// space are blank too. Other controls do not get through the parser.
constexpr bool IsBlank(char c) {
  const auto code = static_cast<unsigned char>(c);
  return code == ' ' || (code >= '\t' && code <= '\r') || (code >= 0x1c && code <= 0x1f) ||
         code == 0x85 || code == 0xa0;
}

std::string_view Strip(std::string_view text) {
  while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsBlank(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

RequestFields::RequestFields(const http::RequestHead& request, Wanted wanted, Connection connection)
    : request_(request) {
  const bool cut = connection == Connection::kCut;
  fields_.reserve(request.field_count());
  for (size_t i = 0; i < request.field_count(); ++i) {
    if (wanted != nullptr && !wanted(request.id(i))) continue;
    if (cut && (http::IsHopByHop(request.id(i)) || IsNamedByConnection(request, i))) continue;
    std::string_view name = request.name(i);
    if (request.id(i) != http::HeaderId::kOther) {
      name = http::HeaderName(request.id(i));
    } else if (std::any_of(name.begin(), name.end(), [](char c) { return c >= 'A' && c <= 'Z'; })) {
      std::string lower(name);
      std::transform(lower.begin(), lower.end(), lower.begin(), http::ToLower);
      name = Keep(lower);
    }
    // An absolute target says whom it is for, whatever Host says (RFC 9112 section 3.2.2).
    const bool by_target = request.id(i) == http::HeaderId::kHost && request.is_absolute();
    fields_.push_back({name, by_target ? request.authority() : request.value(i)});
  }
}

std::string_view RequestFields::Keep(std::string_view text) {
  return *texts_.emplace_back(std::make_unique<std::string>(text));
}

void RequestFields::SplitQuery(origin::RequestSpec* spec) {
  http::QueryPairs pairs(request_.query());
  std::string_view name;
  std::string_view value;
  std::string scratch;
  while (pairs.Next(&name, &value)) {
    const std::string_view decoded_name = Keep(http::DecodeFormText(name, scratch));
    const std::string_view decoded_value = Keep(http::DecodeFormText(value, scratch));
    query_.emplace_back(decoded_name, decoded_value);
  }
  if (!http::IsUtf8(request_.query())) {
    query_usable_ = false;
    spec->flags |= origin::kQueryNotUtf8;
  }
}

void RequestFields::SplitCookies() {
  request_.ForEach(http::HeaderId::kCookie, [&](std::string_view cookies) {
    while (!cookies.empty()) {
      const size_t end = std::min(cookies.find(';'), cookies.size());
      std::string_view cookie = Strip(cookies.substr(0, end));
      cookies.remove_prefix(std::min(end + 1, cookies.size()));
      const size_t equals = cookie.find('=');
      if (equals == std::string_view::npos) continue;
      cookies_.emplace_back(Strip(cookie.substr(0, equals)), Strip(cookie.substr(equals + 1)));
    }
  });
}

void RequestFields::Collect(const config::Input& input, const RouteTarget& target,
                            std::string_view path, std::span<const route::Capture> captures,
                            Values* values) const {
  switch (input.place) {
    case config::InputPlace::kPath: {
      const auto at = std::find(target.parameters.begin(), target.parameters.end(), input.name);
      const auto index = static_cast<size_t>(at - target.parameters.begin());
      if (index < captures.size()) {
        values->push_back(
            path.substr(captures[index].begin, captures[index].end - captures[index].begin));
      }
      return;
    }
    case config::InputPlace::kQuery:
      if (!query_usable_) return;
      for (const auto& [name, value] : query_) {
        if (name == input.name) values->push_back(value);
      }
      return;
    case config::InputPlace::kHeader:
      for (const http::Field& field : fields_) {
        if (field.name == input.name) values->push_back(field.value);
      }
      return;
    case config::InputPlace::kCookie:
      for (const auto& [name, value] : cookies_) {
        if (name == input.name) values->push_back(value);
      }
      return;
  }
}

void RequestFields::FillSlots(const RouteTarget& target, std::string_view path,
                              std::span<const route::Capture> captures, origin::RequestSpec* spec) {
  const config::Route& route = *target.config;
  if (route.inputs.empty()) return;
  const auto has = [&](config::InputPlace place) {
    return std::any_of(route.inputs.begin(), route.inputs.end(),
                       [&](const config::Input& input) { return input.place == place; });
  };
  if (has(config::InputPlace::kQuery)) SplitQuery(spec);
  if (has(config::InputPlace::kCookie)) SplitCookies();
  slots_.resize(route.inputs.size());
  lists_.resize(route.inputs.size());
  for (size_t i = 0; i < route.inputs.size(); ++i) {
    const config::Input& input = route.inputs[i];
    if (input.slot >= slots_.size()) continue;
    Values& values = lists_[i];
    Collect(input, target, path, captures, &values);
    origin::SlotValue& slot = slots_[input.slot];
    if (input.multi) {
      slot.kind =
          values.empty() ? origin::SlotValue::Kind::kAbsent : origin::SlotValue::Kind::kList;
      slot.list = values;
    } else if (!values.empty()) {
      slot.kind = origin::SlotValue::Kind::kValue;
      // FastAPI takes a header's first value, and the last one of a query or a cookie.
      slot.value = input.place == config::InputPlace::kHeader ? values.front() : values.back();
    }
  }
  spec->slots = slots_;
}

}  // namespace catzilla::exchange
