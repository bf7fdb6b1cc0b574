// Answers that name a file instead of having a body, and answers whose body a worker has opened.
#include "sidecar/exchange/handed_file.h"

#include <fcntl.h>

#include <future>

#include "sidecar/exchange/visitor_test.h"
#include "sidecar/files/passed_file.h"

namespace catzilla::exchange {
namespace {

using Fields = std::vector<http::Field>;

// A folder at /files that no client reaches.
class HandedFiles : public testing::Test {
 protected:
  HandedFiles() {
    config::Mount mount = stage.house.MountAt("/files");
    mount.internal = true;
    mount.etags = true;
    mount.cache_control = "max-age=60";
    stage.snapshot.mounts = {std::make_shared<config::Mount>(mount)};
    stage.house.Write("a.txt", "0123456789");
    stage.Attach();
  }
  void Answer(uint32_t stream, const Fields& fields, std::string_view body = "",
              uint8_t flags = worker::kFlagEnd, uint16_t status = 200) {
    std::string text, payload;
    for (const http::Field& field : fields) worker::AppendField(field.name, field.value, &text);
    worker::ResponseView view;
    view.status = status;
    view.fields = worker::FieldsView(text);
    view.body = body;
    worker::EncodeResponse(view, &payload);
    stage.lane().Send(worker::FrameType::kResponse, stream, payload, flags);
  }
  // What a client of /app reads when the app has answered with `fields`.
  std::string Read(const Fields& fields, const std::string& lines = "",
                   const std::string& method = "GET") {
    Visitor guest{stage.desk.context};
    guest.Say(method + " /app HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n");
    Answer(stage.TakeRequest(), fields);
    EXPECT_TRUE(stage.Until([&] { return guest.over(); }));
    return guest.read();
  }
  static std::string Status(const std::string& answer) { return answer.substr(9, 3); }
  static std::string Body(const std::string& answer) {
    return answer.substr(answer.find("\r\n\r\n") + 4);
  }
  static bool Has(const std::string& answer, const std::string& line) {
    return answer.find("\r\n" + line + "\r\n") != std::string::npos;
  }

