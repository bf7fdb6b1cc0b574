// The log says how many bytes of an answer have left, not how many waited when its client went.
#include <fstream>

#include "sidecar/server/client_test.h"

namespace catzilla::server {
namespace {

TEST_F(Serving, LogsOfAStreamedAnswerWhatHasLeft) {
  const std::string path = house.root + "/access.log";
  auto log = stats::AccessLog::Open(path, 1, 1 << 20);
  ASSERT_TRUE(log.ok());
  hall.desk.context.access_log = log->get();
  auto worker = Attach();
  auto peer = Connect(4096);
  peer->Send("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
  Pump();
  worker::FakeConnection::Frame frame;
  ASSERT_TRUE(worker.lane->Take(worker::FrameType::kRequest, &frame));
  worker.lane->Respond(frame.header.stream, std::string(60'000, 'x'), 0);
  Pump();
  const uint64_t sent = hall.desk.stats.bytes_sent.value();
  ASSERT_LT(sent, 60'000u) << "the kernel has taken all of it: this shows nothing";
  peer->Leave();
  Pump();
  hall.desk.context.access_log = nullptr;
  std::move(log).value().reset();
  std::ifstream file(path);
  std::string line;
  ASSERT_TRUE(std::getline(file, line));
  const size_t at = line.find("\"bytes\":");
  ASSERT_NE(at, std::string::npos) << line;
  EXPECT_LE(std::stoul(line.substr(at + 8)), sent) << line;
}

}  // namespace
}  // namespace catzilla::server
