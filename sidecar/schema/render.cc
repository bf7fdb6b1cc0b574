#include "sidecar/schema/render.h"

#include <algorithm>
#include <map>
#include <vector>

#include "sidecar/schema/reflect.h"

namespace catzilla::schema {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

void Render(const Message& message, const std::string& indent, std::string* out);

void RenderMap(const Message& message, const FieldDescriptor* field, const std::string& indent,
               std::string* out) {
  const Reflection* reflection = message.GetReflection();
  std::map<std::string, std::string> pairs;
  for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
    const Message& pair = reflection->GetRepeatedMessage(message, field, i);
    pairs[ScalarText(pair, field->message_type()->FindFieldByNumber(1))] =
        ScalarText(pair, field->message_type()->FindFieldByNumber(2));
  }
  *out += indent + field->name() + ":\n";
  for (const auto& [key, value] : pairs) {
    *out += indent + "  " + QuoteYaml(key) + ": " + QuoteYaml(value) + "\n";
  }
}

std::string Scalar(const Message& message, const FieldDescriptor* field, int index = -1) {
  const std::string text = ScalarText(message, field, index);
  return field->cpp_type() == FieldDescriptor::CPPTYPE_STRING ? QuoteYaml(text) : text;
}

void RenderList(const Message& message, const FieldDescriptor* field, const std::string& indent,
                std::string* out) {
  const Reflection* reflection = message.GetReflection();
  const int size = reflection->FieldSize(message, field);
  if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
    *out += indent + field->name() + ": [";
    for (int i = 0; i < size; ++i) *out += (i == 0 ? "" : ", ") + Scalar(message, field, i);
    *out += "]\n";
    return;
  }
  *out += indent + field->name() + ":\n";
  for (int i = 0; i < size; ++i) {
    std::string element;
    Render(reflection->GetRepeatedMessage(message, field, i), indent + "    ", &element);
    if (element.empty()) {
      *out += indent + "  - {}\n";
      continue;
    }
    element.replace(indent.size(), 4, "  - ");
    *out += element;
  }
}

void Render(const Message& message, const std::string& indent, std::string* out) {
  const Reflection* reflection = message.GetReflection();
  const auto* descriptor = message.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    if (field->is_repeated()) {
      if (reflection->FieldSize(message, field) == 0) continue;
      field->is_map() ? RenderMap(message, field, indent, out)
                      : RenderList(message, field, indent, out);
    } else if (!reflection->HasField(message, field)) {
      continue;
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      std::string block;
      Render(reflection->GetMessage(message, field), indent + "  ", &block);
      *out += indent + field->name() + (block.empty() ? ": {}\n" : ":\n" + block);
    } else {
      *out += indent + field->name() + ": " + Scalar(message, field) + "\n";
    }
  }
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

using Parts = std::vector<std::pair<std::string, std::string>>;  // Heading -> text, in order.

// One part per resource, one per other block, one for the scalars of the top.
Parts Split(const config::v1::Config& config) {
  Parts parts;
  config::v1::Config top;
  const Reflection* reflection = config.GetReflection();
  const auto* descriptor = config.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      if (reflection->HasField(config, field)) SetScalar(&top, field, ScalarText(config, field));
      continue;
    }
    if (!field->is_repeated()) {
      if (!reflection->HasField(config, field)) continue;
      parts.emplace_back(field->name(), RenderYaml(reflection->GetMessage(config, field)));
      continue;
    }
    const FieldDescriptor* name = field->message_type()->FindFieldByName("name");
    for (int n = 0; n < reflection->FieldSize(config, field); ++n) {
      const Message& resource = reflection->GetRepeatedMessage(config, field, n);
      parts.emplace_back(field->name() + "[" + ScalarText(resource, name) + "]",
                         RenderYaml(resource));
    }
  }
  parts.insert(parts.begin(), {"", RenderYaml(top)});
  return parts;
}

// The lines of both, longest common subsequence kept. Resources are small.
void DiffLines(const std::vector<std::string>& from, const std::vector<std::string>& to,
               std::string* out) {
  std::vector<std::vector<uint32_t>> common(from.size() + 1,
                                            std::vector<uint32_t>(to.size() + 1, 0));
  for (size_t i = from.size(); i-- > 0;) {
    for (size_t j = to.size(); j-- > 0;) {
      common[i][j] = from[i] == to[j] ? common[i + 1][j + 1] + 1
                                      : std::max(common[i + 1][j], common[i][j + 1]);
    }
  }
  size_t i = 0;
  size_t j = 0;
  while (i < from.size() || j < to.size()) {
    if (i < from.size() && j < to.size() && from[i] == to[j]) {
      ++i;  // The heading says where we are; what is the same would only hide the rest.
      ++j;
    } else if (j == to.size() || (i < from.size() && common[i + 1][j] >= common[i][j + 1])) {
      *out += "-   " + from[i++] + "\n";
    } else {
      *out += "+   " + to[j++] + "\n";
    }
  }
}

}  // namespace

std::string RenderYaml(const Message& message) {
  std::string out;
  Render(message, "", &out);
  return out;
}

std::string DiffConfigs(const config::v1::Config& from, const config::v1::Config& to) {
  const Parts old_parts = Split(from);
  const Parts new_parts = Split(to);
  std::map<std::string, const std::string*> old_by_heading;
  std::map<std::string, const std::string*> new_by_heading;
  for (const auto& [heading, text] : old_parts) old_by_heading[heading] = &text;
  for (const auto& [heading, text] : new_parts) new_by_heading[heading] = &text;
  std::string out;
  const auto emit = [&](const std::string& heading, const std::string& old_text,
                        const std::string& new_text) {
    if (old_text == new_text) return;
    const char mark = old_text.empty() && !heading.empty()   ? '+'
                      : new_text.empty() && !heading.empty() ? '-'
                                                             : ' ';
    if (!heading.empty()) out += std::string(1, mark) + " " + heading + "\n";
    DiffLines(Lines(old_text), Lines(new_text), &out);
  };
  for (const auto& [heading, text] : old_parts) {
    const auto found = new_by_heading.find(heading);
    emit(heading, text, found == new_by_heading.end() ? "" : *found->second);
  }
  for (const auto& [heading, text] : new_parts) {
    if (!old_by_heading.contains(heading)) emit(heading, "", text);
  }
  return out;
}

}  // namespace catzilla::schema