  Stage stage;
};

TEST_F(HandedFiles, AnswerWithTheAppsFields) {
  const std::string answer = Read({{"content-type", "application/x-own"},
                                   {"content-length", "0"},
                                   {"etag", "\"app\""},
                                   {"set-cookie", "a=1"},
                                   {"set-cookie", "b=2"},
                                   {"cache-control", "private"},
                                   {"content-disposition", "attachment"},
                                   {"x-accel-redirect", "/files/a.txt"}});
  EXPECT_EQ(Status(answer), "200");
  EXPECT_EQ(Body(answer), "0123456789");
  for (const char* line :
       {"content-type: application/x-own", "set-cookie: a=1", "set-cookie: b=2",
        "cache-control: private", "content-disposition: attachment", "Content-Length: 10"}) {
    EXPECT_TRUE(Has(answer, line)) << line << " in " << answer;
  }
  for (const char* absent : {"x-accel", "\"app\"", "max-age", "text/plain", "content-length: 0"}) {
    EXPECT_EQ(answer.find(absent), std::string::npos) << absent;
  }
}

TEST_F(HandedFiles, HaveTheTypeOfTheirNameIfTheAppGivesNone) {
  for (const Fields& fields :
       {Fields{{"x-accel-redirect", "/files/a.txt?x=1"}},
        Fields{{"content-type", ""}, {"x-accel-redirect", "/files/a.txt"}}}) {
    EXPECT_TRUE(Has(Read(fields), "Content-Type: text/plain; charset=utf-8"));
  }
}

TEST_F(HandedFiles, AreConditionalAndHaveRanges) {
  const Fields fields = {{"x-accel-redirect", "/files/a.txt"}, {"content-type", "x/y"}};
  const std::string whole = Read(fields);
  const size_t at = whole.find("ETag: ") + 6;
  const std::string tag = whole.substr(at, whole.find("\r\n", at) - at);
  const std::string fresh = Read(fields, "If-None-Match: " + tag + "\r\n");
  EXPECT_EQ(Status(fresh), "304");
  EXPECT_EQ(fresh.find("x/y"), std::string::npos);
  const std::string part = Read(fields, "Range: bytes=2-4\r\n");
  EXPECT_EQ(Status(part), "206");
  EXPECT_EQ(Body(part), "234");
  EXPECT_TRUE(Has(part, "Content-Range: bytes 2-4/10"));
  EXPECT_TRUE(Has(part, "content-type: x/y"));
  EXPECT_EQ(Status(Read(fields, "Range: bytes=20-\r\n")), "416");
  EXPECT_EQ(Status(Read(fields, "If-Match: \"other\"\r\n")), "412");
}

TEST_F(HandedFiles, OfOtherMethodsAreWhole) {
  const Fields fields = {{"x-accel-redirect", "/files/a.txt"}};
  EXPECT_EQ(Body(Read(fields, "Range: bytes=2-4\r\nContent-Length: 0\r\n", "POST")), "0123456789");
}

TEST_F(HandedFiles, AreFoundByTheirPathInTheFileSystem) {
  const std::string path = stage.house.root + "/a.txt";
  EXPECT_EQ(Body(Read({{"x-sendfile", path}})), "0123456789");
}

TEST_F(HandedFiles, NeverComeFromOutside) {
  const std::string above = stage.house.root + "/../x";
  const std::string backslash = stage.house.root + "/a\\b";
  const std::string beside = stage.house.root + "x/a.txt";
  const Fields rows[] = {{{"x-accel-redirect", "/etc/passwd"}},
                         {{"x-accel-redirect", "/filesx/a.txt"}},
                         {{"x-accel-redirect", "/files/../app"}},
                         {{"x-accel-redirect", "/files/%2e%2e/app"}},
                         {{"x-accel-redirect", "/files/a%2fb"}},
                         {{"x-accel-redirect", "/files/a%00"}},
                         {{"x-accel-redirect", "files/a.txt"}},
                         {{"x-accel-redirect", ""}},
                         {{"x-accel-redirect", "http://files/a.txt"}},
                         {{"x-sendfile", "/etc/passwd"}},
                         {{"x-sendfile", "a.txt"}},
                         {{"x-sendfile", backslash}},
                         {{"x-sendfile", above}},
                         {{"x-sendfile", beside}}};
  for (const Fields& fields : rows) {
    EXPECT_EQ(Status(Read(fields)), "502") << fields[0].value;
    EXPECT_NE(stage.Logged().back().find("cause=handed_file_"), std::string::npos);
  }
}

TEST_F(HandedFiles, ThatAreMissingAre404) {
  EXPECT_EQ(Status(Read({{"x-accel-redirect", "/files/none"}})), "404");
  EXPECT_EQ(Status(Read({{"x-accel-redirect", "/files/"}})), "404");
  EXPECT_EQ(Status(Read({{"x-accel-redirect", "/files/.hidden"}})), "404");
}

TEST_F(HandedFiles, AreOnlyOfAnswersThatAre2xx) {
  Visitor guest{stage.desk.context};
  guest.Say("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
  Answer(stage.TakeRequest(), {{"x-accel-redirect", "/files/a.txt"}}, "no", worker::kFlagEnd, 403);
  stage.Pump();
  EXPECT_EQ(Status(guest.read()), "403");
  EXPECT_EQ(Body(guest.read()), "no");
  EXPECT_EQ(guest.read().find("x-accel"), std::string::npos);  // Nobody learns where they are.
}

TEST_F(HandedFiles, WithoutAnInternalMountAreFieldsAsAnyOther) {
  stage.snapshot.mounts.clear();
  stage.Apply();
  EXPECT_TRUE(Has(Read({{"x-accel-redirect", "/files/a.txt"}}), "x-accel-redirect: /files/a.txt"));
}

TEST_F(HandedFiles, TakeTheWayOfABodyThatIsTooLongToBeDropped) {
  Visitor guest{stage.desk.context};
  guest.Say("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
  const uint32_t stream = stage.TakeRequest();
  Answer(stream, {{"x-accel-redirect", "/files/a.txt"}}, "x", 0);
  stage.Pump();
  EXPECT_EQ(guest.read(), "");  // The app's body is being dropped.
  const std::string piece(60 * 1024, 'x');
  stage.lane().Send(worker::FrameType::kResponseData, stream, piece);
  stage.lane().Send(worker::FrameType::kResponseData, stream, piece);
  EXPECT_NE(stage.TakeCancel(), 0u);
  EXPECT_TRUE(stage.Until([&] { return guest.over(); }));
  EXPECT_EQ(Body(guest.read()), "0123456789");
}

TEST_F(HandedFiles, DoNotWaitForABodyThatDoesNotEnd) {
  Visitor guest{stage.desk.context};
  guest.Say("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
  Answer(stage.TakeRequest(), {{"x-accel-redirect", "/files/a.txt"}}, "x", 0);
  EXPECT_TRUE(stage.Until([&] { return guest.over(); }));
  EXPECT_EQ(Body(guest.read()), "0123456789");
  EXPECT_NE(stage.TakeCancel(), 0u);
}

TEST_F(HandedFiles, HaveRoomForAllOfAnAppsFields) {
  const std::string large(8000, 'v');
  const Fields fields = {
      {"x-a", large}, {"x-b", large}, {"x-c", large}, {"x-accel-redirect", "/files/a.txt"}};
  const std::string answer = Read(fields);
  EXPECT_TRUE(Has(answer, "x-c: " + large));
  EXPECT_EQ(Body(answer), "0123456789");
}

TEST_F(HandedFiles, LeaveAsFastAsTheAppSays) {
  config::Mount mount = *stage.snapshot.mounts[0];
  mount.rate_bytes_per_s = 5000;
  stage.snapshot.mounts = {std::make_shared<config::Mount>(mount)};
  stage.Apply();
  const std::pair<const char*, uint64_t> rows[] = {{"", 5000},
                                                   {"100000", 100'000},
                                                   {"off", 0},
                                                   {"0", 0},
                                                   {"18446744073709551615", uint64_t{1} << 40}};
  for (const auto& [said, rate] : rows) {
    SCOPED_TRACE(said);
    Visitor guest{stage.desk.context};
    guest.SetReading(false);
    guest.Say("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
    Fields fields = {{"x-accel-redirect", "/files/a.txt"}};
    if (*said != '\0') fields.push_back({"x-accel-limit-rate", said});
    Answer(stage.TakeRequest(), fields);
    EXPECT_TRUE(stage.Until([&] { return guest.over() || guest.leaving(); }));
    EXPECT_EQ(guest.leaving(), rate != 0);  // What has no rate is short, and over.
    if (guest.leaving()) {
      EXPECT_EQ(guest.exchange().rate_limit(), rate);
    }
    guest.SetReading(true);
    EXPECT_TRUE(guest.over());
    EXPECT_EQ(guest.read().find("limit-rate"), std::string::npos);
  }
}

TEST_F(HandedFiles, OutliveTheWorkerThatNamedThem) {
  Visitor guest{stage.desk.context};
  guest.Say("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
  Answer(stage.TakeRequest(), {{"x-accel-redirect", "/files/a.txt"}}, "x", 0);
  stage.Pump();
  stage.lane().Kill();
  EXPECT_TRUE(stage.Until([&] { return guest.over(); }));
  EXPECT_EQ(Body(guest.read()), "0123456789");
}

TEST_F(HandedFiles, AreNeverStoredWithTheirAnswer) {
  for (int i = 0; i < 2; ++i) {
    Visitor guest{stage.desk.context};
    guest.Say("GET /kept HTTP/1.1\r\nHost: a\r\n\r\n");
    const uint32_t stream = stage.TakeRequest();
    ASSERT_NE(stream, 0u) << "the app was not asked again";
    Answer(stream, {{"x-accel-redirect", "/files/a.txt"}, {"cache-control", "max-age=60"}});
    EXPECT_TRUE(stage.Until([&] { return guest.over(); }));
    EXPECT_EQ(Body(guest.read()), "0123456789");
  }
}

TEST_F(HandedFiles, AreNotForClients) {
  Visitor guest{stage.desk.context};
  guest.Say("GET /files/a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
  stage.Pump();
  EXPECT_TRUE(guest.over());
  EXPECT_EQ(Status(guest.read()), "404");
}

// A client that leaves while the file is looked for.
TEST_F(HandedFiles, AreForgottenWithTheirClient) {
  std::promise<void> gate;
  ASSERT_TRUE(stage.house.executor.TryPost([&] { gate.get_future().wait(); }));
  Visitor guest{stage.desk.context};
  guest.Say("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
  Answer(stage.TakeRequest(), {{"x-accel-redirect", "/files/a.txt"}});
  stage.Pump();
  guest.Leave();
  gate.set_value();
  stage.house.Settle();
  stage.Pump();
  stage.ExpectAllGivenBack();
}

// Files that a worker passes on...

class PassedFiles : public HandedFiles {
 protected:
  std::string Read(const Fields& fields, int fd, uint64_t offset, uint64_t length,
                   const std::string& method = "GET", const std::string& version = "1.1") {
    Visitor guest{stage.desk.context};
    guest.Say(method + " /app HTTP/" + version + "\r\nHost: a\r\n\r\n");
    const uint32_t stream = stage.TakeRequest();
    Answer(stream, fields, "", 0);
    if (in_turns) stage.Pump();
    char payload[16];
    worker::Store64(payload, offset);
    worker::Store64(payload + 8, length);
    std::string frame;
    worker::AppendFrame({0, worker::FrameType::kSendfile, worker::kFlagEnd, stream, 0},
                        {payload, sizeof payload}, &frame);
    stage.lane().SendWithFile(frame, fd);
    stage.Pump();
    EXPECT_TRUE(guest.over());
    outcome = guest.outcome;
    return guest.read();
  }
  base::UniqueFd Open(int flags) const {
    return base::UniqueFd(::open((stage.house.root + "/a.txt").c_str(), flags | O_CLOEXEC));
  }
  std::string outcome;
  bool in_turns = false;  // The file comes later than the head.
};

TEST_F(PassedFiles, AreTheRestOfTheBody) {
  const base::UniqueFd fd = Open(O_RDONLY);
  EXPECT_EQ(Body(Read({{"content-length", "10"}}, fd.get(), 0, 10)), "0123456789");
  EXPECT_EQ(outcome, "keep-alive");
  EXPECT_EQ(Body(Read({{"content-length", "3"}}, fd.get(), 4, 3)), "456");
  EXPECT_EQ(Body(Read({}, fd.get(), 0, 10)), "a\r\n0123456789\r\n0\r\n\r\n");
  EXPECT_EQ(Body(Read({}, fd.get(), 0, 10, "GET", "1.0")), "0123456789");
  EXPECT_EQ(outcome, "close");
  EXPECT_EQ(Body(Read({{"content-length", "10"}}, fd.get(), 0, 10, "HEAD")), "");
}

TEST_F(PassedFiles, OfAnotherLengthThanPromisedAreSeen) {
  const base::UniqueFd fd = Open(O_RDONLY);
  EXPECT_EQ(Body(Read({{"content-length", "4"}}, fd.get(), 0, 10)), "0123");
  EXPECT_EQ(outcome, "keep-alive");
  EXPECT_EQ(Body(Read({{"content-length", "20"}}, fd.get(), 0, 10)), "0123456789");
  EXPECT_EQ(outcome, "broken");
}

TEST_F(PassedFiles, MustBeRegularReadOnlyAndLongEnough) {
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  const base::UniqueFd reader(pipe[0]), writer(pipe[1]);
  const base::UniqueFd folder(::open(stage.house.root.c_str(), O_RDONLY | O_CLOEXEC));
  const base::UniqueFd both = Open(O_RDWR), only_write = Open(O_WRONLY), path = Open(O_PATH);
  const base::UniqueFd good = Open(O_RDONLY);
  struct {
    int fd;
    uint64_t offset, length;
  } rows[] = {{reader.get(), 0, 0},      {folder.get(), 0, 0},        {both.get(), 0, 10},
              {only_write.get(), 0, 10}, {path.get(), 0, 10},         {good.get(), 0, 11},
              {good.get(), 11, 0},       {good.get(), UINT64_MAX, 2}, {good.get(), 2, UINT64_MAX}};
  for (const auto& row : rows) {
    in_turns = !in_turns;
    EXPECT_EQ(Body(Read({{"content-length", "10"}}, row.fd, row.offset, row.length)), "");
    EXPECT_EQ(outcome, "broken");
    EXPECT_NE(stage.Logged().back().find("cause=passed_file"), std::string::npos);
  }
}

TEST_F(PassedFiles, AreNotIntactOnceTheyHaveChanged) {
  std::string_view why;
  const base::Ref<files::PassedFile> file = files::PassedFile::Take(Open(O_RDONLY), 0, 10, &why);
  ASSERT_NE(file, nullptr);
  EXPECT_TRUE(file->Intact(1));
  stage.house.Write("a.txt", "longer than before");
  EXPECT_FALSE(file->Intact(2));
}

TEST_F(PassedFiles, AreNotAskedForPastTheirNumber) {
  files::PassedFiles all(stage.house.executor, 1);
  stage.desk.context.passed_files = &all;
  const auto flags = [&] {
    Visitor guest{stage.desk.context};
    guest.Say("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
    stage.Pump();
    worker::FakeConnection::Frame frame;
    EXPECT_TRUE(stage.lane().Take(worker::FrameType::kRequest, &frame));
    worker::RequestView view;
    EXPECT_EQ(worker::DecodeRequest(frame.payload, &view), nullptr);
    Answer(frame.header.stream, {});
    stage.Pump();
    return view.flags;
  };
  EXPECT_EQ(flags() & origin::kBytesOnly, 0u);
  {
    std::string_view why;
    const base::Ref<files::PassedFile> one = all.Take(Open(O_RDONLY), 0, 10, &why);
    EXPECT_NE(flags() & origin::kBytesOnly, 0u);
  }
  EXPECT_EQ(flags() & origin::kBytesOnly, 0u);
  stage.desk.context.passed_files = nullptr;
}

TEST_F(PassedFiles, ThatHangAreGivenUp) {
  std::string_view why;
  const base::Ref<files::PassedFile> file = files::PassedFile::Take(Open(O_RDONLY), 0, 10, &why);
  ASSERT_NE(file, nullptr);
  file->GiveUp();
  EXPECT_FALSE(file->Intact(1));
}

}  // namespace
}  // namespace catzilla::exchange
