#include "sidecar/schema/validate.h"

#include <arpa/inet.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include "sidecar/schema/fields.h"
#include "sidecar/schema/reflect.h"
#include "sidecar/schema/render.h"
#include "sidecar/schema/units.h"

namespace catzilla::schema {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Holds every set field against the table: form and bounds.
class Values {
 public:
  Values(uint64_t memory_limit_bytes, Diagnostics* diagnostics)
      : memory_limit_bytes_(memory_limit_bytes), diagnostics_(*diagnostics) {}

  void Check(const Message& message, const std::string& path) {
    const Reflection* reflection = message.GetReflection();
    for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor* field = message.GetDescriptor()->field(i);
      const std::string inner = path.empty() ? field->name() : path + "." + field->name();
      if (field->is_map()) continue;
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
        if (!field->is_repeated() && reflection->HasField(message, field)) {
          CheckScalar(ScalarText(message, field), inner);
        }
        continue;
      }
      if (!field->is_repeated()) {
        if (reflection->HasField(message, field))
          Check(reflection->GetMessage(message, field), inner);
        continue;
      }
      const FieldDescriptor* name = field->message_type()->FindFieldByName("name");
      for (int n = 0; n < reflection->FieldSize(message, field); ++n) {
        const Message& element = reflection->GetRepeatedMessage(message, field, n);
        const std::string key = name != nullptr && !ScalarText(element, name).empty()
                                    ? ScalarText(element, name)
                                    : std::to_string(n);
        Check(element, ResourcePath(inner, key));
      }
    }
  }

 private:
  void CheckScalar(const std::string& text, const std::string& path) {
    const Field* field = FindField(GenericPath(path));
    if (field == nullptr) return;
    uint64_t value = 0;
    if (field->kind == Kind::kDuration) {
      auto parsed = ParseDuration(text);
      if (!parsed) return Report(Code::kBadDuration, path, parsed.error(), "");
      value = static_cast<uint64_t>(*parsed);
    } else if (field->kind == Kind::kSize) {
      auto parsed = ParseSize(text, memory_limit_bytes_);
      if (!parsed) return Report(Code::kBadSize, path, parsed.error(), "");
      value = *parsed;
    } else if (field->kind == Kind::kCount) {
      value = std::strtoull(text.c_str(), nullptr, 10);
    } else {
      return;
    }
    if (field->max == 0 || (value >= field->min && value <= field->max)) return;
    const auto shown = [&](uint64_t bound) {
      if (field->kind == Kind::kDuration) return FormatDuration(static_cast<int64_t>(bound));
      return field->kind == Kind::kSize ? FormatSize(bound) : std::to_string(bound);
    };
    Report(Code::kOutOfRange, path, "is " + text,
           "allowed are " + shown(field->min) + " to " + shown(field->max));
  }

  void Report(Code code, const std::string& path, std::string message, std::string hint) {
    diagnostics_.push_back(
        {code, Severity::kError, path, 0, std::move(message), std::move(hint), ""});
  }

  const uint64_t memory_limit_bytes_;
  Diagnostics& diagnostics_;
};

// Finds what differs among the fields that are marked restart-required, block by block.
class LiveChange {
 public:
  LiveChange(bool refuse, Diagnostics* out) : refuse_(refuse), out_(*out) {}

  // `wanted` gets the running values of these fields.
  void Blocks(const Message& running, Message* wanted, const std::string& path) {
    const Reflection* reflection = running.GetReflection();
    for (int i = 0; i < running.GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor* field = running.GetDescriptor()->field(i);
      const std::string inner = path.empty() ? field->name() : path + "." + field->name();
      const Field* known = FindField(inner);
      if (known == nullptr) continue;
      const bool block =
          field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field->is_repeated();
      if (block && known->change == Change::kLive) {
        Blocks(reflection->GetMessage(running, field), reflection->MutableMessage(wanted, field),
               inner);
        continue;
      }
      if (known->change == Change::kLive || Same(running, *wanted, field)) continue;
      Tell(running, *wanted, field, inner);
      Keep(running, field, wanted);
    }
  }

