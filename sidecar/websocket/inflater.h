// Undoes permessage-deflate (RFC 7692 section 7.2.2), a bounded step at a time.
//
// Pure; one loop's. Owns: zlib's window, 32 KiB at most and only while it is needed.
// Limits:  a step gives at most as much as there is room for, whatever it is fed.
// Fails:   with kError for bytes that are no deflate stream; for good.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace catzilla::websocket {

class Inflater {
 public:
  // `window_bits`: 8 to 15, as agreed for the client. `takeover`: messages refer to earlier ones.
  Inflater(int window_bits, bool takeover);
  ~Inflater();
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  struct Result {
    bool ok = true;
    size_t consumed = 0;
    size_t given = 0;
    bool more = false;  // The room is used up, and there may be more without further input.
  };
  Result Next(std::string_view input, std::span<char> out);
  // The message has ended: its tail is fed, in steps like the rest. Done when `more` is false.
  Result Flush(std::span<char> out);

 private:
  struct Stream;
  bool Begin();
  void End();

  const int window_bits_;
  const bool takeover_;
  size_t tail_fed_ = 0;
  bool over_ = false;  // A block said that it is the last: nothing follows in this message.
  std::unique_ptr<Stream> stream_;
};

}  // namespace catzilla::websocket
