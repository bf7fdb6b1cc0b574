#include "sidecar/schema/yaml.h"

#include <google/protobuf/message.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "sidecar/base/utf8.h"
#include "sidecar/schema/fields.h"
#include "sidecar/schema/reflect.h"
#include "sidecar/schema/units.h"

namespace catzilla::schema {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::string Excerpt(const std::string& text) {
  std::string out = "\"";
  for (const char c : base::CutUtf8(text, 60))
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return out + (text.size() > 60 ? "…\"" : "\"");
}

std::string Describe(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Scalar:
      return Excerpt(node.Scalar());
    case YAML::NodeType::Sequence:
      return "a list";
    case YAML::NodeType::Map:
      return "a mapping";
    default:
      return "nothing";
  }
}

// yaml-cpp marks quoted scalars with the tag "!".
bool IsQuoted(const YAML::Node& node) { return node.Tag() == "!"; }

// Sees a document go by without keeping it: where it begins and whether anything is in it.
// (YAML::LoadAll() is no way to ask that: version 0.7 finds documents without end in some broken
// texts.)
class Glance : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override { mark_ = mark; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { See(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                const std::string&) override {
    See(mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    See(mark);
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    See(mark);
  }
  void OnMapEnd() override {}

  bool empty() const { return empty_; }
  uint32_t line() const { return static_cast<uint32_t>(mark_.line + 1); }

 private:
  void See(const YAML::Mark& mark) {
    if (empty_) mark_ = mark;
    empty_ = false;
  }
  YAML::Mark mark_;
  bool empty_ = true;
};

class Walk {
 public:
  Walk(const std::string& file, LineMap* lines, Diagnostics* diagnostics)
      : file_(file), lines_(*lines), diagnostics_(*diagnostics) {}

  void Document(const YAML::Node& node, Message* message) {
    if (!node.IsMap()) {
      Report(Code::kWrongType, node, "", "the document is " + Describe(node),
             "begin with a key such as mounts:");
      return;
    }
    ReadMap(node, message, "");
  }

 private:
  static uint32_t Line(const YAML::Node& node) {
    const YAML::Mark mark = node.Mark();
    return mark.is_null() ? 0 : static_cast<uint32_t>(mark.line + 1);
  }

  void Report(Code code, const YAML::Node& node, const std::string& path, std::string message,
              std::string hint = "") {
    if (diagnostics_.size() >= 1000) return;
    diagnostics_.push_back(
        {code, Severity::kError, path, Line(node), std::move(message), std::move(hint), file_});
  }

  // False when the document asks for more work than any honest one.
  bool Spend(const YAML::Node& node, const std::string& path) {
    if (++visited_ < kDocumentNodesMax) return true;
    if (visited_ == kDocumentNodesMax) {
      Report(Code::kDocumentTooLarge, node, path,
             "the document has more than " + std::to_string(kDocumentNodesMax) + " nodes",
             "split it, or use fewer aliases");
    }
    return false;
  }

  void ReadMap(const YAML::Node& node, Message* message, const std::string& path) {
    const Descriptor* descriptor = message->GetDescriptor();
    std::set<std::string> seen;
    for (const auto& entry : node) {
      if (!Spend(entry.first, path)) return;
      if (!entry.first.IsScalar()) {
        Report(Code::kWrongType, entry.first, path, "a key is " + Describe(entry.first),
               "keys are field names");
        continue;
      }
      const std::string& key = entry.first.Scalar();
      const std::string inner = path.empty() ? key : path + "." + key;
      const FieldDescriptor* field = descriptor->FindFieldByName(key);
      if (field == nullptr) {
        ReportUnknown(entry.first, descriptor, key, inner);
        continue;
      }
      if (!seen.insert(key).second) {
        Report(Code::kDuplicateKey, entry.first, inner, "\"" + key + "\" stands here a second time",
               "remove one of them");
        continue;
      }
      lines_.emplace(inner, Line(entry.first));
      ReadField(entry.second, entry.first, message, field, inner);
    }
  }

  void ReportUnknown(const YAML::Node& node, const Descriptor* descriptor, const std::string& key,
                     const std::string& path) {
    std::vector<std::string_view> names;
    std::string all;
    for (int i = 0; i < descriptor->field_count(); ++i) {
      names.push_back(descriptor->field(i)->name());
      all += (i == 0 ? "" : ", ") + descriptor->field(i)->name();
    }
    const std::string_view close = Closest(key, names);
    Report(
        Code::kUnknownField, node, path, "unknown field " + Excerpt(key),
        close.empty() ? "the fields here are " + all : "did you mean " + std::string(close) + "?");
  }

