#include "control_client/text_fields.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <vector>

#include "sidecar/base/utf8.h"

namespace catzilla::control_client {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::optional<std::string> Find(const Message& message, const std::string& prefix);

// One value of a field: a string, or what may have strings in it.
std::optional<std::string> FindInValue(const Message& message, const FieldDescriptor& field,
                                       int index, const std::string& path) {
  const google::protobuf::Reflection& values = *message.GetReflection();
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    return Find(field.is_repeated() ? values.GetRepeatedMessage(message, &field, index)
                                    : values.GetMessage(message, &field),
                path + ".");
  }
  std::string scratch;
  const std::string& text =
      field.is_repeated() ? values.GetRepeatedStringReference(message, &field, index, &scratch)
                          : values.GetStringReference(message, &field, &scratch);
  if (base::FindInvalidUtf8(text) == std::string::npos) return std::nullopt;
  return path + " is not UTF-8: " + base::PercentSafe(text);
}

std::optional<std::string> Find(const Message& message, const std::string& prefix) {
  const google::protobuf::Reflection& values = *message.GetReflection();
  std::vector<const FieldDescriptor*> present;
  values.ListFields(message, &present);
  for (const FieldDescriptor* field : present) {
    // A map is a repeated message with a key and a value.
    if (field->type() != FieldDescriptor::TYPE_STRING &&
        field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      continue;
    }
    const std::string path = prefix + field->name();
    const int count = field->is_repeated() ? values.FieldSize(message, field) : 1;
    const bool ordered = field->is_repeated() && !field->is_map();
    for (int i = 0; i < count; ++i) {
      const std::string at = ordered ? path + "[" + std::to_string(i) + "]" : path;
      if (auto found = FindInValue(message, *field, i, at)) return found;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> FindTextNotUtf8(const Message& request) { return Find(request, ""); }

}  // namespace catzilla::control_client
