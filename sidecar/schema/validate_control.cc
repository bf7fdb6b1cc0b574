#include "sidecar/schema/validate_control.h"

#include <grp.h>
#include <sys/un.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "sidecar/schema/validate.h"

namespace catzilla::schema {
namespace {

std::string Quote(const std::string& text) { return "\"" + text + "\""; }

void Secret(const std::string& token, const ReportError& report) {
  const bool file = token.starts_with("${file:") && token.ends_with('}');
  const bool env = token.starts_with("${env:") && token.ends_with('}');
  if (!file && !env) {
    report(Code::kBadSecret, "control.token", "is the secret itself",
           "keep it out of the configuration: ${file:/run/secrets/token} or ${env:CATZILLA_TOKEN}");
  }
}

void Tcp(const config::v1::Control& control, const ReportError& report) {
  const bool mutual = !control.tls().cert_file().empty() && !control.tls().key_file().empty() &&
                      !control.tls().client_ca_file().empty();
  if (control.has_tls()) {
    if (control.tls().cert_file().empty() != control.tls().key_file().empty() ||
        control.tls().cert_file().empty()) {
      report(Code::kMissing, "control.tls", "needs cert_file and key_file", "give both");
    }
    if (control.tcp_address().empty()) {
      report(Code::kMissing, "control.tcp_address", "is not given, but tls is",
             "the Unix socket needs no TLS: remove tls, or give an address");
    }
  }
  if (control.tcp_address().empty()) return;
  const size_t colon = control.tcp_address().rfind(':');
  std::string host = control.tcp_address().substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  uint8_t address[16];
  bool is_v4 = false;
  const std::string port =
      colon == std::string::npos ? "" : control.tcp_address().substr(colon + 1);
  if (port.empty() || port.size() > 5 ||
      port.find_first_not_of("0123456789") != std::string::npos ||
      std::strtol(port.c_str(), nullptr, 10) > 65535 || !ParseAddress(host, address, &is_v4)) {
    report(Code::kBadAddress, "control.tcp_address",
           Quote(control.tcp_address()) + " is no address with a port",
           "for example 10.0.0.5:9902 or [::1]:9902");
  }
  if (!mutual && control.token().empty()) {
    report(Code::kControlOpen, "control.tcp_address", "would be open to everyone who reaches it",
           "give tls with client_ca_file, or token");
  }
}

}  // namespace

void ValidateControl(const config::v1::Control& control, const ReportError& report) {
  for (const auto& [field, value] :
       {std::pair{"socket", control.socket()}, std::pair{"worker_socket", control.worker_socket()},
        std::pair{"runtime_dir", control.runtime_dir()},
        std::pair{"state_dir", control.state_dir()}}) {
    const std::string path = std::string("control.") + field;
    if (value.empty()) continue;
    if (value[0] != '/')
      report(Code::kBadPath, path, Quote(value) + " is not absolute", "write the path from / on");
    const bool socket = std::string_view(field).ends_with("socket");
    const size_t max =
        sizeof(sockaddr_un{}.sun_path) - 1 - (socket ? 0 : std::strlen("/control.sock"));
    if (value.size() > max && std::string_view(field) != "state_dir") {
      report(Code::kBadPath, path,
             "is longer than the " + std::to_string(max) + " bytes a socket path can have",
             "use a shorter folder, for example /run/catzilla");
    }
  }
  const std::string& mode = control.socket_mode();
  if (mode.empty() || mode.size() > 4 || mode.find_first_not_of("01234567") != std::string::npos) {
    report(Code::kBadMode, "control.socket_mode", Quote(mode) + " is no octal mode",
           "for example \"0660\", with quotes");
  }
  if (!control.socket_group().empty() && getgrnam(control.socket_group().c_str()) == nullptr) {
    report(Code::kBadGroup, "control.socket_group",
           "no group is named " + Quote(control.socket_group()),
           "create it, or leave the field out");
  }
  for (int i = 0; i < control.roles_size(); ++i) {
    const auto& role = control.roles(i);
    const std::string path = "control.roles[" + std::to_string(i) + "]";
    if (!role.has_uid() && !role.has_gid())
      report(Code::kMissing, path, "names nobody", "give uid, gid or both");
    if (!role.has_role())
      report(Code::kMissing, path + ".role", "is not given",
             "read, register, purge, operate or admin");
  }
  if (!control.token().empty()) Secret(control.token(), report);
  Tcp(control, report);
}

}  // namespace catzilla::schema
