#include "sidecar/schema/yaml.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "sidecar/base/utf8.h"
#include "sidecar/schema/fields.h"
#include "sidecar/schema/reflect.h"
#include "sidecar/schema/render.h"

namespace catzilla::schema {
namespace {

using google::protobuf::util::MessageDifferencer;

constexpr char kFive[] =
    "listeners:\n"
    "  - {name: http, port: 8080}\n"
    "mounts:\n"
    "  - name: site\n"
    "    prefix: /\n"
    "    root: ./public\n";

TEST(Yaml, TheSmallestUsefulFile) {
  const Document document = ReadDocument(kFive);
  ASSERT_TRUE(document.diagnostics.empty()) << Format(document.diagnostics[0]);
  EXPECT_EQ(document.config.listeners(0).port(), 8080u);
  EXPECT_EQ(document.config.mounts(0).root(), "./public");
  EXPECT_EQ(FindLine(document.lines, "mounts[site].root"), 6u);
  EXPECT_EQ(FindLine(document.lines, "mounts[site].etags"), 4u) << "of what encloses it";
}

TEST(Yaml, JsonIsReadByTheSameWalk) {
  const Document document = ReadDocument(
      "{\n  \"mounts\": [\n    {\"name\": \"a\", \"headers\": {\"X-A\": \"1\"}, \"symlinks\": "
      "\"never\"}\n  ],\n"
      "  \"development\": true\n}\n");
  ASSERT_TRUE(document.diagnostics.empty()) << Format(document.diagnostics[0]);
  EXPECT_EQ(document.config.mounts(0).headers().at("X-A"), "1");
  EXPECT_EQ(document.config.mounts(0).symlinks(), config::v1::SYMLINKS_NEVER);
  EXPECT_TRUE(document.config.development());
}

TEST(Yaml, O1AnEmptyConfigurationIsSaid) {
  for (const char* text : {"{}", "# nothing\n{}\n", "mounts: []\nlimits: {}\n"}) {
    const Document document = ReadDocument(text);
    EXPECT_TRUE(document.diagnostics.empty()) << text;
    EXPECT_EQ(document.config.mounts_size(), 0) << text;
  }
  for (const char* text : {"", "\n", "# nothing\n", "---\n", "~\n", "null\n", "---\n---\n"}) {
    const Document document = ReadDocument(text, "c.yaml");
    ASSERT_EQ(document.diagnostics.size(), 1u) << text;
    EXPECT_EQ(document.diagnostics[0].code, Code::kEmptyDocument) << text;
  }
  // So is an empty section, of each form that a field can have.
  for (const char* text : {"mounts: ~\n", "mounts:\n", "limits: null\n", "app: {prefixes: NULL}\n",
                           "mounts: [{name: a, headers: ~}]\n", "control: {tls: }\n"}) {
    const Document document = ReadDocument(text);
    ASSERT_EQ(document.diagnostics.size(), 1u) << text;
    EXPECT_EQ(document.diagnostics[0].code, Code::kEmptyValue) << text;
    EXPECT_EQ(document.diagnostics[0].line, 1u) << text;
  }
}

TEST(Yaml, O2ScalarsAreThoseOfTheCoreSchema) {
  const auto development = [](const std::string& text) {
    const Document document = ReadDocument("development: " + text + "\n");
    return !document.diagnostics.empty() ? -1 : document.config.development() ? 1 : 0;
  };
  for (const char* text : {"true", "True", "TRUE"}) EXPECT_EQ(development(text), 1) << text;
  for (const char* text : {"false", "False", "FALSE"}) EXPECT_EQ(development(text), 0) << text;
  for (const char* text : {"tRUE", "yes", "on", "y", "1", "\"true\""}) {
    EXPECT_EQ(development(text), -1) << text;
  }
  const auto headers = [](const std::string& text) {
    const Document document = ReadDocument("limits: {max_headers: " + text + "}\n");
    return document.diagnostics.empty() ? int64_t{document.config.limits().max_headers()} : -1;
  };
  EXPECT_EQ(headers("0x10"), 16);
  EXPECT_EQ(headers("0xfF"), 255);
  EXPECT_EQ(headers("0o10"), 8);
  EXPECT_EQ(headers("010"), 10);  // Octal in YAML 1.1 only.
  EXPECT_EQ(headers("+12"), 12);
  EXPECT_EQ(headers("-0"), 0);
  for (const char* text : {"0x", "0o8", "0b1", "0x-1", "+-1", "-1", "1_000", "1e3", "16.0", ".inf",
                           "-.Inf", ".nan", "4294967296", "~", "\"16\""}) {
    EXPECT_EQ(headers(text), -1) << text;
  }
}

TEST(Yaml, O4TextThatIsNotUtf8IsNamedByItsLine) {
  const Document document = ReadDocument("mounts:\n  - name: a\n    root: /caf\xe9\n", "c.yaml");
  ASSERT_EQ(document.diagnostics.size(), 1u);
  EXPECT_EQ(Format(document.diagnostics[0]),
            "c.yaml:3: error CZ1010: not UTF-8 (save the file as UTF-8)");
  // What is quoted of a file is not cut inside a character.
  std::string text = "limits: {max_headers: x";
  for (int i = 0; i < 40; ++i) text += "\xc3\xa9";
  const Document cut = ReadDocument(text + "}\n");
  ASSERT_EQ(cut.diagnostics.size(), 1u);
  EXPECT_EQ(base::FindInvalidUtf8(cut.diagnostics[0].message), std::string_view::npos);
  config::v1::Config config;
  Diagnostics diagnostics;
  SetField(&config, "server_name", "caf\xe9", &diagnostics);
  ASSERT_EQ(diagnostics.size(), 1u);
  EXPECT_EQ(diagnostics[0].code, Code::kNotUtf8);
}

struct Wrong {
  const char* text;
  Code code;
  uint32_t line;
  const char* path;
  const char* words;  // In message or hint.
};

TEST(Yaml, EveryMistakeHasItsCodeLineAndPath) {
  const Wrong kTable[] = {
      {"mounts:\n  - name: a\n    rooot: /x\n", Code::kUnknownField, 3, "mounts[a].rooot",
       "did you mean root?"},
      {"mount:\n", Code::kUnknownField, 1, "mount", "did you mean mounts?"},
      {"zzz: 1\n", Code::kUnknownField, 1, "zzz", "the fields here are listeners"},
      {"limits:\n  max_body: 1MiB\n", Code::kUnknownField, 2, "limits.max_body",
       "did you mean max_body_size?"},
      {"mounts: /x\n", Code::kWrongType, 1, "mounts", "expects a list"},
      {"mounts:\n  - /x\n", Code::kWrongType, 2, "mounts[0]", "a block of fields"},
      {"limits: [1]\n", Code::kWrongType, 1, "limits", "a block of fields"},
      {"development: yes\n", Code::kWrongType, 1, "development", "true or false"},
      {"development: \"true\"\n", Code::kWrongType, 1, "development", "remove the quotes"},
      {"limits:\n  max_headers: many\n", Code::kWrongType, 2, "limits.max_headers", "whole number"},
      {"limits:\n  max_headers: -1\n", Code::kWrongType, 2, "limits.max_headers", "whole number"},
      {"limits:\n  max_headers: 4294967296\n", Code::kWrongType, 2, "limits.max_headers",
       "whole number"},
      {"server_name: [a]\n", Code::kWrongType, 1, "server_name", "expects text, and is a list"},
      {"server_name:\n", Code::kEmptyValue, 1, "server_name", "remove the line"},
      {"development: true\n\ndevelopment: true\n", Code::kDuplicateKey, 3, "development",
       "second time"},
      {"mounts:\n  - name: a\n    symlinks: insid\n", Code::kUnknownValue, 3, "mounts[a].symlinks",
       "did you mean inside?"},
      {"mounts:\n  - name: a\n    headers: {A: 1, A: 2}\n", Code::kDuplicateKey, 3,
       "mounts[a].headers[A]", "second"},
      {"mounts:\n  - name: a\n    headers: {A: [1]}\n", Code::kWrongType, 3, "mounts[a].headers",
       "expects text"},
      {"mounts: [\n", Code::kSyntax, 2, "", "brackets"},
      {"a: b: c\n", Code::kSyntax, 1, "", "indentation"},
      {"- a\n", Code::kWrongType, 1, "", "the document is a list"},
      {"{}\n---\n{}\n", Code::kSyntax, 3, "", "goes on after its document"},
      {"[a]: 1\n", Code::kWrongType, 1, "", "a key is a list"},
  };
  for (const Wrong& wrong : kTable) {
    const Document document = ReadDocument(wrong.text, "f.yaml");
    ASSERT_EQ(document.diagnostics.size(), 1u) << wrong.text;
    const Diagnostic& got = document.diagnostics[0];
    EXPECT_EQ(CodeText(got.code), CodeText(wrong.code)) << wrong.text;
    EXPECT_EQ(got.line, wrong.line) << wrong.text;
    EXPECT_EQ(got.path, wrong.path) << wrong.text;
    EXPECT_EQ(got.file, "f.yaml");
    EXPECT_NE((got.message + " / " + got.hint).find(wrong.words), std::string::npos)
        << wrong.text << Format(got);
  }
}

TEST(Yaml, AllMistakesAreReportedNotTheFirst) {
  const Document document =
      ReadDocument("a: 1\nb: 2\nlimits: {c: 3}\nmounts:\n  - {name: m, d: 4}\nserver_name: ok\n");
  EXPECT_EQ(document.diagnostics.size(), 4u);
  EXPECT_EQ(document.config.server_name(), "ok");
}

TEST(Yaml, AliasesWorkAndBombsAreRefused) {
  const Document good = ReadDocument(
      "caches:\n  - {name: a, query_deny: &d [x, y]}\n  - {name: b, query_deny: *d}\n");
  EXPECT_TRUE(good.diagnostics.empty());
  EXPECT_EQ(good.config.caches(1).query_deny_size(), 2);

  std::string bomb = "routes:\n  - name: a\n    methods: &m [";
  for (int i = 0; i < 1000; ++i) bomb += "A,";
  bomb += "A]\n";
  for (int i = 0; i < 1000; ++i) bomb += "  - {name: r" + std::to_string(i) + ", methods: *m}\n";
  const Document refused = ReadDocument(bomb);
  ASSERT_EQ(refused.diagnostics.size(), 1u);
  EXPECT_EQ(refused.diagnostics[0].code, Code::kDocumentTooLarge);

  const Document deep = ReadDocument(std::string(100'000, '['));
  ASSERT_EQ(deep.diagnostics.size(), 1u);
  EXPECT_EQ(ReadDocument(std::string(kDocumentBytesMax + 1, ' ')).diagnostics[0].code,
            Code::kDocumentTooLarge);
}

// No fuzzer reaches this room (Debian's protobuf is not instrumented): a seeded mutator does, under
// ASan.
TEST(Yaml, MutatedDocumentsNeverCrash) {
  const std::string seeds[] = {
      kFive, "limits: {max_headers: 5, idle_timeout: 5s}\n# x\nmounts:\n- headers: {a: b}\n",
      "&a [*a, ? {x: !!str y}, | \n  t\n]", "{\"routes\":[{\"path\":\"/\\u00e9\"}]}"};
  std::mt19937 random(7);
  const std::string alphabet = "{}[]:-,&*!|>'\"#%@\n\t ?\\abcx01\xff\x00";
  for (int round = 0; round < 4000; ++round) {
    std::string text = seeds[random() % 4];
    for (uint32_t n = random() % 6 + 1; n > 0; --n) {
      const size_t at = random() % (text.size() + 1);
      switch (random() % 3) {
        case 0:
          text.insert(at, 1, alphabet[random() % alphabet.size()]);
          break;
        case 1:
          text.erase(at, random() % 4);
          break;
        default:
          text.insert(at, text.substr(random() % (text.size() + 1), random() % 20));
          break;
      }
    }
    const Document document = ReadDocument(text);
    const std::string rendered = RenderYaml(document.config);
    EXPECT_TRUE(MessageDifferencer::Equals(ReadDocument(rendered).config, document.config))
        << rendered;
  }
}

TEST(Yaml, WhatIsRenderedReadsBack) {
  config::v1::Config config;
  config.set_server_name("true");
  config.set_development(false);
  auto* mount = config.add_mounts();
  mount->set_name("8080");
  mount->set_root("/with space: and #");
  mount->set_symlinks(config::v1::SYMLINKS_ANYWHERE);
  (*mount->mutable_headers())["X"] = "line\nbreak\t\"quoted\" \\ \x01";
  (*mount->mutable_headers())["Ä"] = "";
  config.add_mounts();
  config.mutable_control()->add_roles()->set_uid(7);
  config.mutable_control()->mutable_tls();
  config.mutable_limits()->set_idle_timeout("0");
  config.add_caches()->add_query_allow("-");
  const std::string text = RenderYaml(config);
  const Document document = ReadDocument(text);
  ASSERT_TRUE(document.diagnostics.empty()) << text << Format(document.diagnostics[0]);
  EXPECT_TRUE(MessageDifferencer::Equals(document.config, config)) << text;
}

// Sets every field there is, twice where it may stand twice.
void SetEverything(google::protobuf::Message* message) {
  const auto* reflection = message->GetReflection();
  for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
    const auto* field = message->GetDescriptor()->field(i);
    for (int n = 0; n < (field->is_repeated() ? 2 : 1); ++n) {
      if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
        const bool text = field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_STRING;
        const bool flag = field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_BOOL;
        const bool word = field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_ENUM;
        EXPECT_EQ(SetScalar(message, field,
                            text   ? "~ \"x\": [" + std::to_string(n)
                            : flag ? "true"
                            : word ? EnumWords(field->enum_type())[0]
                                   : "4294967295"),
                  "");
        continue;
      }
      SetEverything(field->is_repeated() ? reflection->AddMessage(message, field)
                                         : reflection->MutableMessage(message, field));
      if (field->is_map()) break;  // Both would have one key.
    }
  }
}

TEST(Yaml, O3EveryFieldReadsBackAsYamlAndAsJson) {
  config::v1::Config config;
  SetEverything(&config);
  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  ASSERT_TRUE(google::protobuf::util::MessageToJsonString(config, &json, options).ok());
  for (const std::string& text : {RenderYaml(config), json}) {
    const Document document = ReadDocument(text);
    ASSERT_TRUE(document.diagnostics.empty()) << text << Format(document.diagnostics[0]);
    EXPECT_TRUE(MessageDifferencer::Equals(document.config, config)) << text;
  }
}

TEST(Yaml, FlagsSetSingleFields) {
  config::v1::Config config;
  Diagnostics diagnostics;
  SetField(&config, "limits.idle_timeout", "5s", &diagnostics);
  SetField(&config, "development", "true", &diagnostics);
  SetField(&config, "app.prefixes", "/a,/b", &diagnostics);
  EXPECT_TRUE(diagnostics.empty());
  EXPECT_EQ(config.limits().idle_timeout(), "5s");
  EXPECT_EQ(config.app().prefixes_size(), 2);
  SetField(&config, "limits.idle_timout", "5s", &diagnostics);
  SetField(&config, "mounts.root", "/", &diagnostics);
  SetField(&config, "limits", "x", &diagnostics);
  SetField(&config, "limits.max_headers", "x", &diagnostics);
  EXPECT_EQ(diagnostics.size(), 4u);
  EXPECT_EQ(diagnostics[0].hint, "did you mean idle_timeout?");
}

// The table and the schema are the same list of fields.
void CollectPaths(const google::protobuf::Descriptor* type, const std::string& prefix,
                  std::set<std::string>* out) {
  for (int i = 0; i < type->field_count(); ++i) {
    const auto* field = type->field(i);
    const std::string path = prefix.empty() ? field->name() : prefix + "." + field->name();
    out->insert(path);
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE || field->is_map())
      continue;
    CollectPaths(field->message_type(), path + (field->is_repeated() ? "[]" : ""), out);
  }
}

TEST(Fields, TheTableNamesEveryFieldOfTheSchema) {
  std::set<std::string> schema;
  CollectPaths(config::v1::Config::descriptor(), "", &schema);
  std::set<std::string> table;
  for (const Field& field : Fields())
    EXPECT_TRUE(table.insert(std::string(field.path)).second) << field.path;
  EXPECT_EQ(schema, table);
}

TEST(Fields, DefaultsFillWhatIsUnsetAndNothingElse) {
  config::v1::Config config =
      ReadDocument("mounts: [{name: a, etags: false}]\nlimits: {idle_timeout: 1s}\n").config;
  FillDefaults(&config);
  EXPECT_FALSE(config.mounts(0).etags());
  EXPECT_TRUE(config.mounts(0).ranges());
  EXPECT_EQ(config.mounts(0).symlinks(), config::v1::SYMLINKS_INSIDE);
  EXPECT_EQ(config.limits().idle_timeout(), "1s");
  EXPECT_EQ(config.limits().max_headers(), 100u);
  EXPECT_FALSE(config.control().has_tls());
  EXPECT_FALSE(config.app().has_linger());
}

TEST(Fields, TheReferenceNamesEveryField) {
  const std::string text = ConfigurationReference();
  for (const Field& field : Fields()) {
    EXPECT_NE(text.find("`" + std::string(field.path) + "`"), std::string::npos) << field.path;
  }
}

}  // namespace
}  // namespace catzilla::schema
