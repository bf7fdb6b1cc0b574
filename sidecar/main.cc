// catzilla-sidecar: the daemon. Everything it is made of is in runtime/.
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <csignal>
#include <iostream>

#include "sidecar/runtime/end_process.h"
#include "sidecar/runtime/flags.h"
#include "sidecar/runtime/process_log.h"
#include "sidecar/runtime/sidecar.h"
#include "sidecar/schema/diagnostic.h"
#include "sidecar/schema/fields.h"

namespace {

// Before any thread exists: every one of them inherits the mask, and main alone waits for signals.
void BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2})
    sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

// Every client takes a descriptor: what the administrator allows at most is what is wanted.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

int Serve(const catzilla::runtime::Flags& flags) {
  catzilla::runtime::Sidecar sidecar(flags);
  const auto started = sidecar.Start();
  if (!started.ok()) {
    spdlog::error("{}", started.error());
    return 1;
  }
  if (flags.check) {
    spdlog::info("the configuration is valid");
    return 0;
  }
  sidecar.Run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  catzilla::runtime::Flags flags;
  if (const auto code = catzilla::runtime::ParseFlags(argc, argv, &flags)) return *code;
  if (flags.print_reference) {
    std::cout << catzilla::schema::ConfigurationReference();
    return 0;
  }
  if (flags.print_diagnostics) {
    std::cout << catzilla::schema::DiagnosticsReference();
    return 0;
  }
  BlockSignals();
  RaiseDescriptorLimit();
  catzilla::runtime::process_log::Open();
  const int code = Serve(flags);
  catzilla::runtime::process_log::Close();
  catzilla::runtime::AllHasEnded();
  return code;
}
