#include "sidecar/cache/key.h"

#include <algorithm>
#include <array>

#include "sidecar/base/sip_hash.h"
#include "sidecar/http/accept_encoding.h"

namespace catzilla::cache {
namespace {

std::string_view NameOf(std::string_view parameter) {
  return parameter.substr(0, parameter.find('='));
}

bool Contains(std::span<const std::string> names, std::string_view name) {
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& other) { return other == name; });
}

bool InKey(std::string_view parameter, const KeyPolicy& policy) {
  const std::string_view name = NameOf(parameter);
  if (!policy.query_allow.empty() && !Contains(policy.query_allow, name)) return false;
  return !Contains(policy.query_deny, name);
}

// As sent, or sorted by name; several values of one name keep their order, for it may mean
// something.
void AppendQuery(std::string_view query, const KeyPolicy& policy, std::string* text) {
  std::array<std::string_view, kParametersMax> parameters;
  size_t count = 0;
  bool too_many = false;
  for (size_t begin = 0; begin < query.size();) {
    const size_t end = std::min(query.find('&', begin), query.size());
    const std::string_view parameter = query.substr(begin, end - begin);
    begin = end + 1;
    if (parameter.empty() || !InKey(parameter, policy)) continue;
    if (count == kParametersMax) {
      too_many = true;
      break;
    }
    parameters[count++] = parameter;
  }
  if (too_many) {
    text->append("?").append(query);
    return;
  }
  // Insertion sort: stable, in place, and the common case is already sorted.
  for (size_t i = 1; policy.query_sort && i < count; ++i) {
    for (size_t j = i; j > 0 && NameOf(parameters[j]) < NameOf(parameters[j - 1]); --j) {
      std::swap(parameters[j], parameters[j - 1]);
    }
  }
  for (size_t i = 0; i < count; ++i) text->append(i == 0 ? "?" : "&").append(parameters[i]);
}

}  // namespace

uint64_t HashKey(std::string_view text, const HashSeed& seed) {
  return base::SipHash<1, 3>(text, seed);
}

void BuildKey(const KeyParts& parts, const KeyPolicy& policy, const HashSeed& seed, CacheKey* key) {
  std::string& text = key->text;
  text.clear();
  text.append(parts.scheme).append("://").append(parts.host).append(parts.path);
  if (!policy.ignore_query && !parts.query.empty()) AppendQuery(parts.query, policy, &text);
  key->hash = HashKey(text, seed);
}

void BuildKey(const RequestView& request, const KeyPolicy& policy, const HashSeed& seed,
              CacheKey* key) {
  const http::RequestHead& head = request.head;
  BuildKey({request.scheme, request.host, head.path(), head.query()}, policy, seed, key);
}

KeyParts SplitKey(std::string_view text) {
  KeyParts parts;
  const size_t colon = text.find("://");
  if (colon != std::string_view::npos) {
    parts.scheme = text.substr(0, colon);
    text.remove_prefix(colon + 3);
  }
  const size_t slash = std::min(text.find('/'), text.size());
  parts.host = text.substr(0, slash);
  text.remove_prefix(slash);
  const size_t mark = text.find('?');
  parts.path = text.substr(0, mark);
  if (mark != std::string_view::npos) parts.query = text.substr(mark + 1);
  return parts;
}

// Secondary keys...

namespace {

// Writes behind one another into a fixed buffer; remembers that something did not fit.
class Writer {
 public:
  explicit Writer(std::span<char> out) : out_(out) {}
  void Append(std::string_view text) {
    if (text.size() > out_.size() - size_) {
      overflow_ = true;
      return;
    }
    std::memcpy(out_.data() + size_, text.data(), text.size());
    size_ += text.size();
  }
  void AppendLower(std::string_view text) {
    const size_t begin = size_;
    Append(text);
    for (size_t i = begin; i < size_; ++i) out_[i] = http::ToLower(out_[i]);
  }
  bool overflow() const { return overflow_; }
  std::string_view text() const { return {out_.data(), size_}; }

