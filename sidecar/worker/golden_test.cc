// The golden frames of proto/catzilla/worker/v1/vectors, which the SDK's tests read too.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <variant>

#include "sidecar/worker/request_frame.h"

namespace catzilla::worker {
namespace {

// JSON, as far as generate.py writes it: texts are Latin-1, one character a byte.
struct Json {
  std::variant<std::monostate, uint64_t, std::string, std::vector<Json>,
               std::map<std::string, Json>>
      value;

  bool null() const { return value.index() == 0; }
  uint64_t number() const { return std::get<uint64_t>(value); }
  const std::string& text() const { return std::get<std::string>(value); }
  bool is_map() const { return value.index() == 4; }
  const std::vector<Json>& list() const { return std::get<std::vector<Json>>(value); }
  const Json& operator[](const std::string& key) const {
    return std::get<std::map<std::string, Json>>(value).at(key);
  }
  bool has(const std::string& key) const {
    return std::get<std::map<std::string, Json>>(value).count(key) != 0;
  }
};

class JsonReader {
 public:
  explicit JsonReader(const std::string& text) : p_(text.c_str()) {}

  Json Read() {
    Space();
    if (*p_ == '"') return {Text()};
    if (*p_ == '[') return {List()};
    if (*p_ == '{') return {Map()};
    if (std::strncmp(p_, "null", 4) == 0) {
      p_ += 4;
      return {};
    }
    char* end = nullptr;
    const uint64_t number = std::strtoull(p_, &end, 10);
    p_ = end;
    return {number};
  }

