#include "sidecar/files/listing_page.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "sidecar/files/path.h"
#include "sidecar/http/target.h"

namespace catzilla::files {

namespace {

// The policy names both by their hashes: whoever changes one changes its hash (a test compares).
constexpr std::string_view kStyle =
    ":root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#1d2330;--dim:#6870"
    "83;--line:#e6e8ee;--hover:#f0f5ff;--link:#1f5fd0;--dir:#e0a021;--file:#9aa3b5}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#12151b;--card:#1a1e27;--ink:#e4e8f"
    "0;--dim:#8f98ab;--line:#2a303d;--hover:#222938;--link:#86b3ff;--dir:#e8b84a;--fi"
    "le:#6d778c}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;padding:2.5rem 1rem;background:var(--bg);color:var(--ink);font:15p"
    "x/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Liberation Sans\",sans-serif}\n"
    "main{max-width:60rem;margin:auto}\n"
    "h1{font-size:1.3rem;font-weight:600;margin:0 0 1rem;overflow-wrap:anywhere}\n"
    "h1 a{color:var(--link)}h1 i{font-style:normal;font-weight:400;color:var(--dim);p"
    "adding:0 .4rem}\n"
    "a{color:inherit;text-decoration:none}h1 a:hover,td a:hover{text-decoration:under"
    "line}\n"
    ":focus-visible{outline:2px solid var(--link);outline-offset:2px;border-radius:3p"
    "x}\n"
    "table{width:100%;border-collapse:separate;border-spacing:0;background:var(--card"
    ");border:1px solid var(--line);border-radius:12px;overflow:hidden}\n"
    "th,td{padding:.55rem 1rem;text-align:left;border-top:1px solid var(--line);white"
    "-space:nowrap}\n"
    "thead th{border-top:0;color:var(--dim);font-size:.8rem;font-weight:600}\n"
    "th button{all:unset;cursor:pointer}th button:hover{color:var(--ink)}th button:fo"
    "cus-visible{outline:2px solid var(--link);outline-offset:3px;border-radius:3px}\n"
    "th[aria-sort] button::after{content:\" \\2191\";color:var(--link)}th[aria-sort=desc"
    "ending] button::after{content:\" \\2193\"}\n"
    "td:first-child{width:100%;white-space:normal;overflow-wrap:anywhere}\n"
    "td:first-child a{display:flex;align-items:flex-start;gap:.65rem}\n"
    "td+td,th+th{text-align:right;color:var(--dim);font-variant-numeric:tabular-nums}"
    "\n"
    "tbody tr:hover{background:var(--hover)}\n"
    "svg{flex:none;width:1.2rem;height:1.2rem;margin-top:.12rem;fill:var(--file)}svg."
    "d{fill:var(--dir)}\n"
    "p{color:var(--dim);font-size:.85rem;margin:.9rem .2rem}p.cut{color:var(--ink);fo"
    "nt-weight:600}\n"
    "@media(max-width:36rem){body{padding:1.2rem .6rem}td:nth-child(3),th:nth-child(3"
    "){display:none}th,td{padding:.6rem .8rem}}\n";
constexpr std::string_view kScript =
    "(()=>{const t=document.querySelector('tbody'),up=t.querySelector('.up'),hs=[...d"
    "ocument.querySelectorAll('th')];\n"
    "hs.forEach((h,n)=>{const b=document.createElement('button');b.textContent=h.text"
    "Content;h.replaceChildren(b);\n"
    "b.onclick=()=>{const down=h.getAttribute('aria-sort')==='ascending';hs.forEach(o"
    "=>o.removeAttribute('aria-sort'));\n"
    "h.setAttribute('aria-sort',down?'descending':'ascending');\n"
    "const key=r=>r.cells[n].dataset.v??r.cells[n].textContent,dir=r=>r.dataset.d?0:1"
    ";\n"
    "const rows=[...t.rows].filter(r=>r!==up).sort((a,b)=>dir(a)-dir(b)||(down?-1:1)*"
    "(n?key(a)-key(b):key(a).localeCompare(key(b),undefined,{numeric:true})));\n"
    "if(up)rows.unshift(up);t.append(...rows)}})})()\n";
constexpr std::string_view kPolicy =
    "default-src 'none'; style-src 'sha256-Sx9gXx7XiIR1cyAaPt85spWRaJkoQu7U/6hsrVHB4W0='; "
    "script-src 'sha256-uCWih2cWoQV1z6+9A7oVHCx1W6eYQRtHCawm3sgQbis='; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";
constexpr std::string_view kIcons =
    "<svg hidden><symbol id=\"d\" viewBox=\"0 0 24 24\"><path d=\"M3 5.5A1.5 1.5 0 0 1 4.5"
    "00 4h4.600a2 2 0 0 1 1.400.6L12 6h7.500A1.500 1.500 0 0 1 21 7.500v10a1.500 1.50"
    "0 0 0 1-1.500 1.500h-15A1.500 1.500 0 0 1 3 17.500z\"/></symbol><symbol id=\"f\" vi"
    "ewBox=\"0 0 24 24\"><path d=\"M6 2.500h8l5 5v13a1 1 0 0 1-1 1H6a1 1 0 0 1-1-1v-17a1"
    " 1 0 0 1 1-1zm7.500 1.700V8h3.800z\"/></symbol></svg>";
constexpr size_t kFootBytes = 1024;  // Room that is kept for the end of the body.

void AppendHtml(std::string_view bytes, std::string& out) {
  std::string text;
  http::AppendReplacingInvalidUtf8(bytes, text);
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
}

void AppendJson(std::string_view bytes, std::string& out) {
  std::string text;
  http::AppendReplacingInvalidUtf8(bytes, text);
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    // '<' too: a body that somebody takes for HTML must not become it.
    if (byte < 0x20 || byte == 0x7f || c == '<') {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", byte);
      out += escape;
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
  out += '"';
}

// "./" in front: a name with a colon is no scheme.
std::string Href(const ListedFile& file) {
  std::string href = "./";
  AppendEscapedPath(file.name, href);
  if (file.is_directory) href += '/';
  return href;
}

std::string Time(int64_t seconds, const char* format) {
  const time_t time = seconds;
  tm parts{};
  char text[48];
  if (gmtime_r(&time, &parts) == nullptr) return "";
  return std::string(text, std::strftime(text, sizeof(text), format, &parts));
}

void AppendCrumbs(const Listing& listing, std::string& out) {
  auto levels = static_cast<size_t>(std::count(listing.path.begin(), listing.path.end(), '/'));
  const auto crumb = [&](std::string_view name) {
    if (levels == 0) {
      AppendHtml(name, out);
      return;
    }
    out += "<a href=\"./";
    for (size_t i = 0; i < levels; ++i) out += "../";
    out += "\">";
    AppendHtml(name, out);
    out += "</a><i>/</i>";
    --levels;
  };
  crumb(listing.prefix == "/" ? "Home" : std::string_view(listing.prefix).substr(1));
  for (size_t begin = 0; begin < listing.path.size();) {
    const size_t end = listing.path.find('/', begin);
    crumb(std::string_view(listing.path).substr(begin, end - begin));
    begin = end + 1;
  }
}

void AppendRow(const ListedFile& file, std::string& out) {
  out += file.is_directory ? "<tr data-d=\"1\"><td data-v=\"" : "<tr><td data-v=\"";
  AppendHtml(file.name, out);
  out += "\"><a href=\"";
  AppendHtml(Href(file), out);
  out += file.is_directory ? "\"><svg class=\"d\"><use href=\"#d\"/></svg><span>"
                           : "\"><svg><use href=\"#f\"/></svg><span>";
  AppendHtml(file.name, out);
  out += file.is_directory
             ? "/</span></a></td><td data-v=\"-1\">&ndash;"
             : "</span></a></td><td data-v=\"" + std::to_string(file.size) + "\" title=\"" +
                   std::to_string(file.size) + " bytes\">" + ReadableSize(file.size);
  out += "</td><td data-v=\"" + std::to_string(file.modified_s) + "\"><time datetime=\"" +
         Time(file.modified_s, "%Y-%m-%dT%H:%M:%SZ") + "\">" +
         Time(file.modified_s, "%Y-%m-%d %H:%M") + "</time></td></tr>\n";
}

std::string Count(size_t count, std::string_view what) {
  return std::to_string(count) + " " + std::string(what) + (count == 1 ? "" : "s");
}

}  // namespace

std::string ListingHtml(const Listing& listing) {
  std::string title = listing.prefix == "/" ? "" : listing.prefix;
  title += "/" + listing.path;
  std::string out =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Index of ";
  AppendHtml(title, out);
  out +=
      "</title>\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<link rel=\"icon\" href=\"data:,\">\n<style>";
  out.append(kStyle).append("</style></head>\n<body>").append(kIcons).append("<main><h1>");
  AppendCrumbs(listing, out);
  out +=
      "</h1>\n<table><thead><tr><th>Name</th><th>Size</th><th>Modified (UTC)</th></tr></thead>"
      "<tbody>\n";
  if (!listing.path.empty()) {
    out +=
        "<tr class=\"up\"><td><a href=\"../\"><svg class=\"d\"><use href=\"#d\"/></svg>"
        "<span>..</span></a></td><td></td><td></td></tr>\n";
  }
  size_t directories = 0, shown = 0;
  uint64_t bytes = 0;
  std::string row;
  for (const ListedFile& file : listing.entries) {
    row.clear();
    AppendRow(file, row);
    if (out.size() + row.size() + kScript.size() + kFootBytes > Listing::kBodyBytesMax) break;
    out += row;
    ++shown;
    directories += file.is_directory ? 1 : 0;
    bytes += file.size;
  }
  out += "</tbody></table>\n<p>" + Count(directories, "folder") + ", " +
         Count(shown - directories, "file") + ", " + ReadableSize(bytes) + "</p>\n";
  if (listing.cut || shown < listing.entries.size()) {
    out += "<p class=\"cut\">There is more: only the first " + std::to_string(shown) +
           " names are shown.</p>\n";
  }
  out.append("</main><script>").append(kScript).append("</script></body></html>\n");
  return out;
}

std::string ListingJson(const Listing& listing) {
  std::string out = "{\"path\":";
  AppendJson((listing.prefix == "/" ? "" : listing.prefix) + "/" + listing.path, out);
  out += ",\"entries\":[";
  size_t shown = 0;
  std::string row;
  for (const ListedFile& file : listing.entries) {
    row = shown == 0 ? "\n{\"name\":" : ",\n{\"name\":";
    AppendJson(file.name, row);
    row += file.is_directory ? ",\"type\":\"directory\"" : ",\"type\":\"file\"";
    if (!file.is_directory) row += ",\"size\":" + std::to_string(file.size);
    row += ",\"mtime\":\"" + Time(file.modified_s, "%Y-%m-%dT%H:%M:%SZ") + "\",\"href\":";
    AppendJson(Href(file), row);
    row += '}';
    if (out.size() + row.size() + kFootBytes > Listing::kBodyBytesMax) break;
    out += row;
    ++shown;
  }
  const bool cut = listing.cut || shown < listing.entries.size();
  out += cut ? "],\n\"truncated\":true}\n" : "],\n\"truncated\":false}\n";
  return out;
}

std::string_view ListingPolicy() { return kPolicy; }

std::string ReadableSize(uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // 1023.95 KiB would be written as 1024.0 KiB.
  for (; value >= 1023.95 && unit < 5; ++unit) value /= 1024;
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f %s", value, kUnits[unit]);
  return text;
}

}  // namespace catzilla::files
