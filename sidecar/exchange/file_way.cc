#include "sidecar/exchange/file_way.h"

#include <cstring>
#include <utility>

#include "sidecar/exchange/exchange.h"
#include "sidecar/files/listing.h"
#include "sidecar/http/accept_encoding.h"
#include "sidecar/http/error_page.h"
#include "sidecar/http/text.h"

namespace catzilla::exchange {
namespace {

// Whether the page that answers for a missing path is chosen by these.
constexpr std::string_view kChosenBy = "Vary: Accept, Sec-Fetch-Mode\r\n";

bool PrefersJson(const http::RequestHead& request) {
  return http::AcceptQuality(request, "application/json", "application/*") >
         http::AcceptQuality(request, "text/html", "text/*");
}

// A person who goes to a page, not the page that fetches its parts: the browser says so, or Accept
// names HTML (what "*/*" takes too is everybody's), and the path does not look like a file.
bool IsNavigation(const http::RequestHead& request, std::string_view path) {
  if (path.substr(path.rfind('/') + 1).find('.') != std::string_view::npos) return false;
  if (const auto mode = request.Find(http::HeaderId::kSecFetchMode)) return *mode == "navigate";
  bool wants_html = false;
  request.ForEachItem(http::HeaderId::kAccept, [&](std::string_view item) {
    const size_t semicolon = item.find(';');
    const bool refused =
        semicolon != std::string_view::npos && http::ParseQuality(item.substr(semicolon + 1)) == 0;
    const std::string_view type = http::Trim(item.substr(0, semicolon));
    if (!refused && http::EqualsIgnoringCase(type, "text/html")) wants_html = true;
  });
  return wants_html;
}

}  // namespace

std::string_view FileWay::path() const {
  return handed_ != nullptr ? std::string_view(handed_->path) : exchange_.facts().path();
}

Next FileWay::Start() {
  started_ = true;
  if (handed_ != nullptr) return Look(handed_->path);
  const http::RequestHead& request = exchange_.request();
  const std::string_view path = exchange_.facts().path();
  if (const files::Answer answer = files::RespondToMethod(request.method()); answer.status != 0) {
    mount_.CountResult(answer.status, exchange_.context().index());
    return SendAnswer(answer);
  }
  if (path.ends_with('/') && mount_.config().directory_listing == config::DirectoryListing::kHtml &&
      PrefersJson(request)) {
    return Look(std::string(path).append(files::kJsonKey));
  }
  return Look(path);
}

Next FileWay::Look(std::string_view path) {
  Context& context = exchange_.context();
  const files::Mount::Lookup found = mount_.Find(path, context.now(), context.index());
  switch (found.found) {
    case files::Mount::Found::kEntry:
      return Send(*found.entry);
    case files::Mount::Found::kStatus:
      return Refuse(found.status, "path");
    case files::Mount::Found::kOpen:
      break;
  }
  return Open(path);
}

Next FileWay::Open(std::string_view path) {
  Context& context = exchange_.context();
  is_opened_ = false;
  const files::Waiter waiter{&context.open_sink, exchange_.ticket()};
  if (mount_.Open(path, context.now(), waiter, context.index()) ==
      files::Mount::Start::kOverloaded) {
    return Refuse(503, "files_overloaded");
  }
  return Next::kWait;
}

void FileWay::Opened(files::OpenResult result) {
  opened_ = std::move(result);
  is_opened_ = true;
}

Next FileWay::Step() {
  if (!started_) return Start();
  if (!is_opened_) return Next::kWait;
  if (opened_.entry) return Send(*opened_.entry);
  return Refuse(opened_.status, opened_.error == 0 ? "open" : strerrorname_np(opened_.error));
}

// Another file of the mount answers. A one-page app's own paths are no files: its page finds its
// way by itself; and an error may have a page.
Next FileWay::SendInstead(const std::string& file) {
  const std::string& prefix = mount_.config().prefix;
  return Look((prefix == "/" ? "/" : prefix + "/") + file);
}

Next FileWay::Send(files::Entry& entry) {
  Context& context = exchange_.context();
  const http::RequestHead& request = exchange_.request();
  const std::string_view path = this->path();
  if (handed_ != nullptr && page_status_ == 0) return SendHanded(entry);
  if (entry.kind() == files::EntryKind::kNegative) {
    const bool falls_back = entry.negative_status() == 404 && !is_fallback_ && page_status_ == 0 &&
                            FallsBack() && IsNavigation(request, path);
    if (!falls_back) return Refuse(entry.negative_status(), "");
    is_fallback_ = true;
    return SendInstead(mount_.config().spa_fallback);
  }
  // A directory as the fallback would send the client on and on.
  if (is_fallback_ && entry.kind() == files::EntryKind::kDirectory) {
    return Refuse(404, "spa_fallback");
  }
  if (page_status_ == 0) {
    return SendAnswer(
        mount_.Respond(entry, request, path, context.now(), context.file_scratch, context.index()));
  }
  if (entry.kind() != files::EntryKind::kFile) return Refuse(page_status_, "error_page");
  return SendAnswer(
      mount_.RespondWithPage(entry, request, page_status_, context.scratch, context.index()));
}

// Conditions and ranges are a GET's; whoever asked for more than to see it has had his answer made.
Next FileWay::SendHanded(files::Entry& entry) {
  Context& context = exchange_.context();
  const http::RequestHead& request = exchange_.request();
  if (entry.kind() == files::EntryKind::kNegative) return Refuse(entry.negative_status(), "");
  if (entry.kind() != files::EntryKind::kFile) return Refuse(404, "handed_file_directory");
  const bool reads =
      request.method() == http::Method::kGet || request.method() == http::Method::kHead;
  files::Answer answer = reads ? mount_.Respond(entry, request, handed_->path, context.now(),
                                                context.file_scratch, context.index())
                               : mount_.RespondWhole(entry, request, context.index());
  if (!answer.head.empty()) handed_->Dress(&answer);
  return SendAnswer(answer);
}

// With the mount's page for the status, if there is one and it can be had; else with our own.
Next FileWay::Refuse(uint16_t status, std::string_view cause) {
  if (status == 404 && page_status_ == 0 && exchange_.HasFallback()) return exchange_.FallBack();
  if (handed_ != nullptr && status == 400) {  // Not the client's fault.
    status = 502;
    cause = "handed_file_path";
  }
  if (page_status_ == 0) {
    exchange_.record().cause = cause;
    for (const auto& [of, file] : mount_.config().error_pages) {
      if (of != status) continue;
      page_status_ = status;
      return SendInstead(file);
    }
  } else {
    status = page_status_;
  }
  mount_.CountResult(status, exchange_.context().index());
  const bool chosen = status == 404 && FallsBack();
  return exchange_.Refuse({status, cause, chosen ? kChosenBy : std::string_view()});
}

Next FileWay::SendAnswer(const files::Answer& answer) {
  if (answer.head.empty()) return exchange_.Refuse({answer.status, "", answer.fields});
  const bool chosen = is_fallback_ || (page_status_ == 404 && FallsBack());
  const std::string_view extra = chosen                ? kChosenBy
                                 : page_status_ == 503 ? std::string_view("Retry-After: 1\r\n")
                                                       : std::string_view();
  uint64_t rate = mount_.config().rate_bytes_per_s;
  if (handed_ != nullptr && handed_->rate_bytes_per_s) rate = *handed_->rate_bytes_per_s;
  exchange_.responder().SendFile(answer, extra, rate);
  if (exchange_.responder().sends_file()) {
    mount_.stats().Add(exchange_.context().index(), files::Counter::kSendfiles);
  }
  return exchange_.Answered();
}

}  // namespace catzilla::exchange
