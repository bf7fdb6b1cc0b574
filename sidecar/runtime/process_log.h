// The process's own log, on standard error: lines that people read.
//
// Threads: any may log, loops included: a line goes into a bounded queue and a thread of its own
//          writes it. Owns: that thread, from Open() to Close().
// Limits:  kLinesMax lines in the queue, of which the oldest give way; a reader that is stuck is
//          waited for kPatienceUs, and after that not until it reads again.
// Fails:   by losing lines, which are counted and, when writing works again, told.
// Form:    one line an event: control characters, which may come from clients, apps and workers,
//          are escaped.
#pragma once

#include <cstdint>
#include <string>

namespace catzilla::runtime::process_log {

void Open();
// Writes what can be written without waiting for long. Idempotent.
void Close();

// Lines that were not written. Any thread.
uint64_t lost();

// `text` with its control characters as \n, \xNN.
std::string Escaped(const std::string& text);

}  // namespace catzilla::runtime::process_log
