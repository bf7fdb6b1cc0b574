#include "sidecar/runtime/process_log.h"

#include <spdlog/async.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string_view>

#include "sidecar/stats/line_writer.h"

namespace catzilla::runtime::process_log {
namespace {

constexpr size_t kLinesMax = 8192;
constexpr int64_t kPatienceUs = 500'000;

std::atomic<uint64_t> g_lost{0};

// The length of the control character that `text` begins with, 0 if it is none: C0 and DEL, C1 in
// UTF-8 (U+009B is as good as ESC), and Unicode's own ends of lines (U+2028, U+2029).
size_t ControlBytes(std::string_view text) {
  const auto at = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  if (at(0) < 0x20 || at(0) == 0x7f) return 1;
  if (at(0) == 0xc2 && at(1) >= 0x80 && at(1) < 0xa0) return 2;
  if (at(0) == 0xe2 && at(1) == 0x80 && (at(2) == 0xa8 || at(2) == 0xa9)) return 3;
  return 0;
}

// Used by the writer's thread alone; base_sink's own mutex is never contended.
class Sink final : public spdlog::sinks::base_sink<std::mutex> {
 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t formatted;
    formatter_->format(message, formatted);
    std::string line = Escaped({formatted.data(), formatted.size() - 1}) + "\n";
    if (told_ < writer_.lost() && !stuck_) {
      line = "catzilla: " + std::to_string(writer_.lost() - told_) +
             " lines of this log were lost\n" + line;
    }
    const uint64_t lost = writer_.lost();
    const size_t taken = writer_.Write(line, stuck_ ? 0 : kPatienceUs);
    stuck_ = taken < line.size();
    if (stuck_) {
      writer_.Drop(std::string_view(line).substr(taken));
    } else if (writer_.lost() == lost) {
      told_ = lost;
    }
    g_lost.store(writer_.lost(), std::memory_order_relaxed);
  }
  void flush_() override {}

  stats::LineWriter writer_{STDERR_FILENO};
  bool stuck_ = false;
  uint64_t told_ = 0;
};

std::shared_ptr<spdlog::details::thread_pool>& Pool() {
  static std::shared_ptr<spdlog::details::thread_pool> pool;
  return pool;
}

}  // namespace

std::string Escaped(const std::string& text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  out.reserve(text.size());
  size_t raw = 0;  // How many bytes from here on are escaped as they are.
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (raw == 0) raw = ControlBytes(std::string_view(text).substr(i));
    if (raw == 0) {
      out += text[i];
      continue;
    }
    --raw;
    if (byte == '\n') {
      out += "\\n";
    } else if (byte == '\t') {
      out += "\\t";
    } else {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

void Open() {
  Pool() = std::make_shared<spdlog::details::thread_pool>(kLinesMax, 1);
  auto logger = std::make_shared<spdlog::async_logger>(
      "catzilla", std::make_shared<Sink>(), Pool(), spdlog::async_overflow_policy::overrun_oldest);
  spdlog::set_default_logger(std::move(logger));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
}

void Close() {
  spdlog::drop_all();
  Pool().reset();  // Waits for the thread, which waits for nobody.
}

uint64_t lost() {
  const auto& pool = Pool();
  return g_lost.load(std::memory_order_relaxed) + (pool == nullptr ? 0 : pool->overrun_counter());
}

}  // namespace catzilla::runtime::process_log