 private:
  static bool Same(const Message& a, const Message& b, const FieldDescriptor* field) {
    google::protobuf::util::MessageDifferencer differ;
    const std::vector<const FieldDescriptor*> only = {field};
    return differ.CompareWithFields(a, b, only, only);
  }

  static void Keep(const Message& running, const FieldDescriptor* field, Message* wanted) {
    const std::unique_ptr<Message> copy(running.New());
    copy->CopyFrom(running);
    wanted->GetReflection()->SwapFields(wanted, copy.get(), {field});
  }

  // As deep as the difference lies.
  void Tell(const Message& running, const Message& wanted, const FieldDescriptor* field,
            const std::string& path) {
    const Reflection* reflection = running.GetReflection();
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      if (field->is_repeated()) return Add(path, "");
      const std::string now = ScalarText(running, field);
      const std::string then = ScalarText(wanted, field);
      return Add(path, then.empty()
                           ? ""
                           : " (" + (now.empty() ? "unset" : now) + "; " + then + " is wanted)");
    }
    if (!field->is_repeated()) {
      return TellInside(reflection->GetMessage(running, field),
                        reflection->GetMessage(wanted, field), path);
    }
    const FieldDescriptor* name = field->message_type()->FindFieldByName("name");
    if (name == nullptr) return Add(path, "");
    const auto named = [&](const Message& whole) {
      std::map<std::string, const Message*> found;
      for (int i = 0; i < reflection->FieldSize(whole, field); ++i) {
        const Message& element = reflection->GetRepeatedMessage(whole, field, i);
        found[ScalarText(element, name)] = &element;
      }
      return found;
    };
    const auto before = named(running);
    const auto after = named(wanted);
    const size_t told = out_.size();
    for (const auto& [key, element] : before) {
      const auto other = after.find(key);
      if (other == after.end()) {
        Add(ResourcePath(path, key), " (it is to go)");
      } else {
        TellInside(*element, *other->second, ResourcePath(path, key));
      }
    }
    for (const auto& [key, element] : after) {
      if (!before.contains(key)) Add(ResourcePath(path, key), " (it is new)");
    }
    if (out_.size() == told) Add(path, " (their order)");
  }

  void TellInside(const Message& running, const Message& wanted, const std::string& path) {
    for (int i = 0; i < running.GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor* field = running.GetDescriptor()->field(i);
      if (!Same(running, wanted, field)) Tell(running, wanted, field, path + "." + field->name());
    }
  }

  void Add(const std::string& path, const std::string& detail) {
    if (refuse_) {
      out_.push_back({Code::kRestartRequired, Severity::kError, path, 0,
                      "cannot change while the sidecar runs" + detail,
                      "restart it with this configuration, or keep the old value", ""});
      return;
    }
    out_.push_back({Code::kRestartRequired, Severity::kWarning, path, 0,
                    "stays as it is until the sidecar is restarted" + detail,
                    "the rest of the configuration is served", ""});
  }

  const bool refuse_;
  Diagnostics& out_;
};

}  // namespace

bool IsName(std::string_view text) {
  if (text.empty() || text.size() > 64) return false;
  for (const char c : text) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '_' || c == '-';
    if (!ok) return false;
  }
  return true;
}

bool IsToken(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    std::strchr("!#$%&'*+-.^_`|~", c) != nullptr;
    if (!ok || c == 0) return false;
  }
  return true;
}

bool IsFieldValue(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t') || byte == 0x7f) return false;
  }
  return text.empty() ||
         (text.front() != ' ' && text.front() != '\t' && text.back() != ' ' && text.back() != '\t');
}

