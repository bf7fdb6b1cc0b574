// A connection under a script made of the input: a client sends requests whole or in pieces, or
// anything at all, reads slowly, ends its side, leaves. A slow and simple model says which answers
// must come, in which order, and whether the connection lives on; for what is no request it says at
// least that every answer is whole and that nothing follows the one that closes.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/check.h"
#include "sidecar/server/testing.h"
#include "sidecar/worker/registry.h"

using namespace catzilla;          // NOLINT: a fuzzer is one file
using namespace catzilla::server;  // NOLINT

namespace {

// One well-formed request, or one whose fault is known, and what must be answered.
struct Kind {
  std::string head;
  std::string body;
  int status = 200;
  const char* answer = nullptr;  // The answer's body, where it is a file's.
  bool is_head = false;
  bool is_early = false;  // Answered when its head is there.
  bool says_close = false;
  bool ends = false;  // Nothing behind it is read.
};

const std::string& LongFile() {
  static const std::string bytes(9000, 'b');  // Sent by reference, not copied.
  return bytes;
}

const std::vector<Kind>& Kinds() {
  static const std::vector<Kind> kinds = {
      {"GET /files/a HTTP/1.1\r\nHost: a\r\n\r\n", "", 200, "hello"},
      {"GET /files/b HTTP/1.1\r\nHost: a\r\n\r\n", "", 200, LongFile().c_str()},
      {"GET /files/a HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\n\r\n", "", 206, "el"},
      {"HEAD /files/b HTTP/1.1\r\nHost: a\r\n\r\n", "", 200, "", true},
      {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "", 204, ""},
      {"GET /files/none HTTP/1.1\r\nHost: a\r\n\r\n", "", 404},
      {"DELETE /files/a HTTP/1.1\r\nHost: a\r\n\r\n", "", 405},
      {"\r\nGET /dead HTTP/1.1\r\nHost: a\r\n\r\n", "", 503},
      {"POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", "some body", 404, nullptr,
       false, true},
      {"GET /files/a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", "body", 200, "hello", false,
       true},
      {"PUT /no HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
       "3;x\r\nabc\r\n1\r\nd\r\n0\r\nT: v\r\n\r\n", 404, nullptr, false, true},
      {"GET /files/a HTTP/1.0\r\n\r\n", "", 200, "hello", false, false, true, true},
      {"GET /files/b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "", 200, LongFile().c_str(),
       false, false, true, true},
      {"PUT /no HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n", "", 404, nullptr, false,
       false, true, true},
      {"PUT /no HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "zz", 404, nullptr,
       false, true, false, true},
      {"GET / HTTP/1.1\r\n\r\n", "", 400, nullptr, false, false, true, true},
  };
  return kinds;
}

struct Answer {
  int status = 0;
  bool says_close = false;
  std::string_view body;
};

bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-';
  });
}

// Takes one answer off `bytes`; false: it is not all there. It must be well-formed as far as it is.
bool TakeAnswer(std::string_view* bytes, bool is_head, Answer* answer) {
  const size_t end = bytes->find("\r\n\r\n");
  if (end == std::string_view::npos) return false;
  std::string_view head = bytes->substr(0, end + 2);
  CATZILLA_CHECK(head.starts_with("HTTP/1.1 ") && head.size() > 12, "no status line");
  answer->status = std::stoi(std::string(head.substr(9, 3)));
  CATZILLA_CHECK(answer->status >= 200 && answer->status < 600, "no status");
  head.remove_prefix(head.find("\r\n") + 2);
  size_t length = 0;
  bool has_length = false;
  while (!head.empty()) {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    head.remove_prefix(line.size() + 2);
    const size_t colon = line.find(": ");
    CATZILLA_CHECK(colon != std::string_view::npos && IsToken(line.substr(0, colon)), "no field");
    const std::string_view name = line.substr(0, colon);
    const std::string value(line.substr(colon + 2));
    CATZILLA_CHECK(value.find_first_of("\r\n") == std::string::npos, "a field is split");
    CATZILLA_CHECK(name != "Transfer-Encoding", "nothing here has chunks");
    if (name == "Connection") answer->says_close = value == "close";
    if (name != "Content-Length") continue;
    CATZILLA_CHECK(!has_length, "two lengths");
    has_length = true;
    length = std::stoul(value);
  }
  const bool is_bare = is_head || answer->status == 204 || answer->status == 304;
  CATZILLA_CHECK(is_bare || has_length, "an answer without an end");
  if (is_bare) length = 0;
  if (bytes->size() < end + 4 + length) return false;
  answer->body = bytes->substr(end + 4, length);
  bytes->remove_prefix(end + 4 + length);
  return true;
}

