// The way to a file: hot entries answer in this turn, the others are opened off the loop.
#include <cstring>
#include <utility>

#include "sidecar/exchange/exchange.h"
#include "sidecar/files/listing.h"
#include "sidecar/http/accept_encoding.h"
#include "sidecar/http/error_page.h"
#include "sidecar/http/target.h"
#include "sidecar/http/text.h"

namespace catzilla::exchange {

namespace {

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

// `body`, where the answer's file is in memory; else a piece of it.
void AppendFileBytes(const files::Answer& answer, std::string_view body, uint64_t offset,
                     uint64_t file_bytes, http::OutputQueue& output) {
  if (answer.fd < 0) {
    output.AppendShared(body, base::Ref<base::Owner>(answer.entry));
  } else {
    output.AppendFile({answer.fd, offset, file_bytes}, base::Ref<http::SentFile>(answer.entry));
  }
}

}  // namespace

Next Exchange::StartFile(uint32_t mount, uint8_t path_flags) {
  const Plan& plan = *context_->plan;
  const MountTarget& target = plan.mounts[mount];
  mount_ = target.files.get();
  stats_ = target.stats.get();
  served_ = Served::kFile;
  const int loop = context_->index();
  if (!http::IsFitForFiles(path_flags)) {
    mount_->CountResult(400, loop);
    return RefuseWith(400, "path");
  }
  if ((path_flags & http::kPathDotSegment) != 0) {
    // Without its dot segments the path must still belong to this mount: it may not be a way around
    // what another resource guards.
    std::string_view clean;
    route::Verdict again;
    if (!http::RemoveDotSegments(path_, context_->scratch, &clean)) return RefuseWith(400, "path");
    path_clean_ = clean;
    path_ = path_clean_;
    plan.router.Match(request_->host(), request_->method_text(), path_, &again);
    if (again.kind != route::Verdict::Kind::kMount || again.mount != mount) {
      mount_->CountResult(400, loop);
      return RefuseWith(400, "path");
    }
  }
  if (const files::Answer answer = files::RespondToMethod(request_->method()); answer.status != 0) {
    mount_->CountResult(answer.status, loop);
    return SendFileAnswer(answer);
  }
  if (path_.ends_with('/') &&
      mount_->config().directory_listing == config::DirectoryListing::kHtml &&
      PrefersJson(*request_)) {
    return Look(std::string(path_).append(files::kJsonKey));
  }
  return Look(path_);
}

Next Exchange::Look(std::string_view path) {
  const files::Mount::Lookup found = mount_->Find(path, context_->now(), context_->index());
  switch (found.found) {
    case files::Mount::Found::kEntry:
      return SendFile(*found.entry);
    case files::Mount::Found::kStatus:
      return RefuseFile(found.status, "path");
    case files::Mount::Found::kOpen:
      break;
  }
  return Open(path);
}

Next Exchange::Open(std::string_view path) {
  HoldUntilSent();
  opened_ready_ = false;
  const files::Waiter waiter{&context_->open_sink, ticket_.packed()};
  if (mount_->Open(path, context_->now(), waiter, context_->index()) ==
      files::Mount::Start::kOverloaded) {
    return RefuseFile(503, "files_overloaded");
  }
  state_ = State::kOpenFile;
  return Next::kWait;
}

void Exchange::OnOpened(files::OpenResult result) {
  opened_ = std::move(result);
  opened_ready_ = true;
  is_reading_ = false;
  client_->WakeExchange();
}

Next Exchange::OpenFile() {
  if (!opened_ready_) return Next::kWait;
  if (opened_.entry) return SendFile(*opened_.entry);
  return RefuseFile(opened_.status, opened_.error == 0 ? "open" : strerrorname_np(opened_.error));
}

// Another file of the mount answers. A one-page app's own paths are no files: its page finds its
// way by itself; and an error may have a page.
Next Exchange::SendInstead(const std::string& file) {
  const std::string& prefix = mount_->config().prefix;
  return Look((prefix == "/" ? "/" : prefix + "/") + file);
}

Next Exchange::SendFile(files::Entry& entry) {
  const config::Mount& config = mount_->config();
  if (entry.kind() == files::EntryKind::kNegative) {
    const bool falls_back = entry.negative_status() == 404 && !is_fallback_ && page_status_ == 0 &&
                            !config.spa_fallback.empty() && IsNavigation(*request_, path_);
    if (!falls_back) return RefuseFile(entry.negative_status(), "");
    is_fallback_ = true;
    return SendInstead(config.spa_fallback);
  }
  // A directory as the fallback would send the client on and on.
  if (is_fallback_ && entry.kind() == files::EntryKind::kDirectory) {
    return RefuseFile(404, "spa_fallback");
  }
  if (page_status_ == 0) {
    return SendFileAnswer(mount_->Respond(entry, *request_, path_, context_->now(),
                                          context_->file_scratch, context_->index()));
  }
  if (entry.kind() != files::EntryKind::kFile) return RefuseFile(page_status_, "error_page");
  return SendFileAnswer(mount_->RespondWithPage(entry, *request_, page_status_, context_->scratch,
                                                context_->index()));
}

// With the mount's page for the status, if there is one and it can be had; else with our own.
Next Exchange::RefuseFile(uint16_t status, std::string_view cause) {
  const config::Mount& config = mount_->config();
  if (page_status_ == 0) {
    cause_ = cause;
    for (const auto& [of, file] : config.error_pages) {
      if (of != status) continue;
      page_status_ = status;
      return SendInstead(file);
    }
  } else {
    status = page_status_;
  }
  mount_->CountResult(status, context_->index());
  if (status == 404 && !config.spa_fallback.empty()) {
    refusal_fields_ += "Vary: Accept, Sec-Fetch-Mode\r\n";
  }
  return RefuseWith(status, cause);
}

Next Exchange::SendFileAnswer(const files::Answer& answer) {
  if (answer.head.empty()) {
    refusal_fields_ = answer.fields;
    return RefuseWith(answer.status, "");
  }
  http::OutputQueue& output = client_->output();
  const std::string_view date = context_->date.Get(context_->now().wall_s());
  close_ = close_ || !SkipsBody();
  char extra[256];
  const size_t extra_bytes = ConnectionFields(extra, sizeof(extra));

  // The common case is one copy: head, empty line and a small body lie in one run.
  const bool is_small = answer.fd < 0 && answer.parts.empty() &&
                        answer.body.size() <= http::OutputQueue::kCopyBytesMax;
  const bool whole = is_small && answer.contiguous && extra_bytes == 0;
  const std::string_view run = whole ? answer.wire() : answer.head;
  const size_t body_room = is_small ? answer.body.size() : 0;
  char* room = output.Reserve(run.size() + extra_bytes + 2 + body_room);
  std::memcpy(room, run.data(), run.size());
  std::memcpy(room + answer.date_offset, date.data(), date.size());
  size_t used = run.size();
  if (!whole) {
    std::memcpy(room + used, extra, extra_bytes);
    used += extra_bytes;
    room[used++] = '\r';
    room[used++] = '\n';
    if (body_room > 0) std::memcpy(room + used, answer.body.data(), body_room);
    used += body_room;
  }
  output.Commit(used);
  if (!is_small && answer.body_bytes > 0) {
    sends_file_ = answer.fd >= 0;
    if (sends_file_) mount_->stats().Add(context_->index(), files::Counter::kSendfiles);
    if (answer.parts.empty()) {
      AppendFileBytes(answer, answer.body, answer.offset, answer.body_bytes, output);
    }
    for (const files::AnswerPart& part : answer.parts) {
      output.Append(part.lines);
      AppendFileBytes(answer, part.body, part.offset, part.file_bytes, output);
    }
  }
  status_ = answer.status;
  if (answer.body_bytes > 0) rate_limit_ = mount_->config().rate_bytes_per_s;
  body_bytes_sent_ = answer.body_bytes;
  head_written_ = true;
  return GoTo(State::kFinish);
}

// What the client must be told beside the file's own fields; usually nothing.
size_t Exchange::ConnectionFields(char* out, size_t bytes_max) {
  http::ResponseWriter writer(out, bytes_max);
  writer.Connection(!close_, request_->minor_version());
  if (const auto id = request_->Find("x-request-id"); id.has_value() && id->size() <= 128) {
    request_id_ = *id;
    writer.Field("X-Request-Id", *id);
  }
  const bool chosen =
      is_fallback_ || (page_status_ == 404 && !mount_->config().spa_fallback.empty());
  if (chosen) writer.Field("Vary", "Accept, Sec-Fetch-Mode");
  if (page_status_ == 503) writer.Field("Retry-After", "1");
  return writer.size();
}

}  // namespace catzilla::exchange
