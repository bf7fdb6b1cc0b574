#include "sidecar/schema/reflect.h"

#include <charconv>
#include <cstdio>

namespace catzilla::schema {

using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

namespace {

// An integer of YAML 1.2's core schema: [-+]? digits, 0o octal or 0x hexadecimal.
template <typename T>
bool ParseNumber(std::string_view text, T* out) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0o")) {
    base = text[1] == 'x' ? 16 : 8;
    text.remove_prefix(2);
    if (text.starts_with('-')) return false;
  } else if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return false;
  } else if (text.starts_with('-') && text.find_first_not_of('0', 1) == std::string_view::npos) {
    text.remove_prefix(1);  // -0 is a number, of unsigned fields as well.
  }
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, *out, base);
  return result.ec == std::errc() && result.ptr == end;
}

// The core schema's booleans; "yes", "no", "on" and "off" are plain text there.
bool ParseBool(std::string_view text, bool* out) {
  *out = text == "true" || text == "True" || text == "TRUE";
  return *out || text == "false" || text == "False" || text == "FALSE";
}

std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::string List(const std::vector<std::string>& words) {
  std::string out;
  for (size_t i = 0; i < words.size(); ++i) {
    out += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + words[i];
  }
  return out;
}

std::string SetNumber(Message* message, const FieldDescriptor* field, const std::string& text) {
  const Reflection* reflection = message->GetReflection();
  const bool add = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT32: {
      uint32_t value = 0;
      if (!ParseNumber(text, &value)) return "expects a whole number from 0 to 4294967295";
      add ? reflection->AddUInt32(message, field, value)
          : reflection->SetUInt32(message, field, value);
      return "";
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      uint64_t value = 0;
      if (!ParseNumber(text, &value)) return "expects a whole number, 0 or more";
      add ? reflection->AddUInt64(message, field, value)
          : reflection->SetUInt64(message, field, value);
      return "";
    }
    case FieldDescriptor::CPPTYPE_INT64: {
      int64_t value = 0;
      if (!ParseNumber(text, &value)) return "expects a whole number";
      add ? reflection->AddInt64(message, field, value)
          : reflection->SetInt64(message, field, value);
      return "";
    }
    default:
      return "has a type that no configuration field has";
  }
}

}  // namespace

std::string EnumWord(const EnumValueDescriptor* value) {
  // SYMLINKS_INSIDE of enum Symlinks: the type's name in capitals, with underscores, is the prefix.
  const std::string& zero = value->type()->FindValueByNumber(0)->name();
  const size_t prefix = zero.size() - std::string_view("UNSPECIFIED").size();
  return Lower(value->name().substr(prefix));
}

std::vector<std::string> EnumWords(const EnumDescriptor* type) {
  std::vector<std::string> words;
  for (int i = 0; i < type->value_count(); ++i) {
    if (type->value(i)->number() != 0) words.push_back(EnumWord(type->value(i)));
  }
  return words;
}

std::string SetScalar(Message* message, const FieldDescriptor* field, const std::string& text) {
  const Reflection* reflection = message->GetReflection();
  const bool add = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      add ? reflection->AddString(message, field, text)
          : reflection->SetString(message, field, text);
      return "";
    case FieldDescriptor::CPPTYPE_BOOL: {
      bool value = false;
      if (!ParseBool(text, &value)) return "expects true or false";
      add ? reflection->AddBool(message, field, value) : reflection->SetBool(message, field, value);
      return "";
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      const EnumDescriptor* type = field->enum_type();
      for (int i = 0; i < type->value_count(); ++i) {
        const EnumValueDescriptor* value = type->value(i);
        if (value->number() == 0 || (EnumWord(value) != text && value->name() != text)) continue;
        add ? reflection->AddEnum(message, field, value)
            : reflection->SetEnum(message, field, value);
        return "";
      }
      return "expects " + List(EnumWords(type));
    }
    default:
      return SetNumber(message, field, text);
  }
}

std::string ScalarText(const Message& message, const FieldDescriptor* field, int index) {
  const Reflection* reflection = message.GetReflection();
  const bool element = index >= 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string scratch;
      return element ? reflection->GetRepeatedStringReference(message, field, index, &scratch)
                     : reflection->GetStringReference(message, field, &scratch);
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      return (element ? reflection->GetRepeatedBool(message, field, index)
                      : reflection->GetBool(message, field))
                 ? "true"
                 : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumWord(element ? reflection->GetRepeatedEnum(message, field, index)
                              : reflection->GetEnum(message, field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return std::to_string(element ? reflection->GetRepeatedUInt32(message, field, index)
                                    : reflection->GetUInt32(message, field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return std::to_string(element ? reflection->GetRepeatedUInt64(message, field, index)
                                    : reflection->GetUInt64(message, field));
    case FieldDescriptor::CPPTYPE_INT64:
      return std::to_string(element ? reflection->GetRepeatedInt64(message, field, index)
                                    : reflection->GetInt64(message, field));
    default:
      return "";
  }
}

std::string QuoteYaml(const std::string& text) {
  bool plain = !text.empty() && text.size() < 200;
  bool only_number = true;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == '/' || c == '.' ||
                      (i > 0 && (c == '-' || c == '+' || c == '='));
    if (!word) plain = false;
    if ((c < '0' || c > '9') && c != '.' && c != 'e' && c != 'E' && c != 'x' && c != 'o' &&
        c != '_')
      only_number = false;
  }
  const std::string lower = Lower(text);
  for (const char* word :
       {"true", "false", "null", "yes", "no", "on", "off", "y", "n", ".inf", ".nan"}) {
    if (lower == word) plain = false;
  }
  if (plain && !only_number) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\x%02x", static_cast<unsigned char>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace catzilla::schema