// Lives as long as the process: files are opened once.
struct World {
  World()
      : wheel(loop),
        registry({}),
        dispatcher(loop, wheel, registry),
        hall(loop, wheel, dispatcher) {
    loop.AddHooks(&turns);
    house.Write("a", "hello");
    house.Write("b", LongFile());
    config::Snapshot snapshot;
    snapshot.mounts = {std::make_shared<config::Mount>(house.MountAt("/files"))};
    auto dead = std::make_shared<config::Route>();
    dead->path = "/dead";
    dead->source = config::Layer::kFile;
    snapshot.routes = {dead};
    for (int i = 0; i < 3; ++i) {
      config::Limits limits;
      if (i == 1) limits.pipeline_max = 1;
      if (i == 2) limits.requests_per_connection_max = 3;
      snapshot.limits = std::make_shared<config::Limits>(limits);
      plans.push_back(house.MakePlan(snapshot, nullptr, nullptr, &hall.desk));
      UsePlan(i);
      const int fd = hall.Connect(listener);
      for (const char* name : {"a", "b", "none"}) {
        const std::string text =
            std::string("HEAD /files/") + name + " HTTP/1.1\r\nHost: a\r\n\r\n";
        (void)!::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
        Pump();
      }
      ::close(fd);
      Pump();
    }
  }
  void UsePlan(int index) {
    hall.desk.context.plan = plans[static_cast<size_t>(index)];
    hall.desk.context.draining = false;
  }
  void Pump() {
    for (int i = 0; i < 4; ++i) loop.RunOnce(false);
    house.Settle();
    for (int i = 0; i < 4; ++i) loop.RunOnce(false);
  }

  exchange::House house;
  exchange::HouseTurns turns{house};
  loop::Loop loop;
  loop::Wheel wheel;
  worker::Registry registry;
  worker::Dispatcher dispatcher;
  Hall hall;
  std::vector<std::shared_ptr<const exchange::Plan>> plans;
  const std::shared_ptr<config::Listener> listener = std::make_shared<config::Listener>();
};

class Client {
 public:
  Client(World& world, uint8_t options)
      : world_(world),
        few_((options & 3) == 2),
        fd_(world.hall.Connect(world.listener, (options & 4) ? 1 : 0)) {}