 private:
  std::span<char> out_;
  size_t size_ = 0;
  bool overflow_ = false;
};

struct Coding {
  std::string_view name;
  bool refused = false;
};

bool CodingLess(const Coding& a, const Coding& b) {
  return std::lexicographical_compare(
      a.name.begin(), a.name.end(), b.name.begin(), b.name.end(),
      [](char x, char y) { return http::ToLower(x) < http::ToLower(y); });
}

// Which codings a client takes, whatever their order and weights: "br;q=0.9, gzip" = "gzip,br".
// Of refused ones only identity and * change what may be sent.
void WriteAcceptEncoding(const http::RequestHead& request, Writer* writer) {
  std::array<Coding, 32> codings;
  size_t count = 0;
  bool too_many = false;
  request.ForEachItem(http::HeaderId::kAcceptEncoding, [&](std::string_view element) {
    const size_t semicolon = element.find(';');
    Coding coding;
    coding.name = http::Trim(element.substr(0, semicolon));
    if (semicolon != std::string_view::npos) {
      coding.refused = http::ParseQuality(element.substr(semicolon + 1)) == 0;
    }
    const bool is_identity = http::EqualsLower(coding.name, "identity");
    if (coding.refused && coding.name != "*" && !is_identity) return;
    if (!coding.refused && is_identity) return;  // As by default.
    if (count == codings.size()) {
      too_many = true;
      return;
    }
    codings[count++] = coding;
  });
  if (!request.Has(http::HeaderId::kAcceptEncoding)) {
    writer->Append("\x01");  // No field is not the same as an empty one.
    return;
  }
  if (too_many) {
    request.ForEach(http::HeaderId::kAcceptEncoding,
                    [&](std::string_view value) { writer->Append(value); });
    return;
  }
  std::sort(codings.begin(), codings.begin() + static_cast<std::ptrdiff_t>(count), CodingLess);
  for (size_t i = 0; i < count; ++i) {
    if (i != 0) writer->Append(",");
    if (codings[i].refused) writer->Append("!");
    writer->AppendLower(codings[i].name);
  }
}

void AppendLength(size_t length, std::string* out) {
  out->push_back(static_cast<char>(length & 0xff));
  out->push_back(static_cast<char>(length >> 8 & 0xff));
}

// Takes one length-prefixed string from the front. REQUIRES: written by EncodeVary().
std::string_view TakeString(std::string_view* encoded) {
  const size_t length = static_cast<uint8_t>((*encoded)[0]) |
                        static_cast<size_t>(static_cast<uint8_t>((*encoded)[1])) << 8;
  const std::string_view text = encoded->substr(2, length);
  encoded->remove_prefix(2 + length);
  return text;
}

}  // namespace

std::optional<std::string_view> VaryValue(const http::RequestHead& request, std::string_view name,
                                          std::span<char, kVaryValueBytesMax> out) {
  Writer writer(out);
  if (http::EqualsLower(name, "accept-encoding")) {
    WriteAcceptEncoding(request, &writer);
  } else {
    bool first = true;
    for (size_t i = 0; i < request.field_count(); ++i) {
      if (!http::EqualsIgnoringCase(request.name(i), name)) continue;
      if (!first) writer.Append(", ");
      first = false;
      writer.Append(request.value(i));
    }
    if (first) writer.Append("\x01");
  }
  if (writer.overflow()) return std::nullopt;
  return writer.text();
}

std::optional<std::string> EncodeVary(Fields response, const http::RequestHead& request) {
  std::string encoded;
  std::array<char, kVaryValueBytesMax> buffer;
  size_t names = 0;
  bool ok = true;
  ForEachElement(response, "vary", [&](std::string_view name) {
    if (name == "*" || ++names > kVaryNamesMax || name.size() > 256) {
      ok = false;
      return;
    }
    const std::optional<std::string_view> value = VaryValue(request, name, buffer);
    if (!value) {
      ok = false;
      return;
    }
    AppendLength(name.size(), &encoded);
    encoded.append(name);
    AppendLength(value->size(), &encoded);
    encoded.append(*value);
  });
  if (!ok) return std::nullopt;
  return encoded;
}

bool SameVaryNames(std::string_view encoded, std::string_view other) {
  while (!encoded.empty() && !other.empty()) {
    if (!http::EqualsIgnoringCase(TakeString(&encoded), TakeString(&other))) return false;
    TakeString(&encoded);
    TakeString(&other);
  }
  return encoded.empty() && other.empty();
}

std::vector<std::pair<std::string, std::string>> VaryFields(std::string_view encoded) {
  std::vector<std::pair<std::string, std::string>> fields;
  while (!encoded.empty()) {
    const std::string_view name = TakeString(&encoded);
    const std::string_view value = TakeString(&encoded);
    fields.emplace_back(name, value == "\x01" ? "(absent)" : value);
  }
  return fields;
}

bool MatchesVary(std::string_view encoded, const http::RequestHead& request) {
  while (!encoded.empty()) {
    const std::string_view name = TakeString(&encoded);
    const std::string_view stored = TakeString(&encoded);
    std::array<char, kVaryValueBytesMax> buffer;
    const std::optional<std::string_view> value = VaryValue(request, name, buffer);
    if (!value || *value != stored) return false;
  }
  return true;
}

}  // namespace catzilla::cache
