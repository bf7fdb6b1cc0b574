#include "sidecar/exchange/context.h"

#include "sidecar/exchange/exchange.h"
#include "sidecar/exchange/fill_driver.h"

namespace catzilla::exchange {

Context::Context(loop::Loop& on_loop, loop::Wheel& on_wheel, worker::Dispatcher& with_dispatcher,
                 files::OpenSink& with_sink, stats::LoopStats& with_stats)
    : loop(on_loop),
      wheel(on_wheel),
      dispatcher(with_dispatcher),
      open_sink(with_sink),
      stats(with_stats),
      exchanges(on_loop.index(), base::Ticket::Kind::kExchange),
      fill_drivers(on_loop.index(), base::Ticket::Kind::kFillDriver) {}

Context::~Context() = default;

}  // namespace catzilla::exchange
