// What an operator types is bytes; protobuf's strings are UTF-8. A request with other bytes would
// not leave: gRPC calls it an internal error of the client, or the server cannot read it.
//
// Threads: any. Owns: nothing. Fails: never. Cost: a walk over the request's fields.
#pragma once

#include <optional>
#include <string>

namespace google::protobuf {
class Message;
}

namespace catzilla::control_client {

// A sentence about the first string of `request`, at any depth, that is not UTF-8: where it stands
// ("mount.index_files[0]", "headers.value") and what it is, made safe to print.
std::optional<std::string> FindTextNotUtf8(const google::protobuf::Message& request);

}  // namespace catzilla::control_client