 private:
  void Space() {
    while (*p_ == ' ' || *p_ == '\n' || *p_ == ',' || *p_ == ':') ++p_;
  }
  std::string Text() {
    std::string out;
    for (++p_; *p_ != '"'; ++p_) {
      if (*p_ != '\\') {
        out.push_back(*p_);
        continue;
      }
      switch (*++p_) {
        case 'u': {
          const std::string hex(p_ + 1, 4);
          out.push_back(static_cast<char>(std::stoi(hex, nullptr, 16)));
          p_ += 4;
          break;
        }
        case 'n':
          out.push_back('\n');
          break;
        case 'b':
          out.push_back('\b');
          break;
        case 'f':
          out.push_back('\f');
          break;
        default:
          out.push_back(*p_);
      }
    }
    ++p_;
    return out;
  }
  std::vector<Json> List() {
    std::vector<Json> out;
    for (++p_, Space(); *p_ != ']'; Space()) out.push_back(Read());
    ++p_;
    return out;
  }
  std::map<std::string, Json> Map() {
    std::map<std::string, Json> out;
    for (++p_, Space(); *p_ != '}'; Space()) {
      std::string key = Text();
      out[key] = Read();
    }
    ++p_;
    return out;
  }
  const char* p_;
};

Json ReadVectors(const char* name) {
  std::ifstream file(std::string("proto/catzilla/worker/v1/vectors/") + name);
  EXPECT_TRUE(file.is_open()) << "run from the top of the tree";
  std::stringstream text;
  text << file.rdbuf();
  return JsonReader(text.str()).Read();
}

std::string FromHex(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return out;
}

FrameType TypeNamed(const std::string& name) {
  static const std::map<std::string, FrameType> kTypes = {
      {"HELLO", FrameType::kHello},
      {"HELLO_ACK", FrameType::kHelloAck},
      {"PING", FrameType::kPing},
      {"PONG", FrameType::kPong},
      {"GOAWAY", FrameType::kGoaway},
      {"WINDOW", FrameType::kWindow},
      {"CREDIT", FrameType::kCredit},
      {"REQUEST", FrameType::kRequest},
      {"REQUEST_DATA", FrameType::kRequestData},
      {"RESPONSE", FrameType::kResponse},
      {"RESPONSE_DATA", FrameType::kResponseData},
      {"TRAILERS", FrameType::kTrailers},
      {"SENDFILE", FrameType::kSendfile},
      {"INFORMATIONAL", FrameType::kInformational},
      {"END", FrameType::kEnd},
      {"CANCEL", FrameType::kCancel},
      {"DETACHED", FrameType::kDetached},
      {"UPGRADE", FrameType::kUpgrade},
      {"WS_ACCEPT", FrameType::kWsAccept},
      {"WS_MESSAGE", FrameType::kWsMessage},
      {"WS_CLOSE", FrameType::kWsClose},
      {"STATS", FrameType::kStats},
      {"LOG", FrameType::kLog},
      {"DUMP", FrameType::kDump}};
  return kTypes.at(name);
}

std::vector<Field> FieldsOf(const Json& fields) {
  std::vector<Field> out;
  for (const Json& pair : fields.list())
    out.push_back({pair.list()[0].text(), pair.list()[1].text()});
  return out;
}

std::string Joined(const Json& fields) {
  std::string out;
  for (const Field& field : FieldsOf(fields)) AppendField(field.name, field.value, &out);
  return out;
}

// Each Encode… here builds the payload from the fields of a vector, with the sidecar's own encoder.

std::string EncodedHello(const Json& f) {
  const std::string token = FromHex(f["token"].text());
  const std::string hash = FromHex(f["table_hash"].text());
  Hello hello;
  hello.version_min = static_cast<uint16_t>(f["version_min"].number());
  hello.version_max = static_cast<uint16_t>(f["version_max"].number());
  hello.capabilities = static_cast<uint32_t>(f["capabilities"].number());
  hello.purpose = static_cast<Purpose>(f["purpose"].number());
  hello.lane_kind = static_cast<LaneKind>(f["lane_kind"].number());
  hello.loop_index = static_cast<uint16_t>(f["loop_index"].number());
  hello.token = token;
  hello.epoch = f["epoch"].number();
  hello.generation = f["generation"].number();
  hello.table_hash = hash;
  hello.pid = static_cast<uint32_t>(f["pid"].number());
  hello.worker_index = static_cast<uint32_t>(f["worker_index"].number());
  hello.start_time_us = f["start_time_us"].number();
  hello.in_flight_max = static_cast<uint32_t>(f["in_flight_max"].number());
  hello.stream_window = static_cast<uint32_t>(f["stream_window"].number());
  hello.connection_window = static_cast<uint32_t>(f["connection_window"].number());
  hello.head_bytes_max = static_cast<uint32_t>(f["head_bytes_max"].number());
  hello.data_bytes_max = static_cast<uint32_t>(f["data_bytes_max"].number());
  hello.monotonic_us = f["monotonic_us"].number();
  hello.wall_us = f["wall_us"].number();
  hello.rss_bytes = f["rss_bytes"].number();
  hello.pool = f["pool"].text();
  hello.sdk = f["sdk"].text();
  hello.python = f["python"].text();
  hello.framework = f["framework"].text();
  hello.note = f["note"].text();
  std::string out;
  EncodeHello(hello, &out);
  return out;
}

std::string EncodedHelloAck(const Json& f) {
  HelloAck ack;
  ack.version = static_cast<uint16_t>(f["version"].number());
  ack.loop_count = static_cast<uint16_t>(f["loop_count"].number());
  ack.capabilities = static_cast<uint32_t>(f["capabilities"].number());
  ack.credits = static_cast<uint32_t>(f["credits"].number());
  ack.stream_window = static_cast<uint32_t>(f["stream_window"].number());
  ack.connection_window = static_cast<uint32_t>(f["connection_window"].number());
  ack.head_bytes_max = static_cast<uint32_t>(f["head_bytes_max"].number());
  ack.data_bytes_max = static_cast<uint32_t>(f["data_bytes_max"].number());
  ack.ping_interval_ms = static_cast<uint32_t>(f["ping_interval_ms"].number());
  ack.monotonic_us = f["monotonic_us"].number();
  ack.wall_us = f["wall_us"].number();
  ack.worker_id = f["worker_id"].number();
  ack.lane_id = static_cast<uint32_t>(f["lane_id"].number());
  ack.loop_index = static_cast<uint32_t>(f["loop_index"].number());
  ack.sidecar = f["sidecar"].text();
  std::string out;
  EncodeHelloAck(ack, &out);
  return out;
}

std::string EncodedResponse(const Json& f) {
  const std::string fields = Joined(f["fields"]);
  std::string tags;
  for (const Json& tag : f["tags"].list()) tags += tag.text() + '\0';
  ResponseView response;
  response.status = static_cast<uint16_t>(f["status"].number());
  response.lane = static_cast<uint8_t>(f["lane"].number());
  response.fallback = static_cast<uint8_t>(f["fallback"].number());
  response.flags = static_cast<uint16_t>(f["flags"].number());
  response.handler_us = static_cast<uint32_t>(f["handler_us"].number());
  response.ttl_ms = static_cast<uint32_t>(f["ttl_ms"].number());
  response.stale_while_revalidate_ms =
      static_cast<uint32_t>(f["stale_while_revalidate_ms"].number());
  response.stale_if_error_ms = static_cast<uint32_t>(f["stale_if_error_ms"].number());
  response.fields = FieldsView(fields);
  response.tags = tags;
  response.body = f["body"].text();
  std::string out;
  EncodeResponse(response, &out);
  return out;
}

std::string EncodedStats(const Json& f) {
  WorkerStats stats;
  stats.rss_bytes = f["rss_bytes"].number();
  stats.requests = f["requests"].number();
  stats.exceptions = f["exceptions"].number();
  stats.active = static_cast<uint32_t>(f["active"].number());
  stats.detached = static_cast<uint32_t>(f["detached"].number());
  stats.loop_lag_us = static_cast<uint32_t>(f["loop_lag_us"].number());
  stats.threads = static_cast<uint32_t>(f["threads"].number());
  stats.gc_us = f["gc_us"].number();
  stats.wall_us = f["wall_us"].number();
  std::string out;
  EncodeStats(stats, &out);
  return out;
}

// The whole frame, as EncodeRequest() writes header and payload at once.
std::string EncodedRequest(const Json& f, uint32_t stream, uint32_t attempt, bool upgrade) {
  const std::vector<Field> fields = FieldsOf(f["fields"]);
  std::vector<std::vector<std::string_view>> lists(f["slots"].list().size());
  std::vector<SlotValue> slots(lists.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    const Json& slot = f["slots"].list()[i];
    if (slot.null()) continue;
    if (slot.is_map()) {
      for (const Json& item : slot["list"].list()) lists[i].push_back(item.text());
      slots[i] = {SlotValue::Kind::kList, {}, lists[i]};
    } else {
      slots[i] = {SlotValue::Kind::kValue, slot.text(), {}};
    }
  }
  RequestSpec spec;
  spec.route_id = static_cast<uint32_t>(f["route_id"].number());
  spec.flags = static_cast<uint32_t>(f["flags"].number());
  spec.method = f["method"].text();
  spec.http_version = static_cast<uint8_t>(f["http_version"].number());
  spec.scheme = static_cast<uint8_t>(f["scheme"].number());
  spec.body_mode = static_cast<BodyMode>(f["body_mode"].number());
  spec.accept_us = static_cast<int64_t>(f["accept_us"].number());
  spec.deadline_us = static_cast<int64_t>(f["deadline_us"].number());
  spec.body_length = f["body_length"].number();
  spec.client_port = static_cast<uint16_t>(f["client_port"].number());
  spec.server_port = static_cast<uint16_t>(f["server_port"].number());
  spec.target = f["target"].text();
  spec.path = f["path"].text();
  spec.host = f["host"].text();
  spec.client = f["client"].text();
  spec.server = f["server"].text();
  spec.root_path = f["root_path"].text();
  spec.request_id = f["request_id"].text();
  spec.traceparent = f["traceparent"].text();
  spec.tracestate = f["tracestate"].text();
  spec.fields = fields;
  spec.slots = slots;
  spec.body = f["body"].text();
  spec.upgrade = upgrade;
  std::string out;
  EncodeRequest(spec, &out);
  EXPECT_EQ(out.size(), kFrameHeaderBytes + RequestHeadBytes(spec) + spec.body.size());
  PatchRequest(out.data(), stream, attempt, static_cast<uint32_t>(f["queue_us"].number()));
  return out;
}

void ExpectRequestReads(const Json& f, std::string_view payload) {
  RequestView r;
  ASSERT_EQ(DecodeRequest(payload, &r), nullptr);
  EXPECT_EQ(r.method == Method::kOther ? r.method_text : MethodText(r.method), f["method"].text());
  EXPECT_EQ(r.target, f["target"].text());
  EXPECT_EQ(r.path, f["path"].text());
  const size_t mark = r.target.find('?');
  EXPECT_EQ(r.query, mark == std::string_view::npos ? "" : r.target.substr(mark + 1));
  EXPECT_EQ(r.host, f["host"].text());
  EXPECT_EQ(r.client, f["client"].text());
  EXPECT_EQ(r.tracestate, f["tracestate"].text());
  EXPECT_EQ(r.body, f["body"].text());
  EXPECT_EQ(r.body_length, f["body_length"].number());
  EXPECT_EQ(r.deadline_us, f["deadline_us"].number());
  EXPECT_EQ(r.fields.bytes(), Joined(f["fields"]));
  const auto& slots = f["slots"].list();
  ASSERT_EQ(r.slot_count, slots.size());
  for (uint16_t i = 0; i < r.slot_count; ++i) {
    const auto slot = r.SlotAt(i);
    EXPECT_EQ(slot.present, !slots[i].null());
    if (!slot.present) continue;
    ASSERT_EQ(slot.list, slots[i].is_map());
    if (!slot.list) {
      EXPECT_EQ(slot.bytes, slots[i].text());
      continue;
    }
    const auto& items = slots[i]["list"].list();
    ASSERT_EQ(slot.list_size(), items.size());
    for (size_t k = 0; k < items.size(); ++k) EXPECT_EQ(r.ListItem(slot, k), items[k].text());
  }
}

// Null, or why any of the decoders refuses the frame.
const char* Refusal(const std::string& bytes) {
  if (bytes.size() < kFrameHeaderBytes) return "short";
  const auto header = DecodeHeader(bytes.data(), FrameLimits{});
  if (!header.ok()) return header.error().message;
  const FrameView frame{*header, std::string_view(bytes).substr(kFrameHeaderBytes)};
  if (const char* why = CheckFrame(frame)) return why;
  Hello hello;
  HelloAck ack;
  RequestView request;
  ResponseView response;
  HeadView head;
  WorkerStats stats;
  bool sound = true;
  switch (header->type) {
    case FrameType::kHello:
      return DecodeHello(frame.payload, &hello);
    case FrameType::kHelloAck:
      return DecodeHelloAck(frame.payload, &ack);
    case FrameType::kRequest:
    case FrameType::kUpgrade:
      return DecodeRequest(frame.payload, &request);
    case FrameType::kResponse:
      if (const char* why = DecodeResponse(frame.payload, &response, &sound)) return why;
      return sound ? nullptr : "fields";
    case FrameType::kInformational:
    case FrameType::kTrailers:
    case FrameType::kWsAccept:
      return DecodeHead(frame.payload, &head);
    case FrameType::kStats:
      return DecodeStats(frame.payload, &stats);
    default:
      return nullptr;
  }
}

TEST(GoldenFrames, EveryOneIsReadAndWrittenByteForByte) {
  const Json cases = ReadVectors("frames.json");
  ASSERT_GE(cases.list().size(), 30u);
  for (const Json& c : cases.list()) {
    SCOPED_TRACE(c["name"].text());
    const std::string bytes = FromHex(c["hex"].text());
    const FrameType type = TypeNamed(c["type"].text());
    const auto stream = static_cast<uint32_t>(c["stream"].number());
    const auto aux = static_cast<uint32_t>(c["aux"].number());
    EXPECT_EQ(Refusal(bytes), nullptr);
    const auto header = DecodeHeader(bytes.data(), FrameLimits{});
    ASSERT_TRUE(header.ok());
    EXPECT_EQ(header->type, type);
    EXPECT_EQ(header->flags, c["flags"].number());
    EXPECT_EQ(header->stream, stream);
    EXPECT_EQ(header->aux, aux);
    const Json& f = c["fields"];
    const std::string_view payload = std::string_view(bytes).substr(kFrameHeaderBytes);
    std::string again;
    std::string joined;
    if (type == FrameType::kRequest || type == FrameType::kUpgrade) {
      ExpectRequestReads(f, payload);
      EXPECT_EQ(EncodedRequest(f, stream, aux, type == FrameType::kUpgrade), bytes);
      continue;
    }
    if (type == FrameType::kHello) {
      again = EncodedHello(f);
    } else if (type == FrameType::kHelloAck) {
      again = EncodedHelloAck(f);
    } else if (type == FrameType::kResponse) {
      again = EncodedResponse(f);
    } else if (type == FrameType::kInformational || type == FrameType::kTrailers ||
               type == FrameType::kWsAccept) {
      joined = Joined(f["fields"]);
      EncodeHead({static_cast<uint16_t>(f["status"].number()), FieldsView(joined)}, &again);
    } else if (type == FrameType::kStats) {
      again = EncodedStats(f);
    } else {
      again = f["payload"].text();
    }
    std::string frame;
    AppendFrame({0, type, header->flags, stream, aux}, again, &frame);
    EXPECT_EQ(frame, bytes);
  }
}

TEST(GoldenFrames, EveryBrokenOneIsRefused) {
  const Json cases = ReadVectors("invalid.json");
  ASSERT_GE(cases.list().size(), 30u);
  for (const Json& c : cases.list()) {
    SCOPED_TRACE(c["name"].text());
    EXPECT_NE(Refusal(FromHex(c["hex"].text())), nullptr);
  }
}

TEST(FrameReader, FramesSurviveAnySplit) {
  std::string all;
  size_t count = 0;
  const Json cases = ReadVectors("frames.json");
  for (const Json& c : cases.list()) {
    all += FromHex(c["hex"].text());
    ++count;
  }
  for (size_t step :
       {size_t{1}, size_t{2}, size_t{15}, size_t{16}, size_t{17}, size_t{997}, all.size()}) {
    FrameReader reader{FrameLimits{}};
    std::string seen;
    size_t frames = 0;
    for (size_t at = 0; at < all.size();) {
      size_t room = 0;
      char* space = reader.Space(&room);
      const size_t take = std::min({room, step, all.size() - at});
      std::memcpy(space, all.data() + at, take);
      reader.Commit(take);
      at += take;
      FrameView frame;
      while (reader.Next(&frame) == FrameReader::Step::kFrame) {
        AppendFrame(frame.header, frame.payload, &seen);
        ++frames;
      }
    }
    EXPECT_EQ(frames, count);
    EXPECT_TRUE(seen == all) << "split every " << step;
    EXPECT_TRUE(reader.empty());
  }
}

}  // namespace
}  // namespace catzilla::worker
