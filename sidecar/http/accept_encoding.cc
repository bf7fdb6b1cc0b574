#include "sidecar/http/accept_encoding.h"

#include "sidecar/http/list.h"
#include "sidecar/http/text.h"

namespace catzilla::http {
namespace {

constexpr std::string_view kNames[kCodingCount] = {"identity", "gzip", "br", "zstd"};

}  // namespace

std::string_view CodingName(Coding coding) { return kNames[static_cast<size_t>(coding)]; }

int ParseQuality(std::string_view parameters) {
  ListItems items(parameters, ';');
  std::string_view item;
  while (items.Next(&item)) {
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos) continue;
    if (!EqualsLower(Trim(item.substr(0, equals)), "q")) continue;
    const std::string_view text = Trim(item.substr(equals + 1));
    // qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )
    if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1')) return 0;
    if (text.size() > 1 && text[1] != '.') return 0;
    int thousandths = (text[0] - '0') * 1000;
    int weight = 100;
    for (size_t i = 2; i < text.size(); ++i, weight /= 10) {
      if (!IsIn(text[i], kDigitChar)) return 0;
      thousandths += (text[i] - '0') * weight;
    }
    return thousandths > 1000 ? 0 : thousandths;
  }
  return 1000;
}

AcceptEncoding::AcceptEncoding(const RequestHead& request) {
  int any = -1;
  bool seen[kCodingCount] = {};
  request.ForEach(HeaderId::kAcceptEncoding,
                  [&](std::string_view value) { Read(value, &any, seen); });
  Settle(any, seen);
}

AcceptEncoding::AcceptEncoding(std::string_view value) {
  int any = -1;
  bool seen[kCodingCount] = {};
  Read(value, &any, seen);
  Settle(any, seen);
}

void AcceptEncoding::Read(std::string_view value, int* any, bool* seen) {
  ListItems items(value);
  std::string_view item;
  while (items.Next(&item)) {
    const size_t semicolon = item.find(';');
    std::string_view name = Trim(item.substr(0, semicolon));
    const int quality =
        semicolon == std::string_view::npos ? 1000 : ParseQuality(item.substr(semicolon + 1));
    if (name == "*") {
      *any = quality;
      continue;
    }
    if (EqualsLower(name, "x-gzip")) name = kNames[1];  // RFC 9110 section 8.4.1.3
    for (size_t i = 0; i < kCodingCount; ++i) {
      if (!EqualsLower(name, kNames[i])) continue;
      quality_[i] = quality;
      seen[i] = true;
    }
  }
}

// Codings that are not named follow "*"; without it only identity is acceptable, and just so.
void AcceptEncoding::Settle(int any, const bool* seen) {
  for (size_t i = 0; i < kCodingCount; ++i) {
    if (seen[i]) continue;
    quality_[i] = any >= 0 ? any : (i == 0 ? 1 : 0);
  }
}

Coding AcceptEncoding::Choose(std::initializer_list<Coding> available) const {
  Coding best = Coding::kIdentity;
  int best_quality = 0;
  for (const Coding coding : available) {
    if (coding == Coding::kIdentity || Quality(coding) <= best_quality) continue;
    best = coding;
    best_quality = Quality(coding);
  }
  return Quality(Coding::kIdentity) > best_quality ? Coding::kIdentity : best;
}

}  // namespace catzilla::http