  void Say(const Kind& kind) {
    if (ended_) return;
    if (!is_raw_) kinds_.push_back(&kind);
    stream_ += kind.head + kind.body;
  }
  void SayRaw(std::string_view bytes) {
    if (ended_ || bytes.empty()) return;
    is_raw_ = true;
    stream_ += bytes;
  }
  void Send(size_t bytes_max) {
    if (fd_ < 0 || ended_) return;
    const std::string_view rest = std::string_view(stream_).substr(sent_, bytes_max);
    const ssize_t sent = ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) sent_ += static_cast<size_t>(sent);
    if (sent < 0 && errno != EAGAIN) refused_ = true;
  }
  void EndSide() {
    if (fd_ >= 0) ::shutdown(fd_, SHUT_WR);
    ended_ = true;
  }
  void Leave() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
    ended_ = true;
  }
  bool Read(size_t bytes_max) {
    char bytes[4096];
    if (fd_ < 0) return false;
    const ssize_t got = ::recv(fd_, bytes, std::min(bytes_max, sizeof(bytes)), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN)) closed_ = true;
    if (got > 0) read_.append(bytes, static_cast<size_t>(got));
    return got > 0;
  }
  void Drain() { drained_ = true; }

  // Sends and reads all that is left, and holds it against the model.
  void Finish() {
    const bool left = fd_ < 0;
    Settle();
    if (!left && !drained_ && !is_raw_ && !ended_) {
      bool ends = false;
      Expect(&ends);
      CATZILLA_CHECK(ends == closed_, "the connection does not live as long as it should");
    }
    if (!left) EndSide();
    Settle();
    CATZILLA_CHECK(left || closed_, "the connection does not end with its client");
    Compare();
    Leave();
    world_.Pump();
  }

 private:
  struct Expected {
    const Kind* kind;
    bool says_close;
  };

  void Settle() {
    for (int idle = 0; idle < 3; ++idle) {
      if (!refused_) Send(SIZE_MAX);
      world_.Pump();
      while (Read(SIZE_MAX)) idle = 0;
      if (closed_ || fd_ < 0) return;
    }
  }

  // What must be answered of the bytes that were sent.
  std::vector<Expected> Expect(bool* ends) const {
    std::vector<Expected> list;
    size_t bytes = sent_;
    *ends = false;
    for (const Kind* kind : kinds_) {
      const size_t whole = kind->head.size() + kind->body.size();
      const bool is_last = few_ && list.size() == 2;
      if (bytes >= whole || (kind->is_early && bytes >= kind->head.size())) {
        list.push_back({kind, kind->says_close || is_last});
      }
      *ends = bytes >= whole && (kind->ends || is_last);
      if (*ends || bytes < whole) break;
      bytes -= whole;
    }
    return list;
  }

  // A client that has left has read something of it, and so has one that a drain met.
  void Compare() const {
    std::string_view rest = read_;
    bool ends = false;
    const std::vector<Expected> list = Expect(&ends);
    bool closing = false;
    for (const Expected& expected : list) {
      Answer answer;
      if (!TakeAnswer(&rest, expected.kind->is_head, &answer)) {
        CATZILLA_CHECK(fd_ < 0 || drained_, "an answer is missing");
        return;
      }
      CATZILLA_CHECK(!closing, "an answer behind the one that closes");
      CATZILLA_CHECK(answer.status == expected.kind->status, "another status");
      closing = answer.says_close;
      CATZILLA_CHECK(drained_ || answer.says_close == expected.says_close, "another promise");
      CATZILLA_CHECK(expected.kind->answer == nullptr || answer.body == expected.kind->answer,
                     "another body");
    }
    if (!is_raw_) {
      CATZILLA_CHECK(rest.empty(), "more was answered than asked");
      return;
    }
    // What came of the raw bytes: whole answers, no more than lines, the refusal last. Who may have
    // asked with HEAD cannot be told here.
    if (stream_.find("HEAD") != std::string::npos) return;
    size_t lines = static_cast<size_t>(std::count(stream_.begin(), stream_.end(), '\n')) + 1;
    while (!rest.empty()) {
      Answer answer;
      CATZILLA_CHECK(!closing, "an answer behind the one that closes");
      if (!TakeAnswer(&rest, false, &answer)) {
        CATZILLA_CHECK(fd_ < 0, "an answer is not whole");
        return;
      }
      closing = answer.says_close;
      CATZILLA_CHECK(lines-- > 0, "more was answered than asked");
    }
  }

  World& world_;
  const bool few_;  // Three requests per connection.
  int fd_;
  std::vector<const Kind*> kinds_;  // What `stream_` begins with.
  std::string stream_;
  size_t sent_ = 0;
  std::string read_;
  bool is_raw_ = false;
  bool ended_ = false;    // By the client.
  bool closed_ = false;   // By the server.
  bool refused_ = false;  // It takes nothing any more.
  bool drained_ = false;
};

struct Input {
  const uint8_t* data;
  size_t size;
  uint8_t Byte() {
    if (size == 0) return 0;
    --size;
    return *data++;
  }
  std::string_view Bytes(size_t count) {
    count = std::min(count, size);
    const std::string_view bytes(reinterpret_cast<const char*>(data), count);
    data += count;
    size -= count;
    return bytes;
  }
};

void Step(World& world, Client& client, Input& input) {
  const uint8_t op = input.Byte();
  const uint8_t more = op >> 4;
  switch (op & 15) {
    case 0:  // Whole.
    case 1:
    case 2:
    case 3:
      client.Say(Kinds()[more]);
      client.Send(SIZE_MAX);
      return;
    case 4:  // To be sent later, or in pieces.
    case 5:
    case 6:
      return client.Say(Kinds()[more]);
    case 7:
      return client.Send(more + 1);
    case 8:
      client.Send(size_t{more} * 16);
      return world.Pump();
    case 9:
      client.Send(more * 5000u);
      return world.Pump();
    case 10:
      client.SayRaw(input.Bytes(size_t{more} * 4 + 1));
      return client.Send(SIZE_MAX);
    case 11:
      (void)client.Read(more * 100u + 1);
      return world.Pump();
    case 12:
      return world.Pump();
    case 13:
      if (more < 4) client.EndSide();
      if (more == 4) client.Leave();
      return world.Pump();
    case 14:
      if (more != 0) return;
      client.Drain();
      world.hall.Drain();
      return;
    default:
      return client.Send(SIZE_MAX);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 1000) return 0;
  static World& world = *new World();
  Input input{data, size};
  const uint8_t options = input.Byte();
  world.UsePlan((options & 3) % 3);
  {
    Client client(world, options);
    while (input.size > 0) Step(world, client, input);
    client.Finish();
  }
  CATZILLA_CHECK(world.hall.open() == 0, "a connection is left open");
  CATZILLA_CHECK(world.hall.desk.context.exchanges.in_use() == 0, "an exchange is left");
  CATZILLA_CHECK(world.loop.turns_overrun() == 0, "work defers itself without end");
  return 0;
}
