// A configuration as YAML that ReadDocument() reads back, and what differs between two.
//
// Pure; any thread. Only what is set is written, in the order of the schema, maps sorted by key.
#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "catzilla/config/v1/config.pb.h"

namespace catzilla::schema {

std::string RenderYaml(const google::protobuf::Message& message);

// Readable, by resource: " mounts[assets]" headings with "-" and "+" lines below; empty: equal.
std::string DiffConfigs(const config::v1::Config& from, const config::v1::Config& to);

}  // namespace catzilla::schema
