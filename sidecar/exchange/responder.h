// The one place where an answer becomes bytes: status line, fields, what the sidecar says of itself
// and of the connection, framing, the promised length, and what of it is told to the record.
//
// One answer: any number of Inform(), then one of Refuse(), SendFile(), SendApp(), SendStored(),
// and for the last two Body(), perhaps File(), Trailers() and EndBody(). Prepared bytes (a hot
// file) leave as one copy.
//
// Threads: the loop's.
// Owns:    nothing: bytes go into the client's output.
// Limits:  an app's head as limits.max_response_header (the link keeps it) and kOwnBytesMax of
// ours.
//          Room() tells when the client takes no more for now.
// Fails:   never after a head: an answer that is not what its head has promised is cut, or ends as
//          End::kBroken.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "sidecar/base/ref.h"
#include "sidecar/exchange/client.h"
#include "sidecar/exchange/context.h"
#include "sidecar/exchange/record.h"
#include "sidecar/exchange/request_facts.h"
#include "sidecar/files/answer.h"
#include "sidecar/http/error_page.h"
#include "sidecar/http/request_head.h"
#include "sidecar/http/response_head.h"
#include "sidecar/origin/call.h"

namespace catzilla::exchange {

// An answer of our own: an error, or one without a body.
struct Refusal {
  uint16_t status = 500;
  std::string_view cause;      // For the log; a literal. Empty: nothing has gone wrong.
  std::string_view fields;     // Whole lines.
  uint32_t retry_after_s = 1;  // Of a 503.
};

// An answer from a store: its head as it was kept, without Connection and the empty line.
struct StoredHead {
  uint16_t status = 200;
  std::string_view line;    // The status line; the fields too, where they were kept as one.
  std::string_view fields;  // Whole lines.
  std::string_view extra;   // Ours: Age, Cache-Status, Content-Range; whole lines.
  // How many bytes of a body will follow, if that is known. What `line` and `fields` say of it is
  // as it was kept: `tells_length` has it said here.
  std::optional<uint64_t> length;
  bool tells_length = false;
};

// The body that came with the request, as far as an answer may have to do without it.
struct RequestBody {
  // One that nobody wants is skipped up to here, then the connection is given up.
  static constexpr uint64_t kSkippedMax = 64 * 1024;

  bool complete = true;
  uint64_t bytes_max = kSkippedMax;  // The most it may have.

  // Whether the rest may be read and dropped, so that the connection lives on: it is known to be
  // short, and its sender does not wait to be asked for it.
  bool MaySkip(const http::RequestHead& request) const;
};

class Responder {
 public:
  Responder() = default;
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;

  // Borrows all of it for one request.
  void Begin(Context& context, Client& client, const http::RequestHead& request,
             RequestFacts& facts, const RequestBody& body, ExchangeRecord& record, bool last);

  // The connection ends with this answer, whatever its head has said.
  void Close() { close_ = true; }
  bool closes() const { return close_; }
  bool head_written() const { return head_written_; }
  // Whether nothing but the end of the connection ends the body: one that is cut looks whole.
  bool ends_with_connection() const { return framing_ == http::ResponseFraming::kClose; }
  // A file's bytes are in the output, or an answer with a rate: it leaves in turns of its own.
  bool sends_file() const { return sends_file_; }
  // Bytes per second; 0: any.
  uint64_t rate_limit() const { return rate_limit_; }

  // An interim answer (1xx), for who understands it.
  void Inform(const origin::ResponseHead& informational);
  void Continue();

  // `as_fastapi`: in FastAPI's own words, for its errors.
  void Refuse(const Refusal& refusal, bool as_fastapi);
  // `answer` has a head. `extra`: whole lines. `rate_limit` as above.
  void SendFile(const files::Answer& answer, std::string_view extra, uint64_t rate_limit);
  // False: it cannot be sent, nothing was written, and the record's cause says why. `extra` as
  // above. Its inline body is not sent.
  [[nodiscard]] bool SendApp(const origin::ResponseHead& response, std::string_view extra);
  void SendStored(const StoredHead& head);
  // 101: the connection is no more HTTP's after it. `lines`: whole ones, instead of what `head`
  // says of them. False: as SendApp().
  [[nodiscard]] bool SwitchProtocols(const origin::ResponseHead& head, std::string_view lines);

  // Copied; or held by its owner, where that pays.
  void Body(std::string_view bytes, base::Ref<base::Owner> owner = nullptr);
  // A piece of a file, as one run. REQUIRES: nothing of the body comes behind it.
  void File(const http::OutputQueue::FilePiece& piece, base::Ref<http::SentFile> file);
  // What an app says behind its body: for a client that has asked for it (TE: trailers), where the
  // framing has a place for it; else it is dropped, as RFC 9110 section 6.5.1 wants it.
  void Trailers(http::Fields fields);
  // There is no more of it: whether that is what was promised, the record says.
  void EndBody();

  // Whether more may be added. If not, wants_room() is true until it is asked again, and the
  // connection runs the exchange when there is room.
  bool Room();
  bool wants_room() const { return wants_room_; }
  void ForgetRoom() { wants_room_ = false; }

 private:
  static constexpr size_t kOwnBytesMax = 4 * 1024;
  struct Own;
  struct AppFields;

  void WriteDate(http::ResponseWriter& out);
  void WriteServer(http::ResponseWriter& out);
  void WriteConnection(http::ResponseWriter& out);
  void WriteId(http::ResponseWriter& out);
  void WriteAppHead(const origin::ResponseHead& response, const AppFields& seen,
                    std::string_view extra, http::ResponseWriter& out);
  void Promise(uint16_t status, std::optional<uint64_t> length);
  std::string_view Page(const Refusal& refusal, bool as_json, http::ErrorFormat format);
  void AppendFile(const files::Answer& answer);
  std::string_view CutToPromise(std::string_view bytes);
  void HeadWritten(uint16_t status);

  Context* context_ = nullptr;
  Client* client_ = nullptr;
  const http::RequestHead* request_ = nullptr;
  RequestFacts* facts_ = nullptr;
  const RequestBody* request_body_ = nullptr;
  ExchangeRecord* record_ = nullptr;
  std::string trailers_;    // Whole lines.
  uint64_t body_left_ = 0;  // Of the promised length.
  uint64_t rate_limit_ = 0;
  http::ResponseFraming framing_ = http::ResponseFraming::kNone;
  bool close_ = false;
  bool head_written_ = false;
  bool sends_file_ = false;
  bool wants_room_ = false;
};

// The whole answer to what never became a request: the connection ends with it. `with_page`: its
// body, which says the status. Returns its length. REQUIRES: kBareRefusalBytes of room in `out`.
inline constexpr size_t kBareRefusalBytes = 2048;
size_t WriteBareRefusal(Context& context, uint16_t status, bool with_page,
                        std::span<char, kBareRefusalBytes> out);

}  // namespace catzilla::exchange
