// Scalars of protobuf messages by reflection: set from text, read as text.
//
// The one place that knows how a field's value is written, for the YAML walk, the defaults, the
// renderer and `--set`. Pure; any thread.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <string_view>
#include <vector>

namespace catzilla::schema {

// Sets (or, for a repeated field, adds) `text`. Returns what is wrong with it, empty if nothing.
// REQUIRES: `field` is no message.
std::string SetScalar(google::protobuf::Message* message,
                      const google::protobuf::FieldDescriptor* field, const std::string& text);

// The value as one would write it; `index` >= 0 for an element of a repeated field.
std::string ScalarText(const google::protobuf::Message& message,
                       const google::protobuf::FieldDescriptor* field, int index = -1);

// "inside" for SYMLINKS_INSIDE.
std::string EnumWord(const google::protobuf::EnumValueDescriptor* value);
std::vector<std::string> EnumWords(const google::protobuf::EnumDescriptor* type);

// "30s" must be quoted as little as possible, but "true", "8080" and "a: b" must be when they are
// text.
std::string QuoteYaml(const std::string& text);

}  // namespace catzilla::schema