  void ReadField(const YAML::Node& node, const YAML::Node& key, Message* message,
                 const FieldDescriptor* field, const std::string& path) {
    if (field->is_map()) return ReadTextMap(node, key, message, field, path);
    if (field->is_repeated()) return ReadList(node, key, message, field, path);
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (node.IsNull()) return ReportNothing(key, path, "{}");
      if (!node.IsMap()) {
        Report(Code::kWrongType, node, path, "expects a block of fields, and is " + Describe(node));
        return;
      }
      return ReadMap(node, message->GetReflection()->MutableMessage(message, field), path);
    }
    ReadScalar(node, key, message, field, path);
  }

  // A file that was cut off, or half written, often ends in a key; its section must not vanish.
  void ReportNothing(const YAML::Node& key, const std::string& path, const std::string& empty) {
    Report(Code::kEmptyValue, key, path, "has no value",
           "write " + empty + " if it is meant to be empty, or remove the line");
  }

  void ReadList(const YAML::Node& node, const YAML::Node& key, Message* message,
                const FieldDescriptor* field, const std::string& path) {
    if (node.IsNull()) return ReportNothing(key, path, "[]");
    if (!node.IsSequence()) {
      Report(Code::kWrongType, node, path, "expects a list, and is " + Describe(node),
             field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE
                 ? "begin each entry with \"- name:\""
                 : "write [a, b] or one \"- a\" per line");
      return;
    }
    size_t index = 0;
    for (const YAML::Node& element : node) {
      if (!Spend(element, path)) return;
      const std::string numbered = path + "[" + std::to_string(index++) + "]";
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
        ReadScalar(element, key, message, field, numbered);
        continue;
      }
      if (!element.IsMap()) {
        Report(Code::kWrongType, element, numbered,
               "expects a block of fields, and is " + Describe(element));
        continue;
      }
      const std::string name = NameOf(element);
      const std::string inner = name.empty() ? numbered : path + "[" + name + "]";
      lines_.emplace(inner, Line(element));
      ReadMap(element, message->GetReflection()->AddMessage(message, field), inner);
    }
  }

  static std::string NameOf(const YAML::Node& node) {
    for (const auto& entry : node) {
      if (entry.first.IsScalar() && entry.first.Scalar() == "name" && entry.second.IsScalar() &&
          entry.second.Scalar().size() <= 64) {
        return entry.second.Scalar();
      }
    }
    return "";
  }

  void ReadTextMap(const YAML::Node& node, const YAML::Node& name, Message* message,
                   const FieldDescriptor* field, const std::string& path) {
    if (node.IsNull()) return ReportNothing(name, path, "{}");
    if (!node.IsMap()) {
      Report(Code::kWrongType, node, path,
             "expects a mapping of text to text, and is " + Describe(node));
      return;
    }
    const Descriptor* entry_type = field->message_type();
    std::set<std::string> seen;
    for (const auto& entry : node) {
      if (!Spend(entry.first, path)) return;
      if (!entry.first.IsScalar() || !entry.second.IsScalar()) {
        Report(Code::kWrongType, entry.first, path,
               "expects text, and is " +
                   Describe(entry.first.IsScalar() ? entry.second : entry.first));
        continue;
      }
      const std::string& key = entry.first.Scalar();
      const std::string inner = path + "[" + key + "]";
      if (!seen.insert(key).second) {
        Report(Code::kDuplicateKey, entry.first, inner, Excerpt(key) + " stands here a second time",
               "remove one of them");
        continue;
      }
      lines_.emplace(inner, Line(entry.first));
      Message* pair = message->GetReflection()->AddMessage(message, field);
      SetScalar(pair, entry_type->FindFieldByNumber(1), key);
      SetScalar(pair, entry_type->FindFieldByNumber(2), entry.second.Scalar());
    }
  }

  void ReadScalar(const YAML::Node& node, const YAML::Node& key, Message* message,
                  const FieldDescriptor* field, const std::string& path) {
    if (node.IsNull()) {
      Report(Code::kEmptyValue, key, path, "has no value", "give one, or remove the line");
      return;
    }
    if (!node.IsScalar()) {
      Report(Code::kWrongType, node, path,
             "expects " + Expected(field) + ", and is " + Describe(node));
      return;
    }
    const std::string& text = node.Scalar();
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_STRING &&
        field->cpp_type() != FieldDescriptor::CPPTYPE_ENUM && IsQuoted(node)) {
      Report(Code::kWrongType, node, path,
             "expects " + Expected(field) + ", and is the text " + Excerpt(text),
             "remove the quotes");
      return;
    }
    std::string wrong = SetScalar(message, field, text);
    if (wrong.empty()) return;
    const bool keyword = field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM;
    std::string hint;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL)
      hint = "yes, no, on and off are plain text in YAML 1.2";
    if (keyword) {
      const std::vector<std::string> words = EnumWords(field->enum_type());
      const std::string_view close = Closest(text, {words.begin(), words.end()});
      if (!close.empty()) hint = "did you mean " + std::string(close) + "?";
    }
    Report(keyword ? Code::kUnknownValue : Code::kWrongType, node, path,
           wrong + ", and is " + Excerpt(text), hint);
  }

  static std::string Expected(const FieldDescriptor* field) {
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_BOOL:
        return "true or false";
      case FieldDescriptor::CPPTYPE_STRING:
        return "text";
      case FieldDescriptor::CPPTYPE_ENUM:
        return "a keyword";
      default:
        return "a number";
    }
  }

  const std::string& file_;
  LineMap& lines_;
  Diagnostics& diagnostics_;
  size_t visited_ = 0;
};

}  // namespace

