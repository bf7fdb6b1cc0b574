#include "sidecar/exchange/handed_file.h"

#include <algorithm>
#include <utility>

#include "sidecar/exchange/request_fields.h"
#include "sidecar/http/target.h"
#include "sidecar/http/text.h"
#include "sidecar/route/router.h"

namespace catzilla::exchange {
namespace {

constexpr std::string_view kByUri = "x-accel-redirect";
constexpr std::string_view kByPath = "x-sendfile";
constexpr std::string_view kRate = "x-accel-limit-rate";

constexpr uint64_t kRateMax = uint64_t{1} << 40;  // As a mount's.

constexpr std::string_view kUnfitPath = "handed_file_path";
constexpr std::string_view kOutside = "handed_file_outside";

// What only the file can say, or whoever sends it.
bool IsTheFilesOwn(std::string_view name) {
  constexpr std::string_view kOwn[] = {
      "accept-ranges", "content-encoding", "content-length", "content-range", "date", "etag",
      "last-modified", "x-request-id",     kByUri,           kByPath,         kRate};
  return std::find(std::begin(kOwn), std::end(kOwn), name) != std::end(kOwn) ||
         IsConnectionField(name);
}

// Of a 304 they would speak of a body that is not there.
bool IsOfBody(std::string_view lower_line) {
  return lower_line.starts_with("content-") && !lower_line.starts_with("content-location:") &&
         !lower_line.starts_with("content-security-policy");
}

Handed Fail(std::string_view why) { return {nullptr, why}; }

// The path as a mount takes it: under its prefix, and nothing of it leads away.
std::string_view Place(const Plan& plan, std::string_view path, HandedFile* file) {
  std::string storage;
  std::string_view clean;
  if (!path.starts_with('/') || !http::RemoveDotSegments(path, storage, &clean)) {
    return kUnfitPath;
  }
  for (const auto& mount : plan.internal_mounts) {
    if (!route::PrefixClaims(mount->config->prefix, clean)) continue;
    file->mount = mount;
    file->path = clean;
    return {};
  }
  return kOutside;
}

std::string_view PlaceUri(const Plan& plan, std::string_view uri, HandedFile* file) {
  std::string storage;
  const http::DecodedPath decoded =
      http::DecodePath(uri.substr(0, uri.find_first_of("?#")), storage);
  if (!http::IsFitForFiles(decoded.flags)) return kUnfitPath;
  return Place(plan, decoded.path, file);
}

// The longest root that holds it, whatever the order of the prefixes.
std::string_view PlacePath(const Plan& plan, std::string_view path, HandedFile* file) {
  std::string storage;
  std::string_view clean;
  const bool fit = path.starts_with('/') && http::RemoveDotSegments(path, storage, &clean);
  if (!fit || clean.find('\0') != std::string_view::npos) return kUnfitPath;
  size_t longest = 0;
  for (const auto& mount : plan.internal_mounts) {
    std::string_view root = mount->config->root;
    while (root.size() > 1 && root.ends_with('/')) root.remove_suffix(1);
    if (root.size() < longest || !route::PrefixClaims(root, clean)) continue;
    longest = root.size();
    file->mount = mount;
    const std::string& prefix = mount->config->prefix;
    file->path = prefix == "/" ? "" : prefix;
    file->path.append(clean.substr(root == "/" ? 0 : root.size()));
  }
  return longest > 0 ? std::string_view() : kOutside;
}

// Calls visit(line with its CRLF, name) for each.
template <typename Visit>
void ForEachLine(std::string_view lines, Visit visit) {
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n') + 1);
    lines.remove_prefix(line.size());
    visit(line, line.substr(0, line.find(':')));
  }
}

bool HasName(std::string_view lines, std::string_view name) {
  bool has = false;
  ForEachLine(lines, [&](std::string_view, std::string_view other) {
    has = has || http::EqualsIgnoringCase(other, name);
  });
  return has;
}

}  // namespace

bool IsHandOverField(std::string_view name) {
  return name == kByUri || name == kByPath || name == kRate;
}

Handed FindHandedFile(const Plan& plan, const origin::ResponseHead& response) {
  if (plan.internal_mounts.empty() || response.status < 200 || response.status > 299) return {};
  const http::Field* by_uri = nullptr;
  const http::Field* by_path = nullptr;
  std::optional<uint64_t> rate;
  for (const http::Field& field : response.fields) {
    if (field.name == kByUri) by_uri = &field;
    if (field.name == kByPath) by_path = &field;
    // "off", or what is no number: no limit, as nginx has it.
    if (uint64_t asked = 0; field.name == kRate) {
      rate = http::ParseDecimal(field.value, &asked) ? std::min(asked, kRateMax) : 0;
    }
  }
  if (by_uri == nullptr && by_path == nullptr) return {};
  auto file = std::make_unique<HandedFile>();
  const std::string_view error = by_uri != nullptr ? PlaceUri(plan, by_uri->value, file.get())
                                                   : PlacePath(plan, by_path->value, file.get());
  if (!error.empty()) return Fail(error);
  file->rate_bytes_per_s = rate;
  for (const http::Field& field : response.fields) {
    // An empty type is how a framework is told to leave it to the file.
    if (IsTheFilesOwn(field.name) || (field.name == "content-type" && field.value.empty()))
      continue;
    file->lines.append(field.name).append(": ").append(field.value).append("\r\n");
  }
  return {std::move(file), {}};
}

void HandedFile::Dress(files::Answer* answer) {
  std::string_view rest = answer->head;
  const std::string_view status = rest.substr(0, rest.find('\n') + 1);
  rest.remove_prefix(status.size());
  head.assign(status);
  const bool has_parts = !answer->parts.empty();
  const auto stays = [&](std::string_view name) {  // The file's line, although the app has one.
    return http::EqualsIgnoringCase(name, "vary") ||
           (has_parts && http::EqualsIgnoringCase(name, "content-type"));
  };
  ForEachLine(rest, [&](std::string_view line, std::string_view name) {
    if (!stays(name) && HasName(lines, name)) return;
    if (name == "Date") answer->date_offset = static_cast<uint32_t>(head.size() + 6);
    head.append(line);
  });
  ForEachLine(lines, [&](std::string_view line, std::string_view name) {
    if (has_parts && name == "content-type") return;
    if (answer->status == 304 && IsOfBody(line)) return;
    head.append(line);
  });
  const size_t bytes = head.size();
  head.append("\r\n");  // Behind the view, as an Answer has it.
  answer->head = std::string_view(head).substr(0, bytes);
  answer->contiguous = false;
}

}  // namespace catzilla::exchange