bool ParseAddress(const std::string& text, uint8_t out[16], bool* is_v4) {
  in_addr v4{};
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) {
    std::memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    std::memcpy(out + 12, &v4, 4);
    *is_v4 = true;
    return true;
  }
  in6_addr v6{};
  if (inet_pton(AF_INET6, text.c_str(), &v6) != 1) return false;
  std::memcpy(out, &v6, 16);
  *is_v4 = false;
  return true;
}

bool ParseRange(const std::string& text, config::AddressRange* out) {
  const size_t slash = text.find('/');
  bool is_v4 = false;
  if (!ParseAddress(text.substr(0, slash), out->address, &is_v4)) return false;
  const unsigned long bits_max = is_v4 ? 32 : 128;
  unsigned long bits = bits_max;
  if (slash != std::string::npos) {
    const std::string digits = text.substr(slash + 1);
    if (digits.empty() || digits.size() > 3 ||
        digits.find_first_not_of("0123456789") != std::string::npos) {
      return false;
    }
    bits = std::strtoul(digits.c_str(), nullptr, 10);
    if (bits > bits_max) return false;
  }
  out->prefix_bits = static_cast<uint8_t>(is_v4 ? 96 + bits : bits);
  return true;
}

std::string WrongPrefix(std::string_view prefix) {
  if (prefix.empty() || prefix[0] != '/') return "does not begin with \"/\"";
  if (prefix.size() > 1024) return "is longer than 1024 bytes";
  if (prefix.find("//") != std::string_view::npos) return "has an empty segment (\"//\")";
  for (const char c : prefix) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) return "has a control character";
    if (c == '?' || c == '#') return "has a query or a fragment";
    if (c == '\\') return "has a backslash";
    if (c == '{' || c == '}') return "has a parameter, and mounts take none";
    if (c == '%') return "is percent-encoded; write it as it is when decoded";
  }
  for (size_t begin = 1; begin <= prefix.size();) {
    const size_t end = std::min(prefix.find('/', begin), prefix.size());
    const std::string_view segment = prefix.substr(begin, end - begin);
    if (segment == "." || segment == "..") return "has a \".\" or \"..\" segment";
    begin = end + 1;
  }
  return "";
}

bool PrefixHolds(std::string_view prefix, std::string_view path) {
  if (prefix == "/") return true;
  return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}

void ValidateValues(const Merged& merged, const ValidateContext& context,
                    Diagnostics* diagnostics) {
  Values(context.memory_limit_bytes, diagnostics).Check(merged.config, "");
}

namespace {

void ValidateServerName(const std::string& name, Diagnostics* diagnostics) {
  constexpr size_t kBytesMax = 256;
  if (IsFieldValue(name) && name.size() <= kBytesMax) return;
  diagnostics->push_back({Code::kBadHeader, Severity::kError, "server_name", 0,
                          "has control characters, spaces at an end or more than 256 bytes",
                          "for example catzilla, or empty to send none", ""});
}

}  // namespace

void Validate(const Layers& layers, const Merged& merged, const ValidateContext& context,
              Diagnostics* diagnostics) {
  ValidateValues(merged, context, diagnostics);
  ValidateResources(merged, context, diagnostics);
  ValidateApps(layers, merged, diagnostics);
  ValidateServerName(merged.config.server_name(), diagnostics);
  if (diagnostics->size() <= kFindingsMax) return;
  // Errors first, so that what is cut is the least of it.
  std::stable_sort(
      diagnostics->begin(), diagnostics->end(),
      [](const Diagnostic& a, const Diagnostic& b) { return a.severity > b.severity; });
  const size_t more = diagnostics->size() - kFindingsMax;
  diagnostics->resize(kFindingsMax);
  diagnostics->push_back(
      {Code::kTooMany, Severity::kInfo, "", 0, std::to_string(more) + " more findings", "", ""});
}

void KeepRunning(const config::v1::Config& running, bool refuse, config::v1::Config* wanted,
                 Diagnostics* diagnostics) {
  LiveChange(refuse, diagnostics).Blocks(running, wanted, "");
}

}  // namespace catzilla::schema
