// For this room's tests: requests from text, answers from lists, a store whose clock is a member.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sidecar/cache/store.h"
#include "sidecar/http/request_parser.h"

namespace catzilla::cache::testing {

// "GET /path\nName: value\nName: value"; Host is example.org unless given.
class Request {
 public:
  explicit Request(std::string_view text) : buffer_(std::make_unique<http::HeadBuffer>()) {
    const size_t line_end = std::min(text.find('\n'), text.size());
    bytes_ = std::string(text.substr(0, line_end)) + " HTTP/1.1\r\n";
    if (text.find("Host:") == std::string_view::npos) bytes_ += "Host: example.org\r\n";
    std::string_view rest = text.substr(std::min(line_end + 1, text.size()));
    while (!rest.empty()) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      bytes_ += std::string(rest.substr(0, end)) + "\r\n";
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    bytes_ += "\r\n";
    http::RequestParser parser;
    parser.Begin(buffer_.get(), {});
    const http::RequestParser::Step step = parser.Next(bytes_);
    EXPECT_EQ(step.event, http::RequestParser::Event::kHead) << bytes_;
    buffer_->head().Pin();
  }
  const http::RequestHead& head() const { return buffer_->head(); }
  RequestView view() const { return {head(), "http", head().host()}; }

 private:
  std::string bytes_;
  std::unique_ptr<http::HeadBuffer> buffer_;
};

inline ExchangeTimes At(int64_t now_us, int64_t wall_s = 1'000'000'000) {
  return {now_us, now_us, wall_s};
}

class RecordingWaker final : public Waker {
 public:
  void Wake(base::Ticket ticket) override { ++woken[ticket.slot]; }
  std::map<uint32_t, int> woken;
};

inline config::Cache SmallCache() {
  config::Cache cache;
  cache.name = "test";
  cache.memory_bytes_max = 4u << 20;
  cache.object_bytes_max = 1u << 20;
  return cache;
}

// A store, and the shortest ways to put things into it.
class Bench {
 public:
  explicit Bench(const config::Cache& cache = SmallCache()) : store(domain, waker, {1, 2}, cache) {}

  CacheKey Key(const Request& request) {
    CacheKey key;
    BuildKey(request.view(), {}, store.seed(), &key);
    return key;
  }
  Joined Join(const Request& request, Follower& follower, uint32_t exchange = 0,
              const Object* stale = nullptr) {
    return store.Join(Key(request), request.head(), stale, RecordPolicy{}, {exchange}, follower,
                      now_us);
  }
  // Asks, answers and ends a fill, as one client alone would.
  void Fill(std::string_view request_text, std::vector<Field> fields, std::string_view body,
            int status = 200) {
    const Request request(request_text);
    Follower follower;
    Joined joined = Join(request, follower);
    ASSERT_EQ(joined.role, Role::kLead);
    if (joined.producer.Begin(request.view(), {status, fields}, At(now_us)) ==
        Producer::Begun::kShared) {
      ASSERT_TRUE(body.empty() || joined.producer.Append(body));
      joined.producer.Finish();
    }
    joined.fill->Leave(follower);
  }
  base::Ref<Object> Find(std::string_view request_text) {
    const Request request(request_text);
    base::EpochDomain::Guard guard(domain);
    return base::Ref<Object>(
        const_cast<Object*>(store.Find(Key(request), request.head(), nullptr)));
  }

  base::EpochDomain domain;
  RecordingWaker waker;
  ObjectStore store;
  int64_t now_us = 1'000'000;
};

// All bytes that a follower can have now.
inline std::string ReadAll(Fill& fill, Follower& follower, Fill::State* state) {
  std::string text;
  Fill::Piece pieces[4];
  while (size_t count = fill.Read(follower, pieces, state)) {
    for (size_t i = 0; i < count; ++i) text += pieces[i].bytes;
  }
  return text;
}

inline std::string Text(const Object& object) {
  std::string text;
  for (std::string_view piece : object.body()) text += piece;
  return text;
}

}  // namespace catzilla::cache::testing