uint32_t FindLine(const LineMap& lines, std::string path) {
  for (;;) {
    const auto found = lines.find(path);
    if (found != lines.end()) return found->second;
    const size_t cut = path.find_last_of(".[");
    if (cut == std::string::npos) return 0;
    path.resize(cut);
  }
}

void ReadMessage(std::string_view text, const std::string& file, Message* message, LineMap* lines,
                 Diagnostics* diagnostics) {
  if (text.size() > kDocumentBytesMax) {
    diagnostics->push_back({Code::kDocumentTooLarge, Severity::kError, "", 0,
                            "the document has " + FormatSize(text.size()) + ", more than " +
                                FormatSize(kDocumentBytesMax),
                            "split it, or remove what is generated", file});
    return;
  }
  if (const size_t at = base::FindInvalidUtf8(text); at != std::string_view::npos) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(at), '\n');
    diagnostics->push_back({Code::kNotUtf8, Severity::kError, "", static_cast<uint32_t>(line),
                            "not UTF-8", "save the file as UTF-8", file});
    return;
  }
  // yaml-cpp throws; this is the one door through which it is met.
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    Glance first;
    Glance second;
    if (parser.HandleNextDocument(first) && parser.HandleNextDocument(second) && !second.empty()) {
      diagnostics->push_back({Code::kSyntax, Severity::kError, "", second.line(),
                              "the text goes on after its document has ended",
                              "indent this line, or remove a line \"---\" above it", file});
      return;
    }
    if (first.empty()) {
      // A save that has only begun, a disk that was full: never what serves nothing at all.
      diagnostics->push_back({Code::kEmptyDocument, Severity::kError, "", 0,
                              text.empty() ? "the document is empty" : "the document says nothing",
                              "write {} if an empty configuration is meant", file});
      return;
    }
    Walk(file, lines, diagnostics).Document(YAML::Load(std::string(text)), message);
  } catch (const YAML::Exception& error) {
    diagnostics->push_back({Code::kSyntax, Severity::kError, "",
                            error.mark.is_null() ? 0 : static_cast<uint32_t>(error.mark.line + 1),
                            error.msg,
                            "check indentation, quotes and brackets at and above this line", file});
  }
}

Document ReadDocument(std::string_view text, const std::string& file) {
  Document document;
  ReadMessage(text, file, &document.config, &document.lines, &document.diagnostics);
  return document;
}

void SetField(config::v1::Config* config, const std::string& path, const std::string& text,
              Diagnostics* diagnostics) {
  const auto refuse = [&](Code code, std::string message, std::string hint = "") {
    diagnostics->push_back(
        {code, Severity::kError, path, 0, std::move(message), std::move(hint), ""});
  };
  if (base::FindInvalidUtf8(text) != std::string_view::npos) {
    return refuse(Code::kNotUtf8, "is not UTF-8: " + base::PercentSafe(text));
  }
  Message* message = config;
  std::string rest = path;
  for (;;) {
    const size_t dot = rest.find('.');
    const std::string name = rest.substr(0, dot);
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(name);
    if (field == nullptr) {
      std::vector<std::string_view> names;
      for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
        names.push_back(message->GetDescriptor()->field(i)->name());
      }
      const std::string_view close = Closest(name, names);
      return refuse(Code::kUnknownField, "unknown field " + Excerpt(name),
                    close.empty() ? "" : "did you mean " + std::string(close) + "?");
    }
    const bool block = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (dot != std::string::npos && block && !field->is_repeated()) {
      message = message->GetReflection()->MutableMessage(message, field);
      rest = rest.substr(dot + 1);
      continue;
    }
    if (dot != std::string::npos || block) {
      return refuse(Code::kWrongType, "cannot be set by one text",
                    "only single fields such as limits.idle_timeout can");
    }
    if (!field->is_repeated()) {
      const std::string wrong = SetScalar(message, field, text);
      if (!wrong.empty()) refuse(Code::kWrongType, wrong + ", and is " + Excerpt(text));
      return;
    }
    message->GetReflection()->ClearField(message, field);
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find(',', begin), text.size());
      if (end > begin) SetScalar(message, field, text.substr(begin, end - begin));
      begin = end + 1;
    }
    return;
  }
}

}  // namespace catzilla::schema
