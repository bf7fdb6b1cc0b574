#include "sidecar/exchange/choose.h"

#include "sidecar/http/target.h"

namespace catzilla::exchange {
namespace {

void ChooseRefusal(uint16_t status, std::string_view cause, Choice* choice) {
  choice->kind = Choice::Kind::kRefusal;
  choice->status = status;
  choice->cause = cause;
}

void ChooseFiles(const Plan& plan, const Asked& asked, std::string& storage, Choice* choice) {
  const uint32_t mount = choice->verdict.mount;
  choice->kind = Choice::Kind::kMount;
  choice->mount = plan.mounts[mount].get();
  choice->stats = choice->mount->stats.get();
  if (!http::IsFitForFiles(asked.path_flags)) return ChooseRefusal(400, "path", choice);
  if ((asked.path_flags & http::kPathDotSegment) == 0) return;
  // Without its dot segments the path must still belong to this mount: it may not be a way around
  // what another resource guards.
  std::string_view clean;
  if (!http::RemoveDotSegments(asked.path, storage, &clean)) {
    return ChooseRefusal(400, "path", choice);
  }
  choice->path = clean;
  plan.router.Match(asked.host, asked.method, clean, &choice->verdict);
  if (choice->verdict.kind != route::Verdict::Kind::kMount || choice->verdict.mount != mount) {
    ChooseRefusal(400, "path", choice);
  }
}

void ChooseRoute(const RouteTarget& target, Choice* choice) {
  choice->kind = Choice::Kind::kRoute;
  choice->route = &target;
  choice->stats = target.stats.get();
  choice->matched = choice->verdict.kind == route::Verdict::Kind::kRoute;
  choice->as_fastapi = target.config->source == config::Layer::kApp;
  if (!choice->matched) choice->verdict.capture_count = 0;
  if (target.pool == nullptr && target.upstream == nullptr) ChooseRefusal(503, "no_pool", choice);
}

// What files cannot answer is the fallback's, if the mount has one: other methods, and paths that
// are fit for no file. What leaves the mount by its dot segments is refused in any case.
void ChooseMount(const Plan& plan, const Asked& asked, std::string& storage, Choice* choice) {
  const std::shared_ptr<const RouteTarget>& fallback = plan.mounts[choice->verdict.mount]->fallback;
  if (fallback == nullptr) return ChooseFiles(plan, asked, storage, choice);
  const bool for_files = asked.method == "GET" || asked.method == "HEAD";
  const bool has_dots = (asked.path_flags & http::kPathDotSegment) != 0;
  if (for_files || has_dots) {
    ChooseFiles(plan, asked, storage, choice);
    if (choice->kind == Choice::Kind::kMount ? for_files : has_dots) return;
  }
  ChooseFallback(*fallback, choice);
  choice->path = asked.path;
}

// False: nobody takes it, and its Upgrade is ignored, as a file's is.
bool ChooseSocket(const Plan& plan, const Asked& asked, Choice* choice) {
  plan.router.MatchSocket(asked.host, asked.path, &choice->verdict);
  choice->is_socket = true;
  switch (choice->verdict.kind) {
    case route::Verdict::Kind::kRoute:
    case route::Verdict::Kind::kAppDecides:
      ChooseRoute(*plan.routes[choice->verdict.route], choice);
      return true;
    case route::Verdict::Kind::kMount: {
      // No file is a socket, but what answers for what is no file may have one.
      const auto& fallback = plan.mounts[choice->verdict.mount]->fallback;
      const bool has_dots = (asked.path_flags & http::kPathDotSegment) != 0;
      choice->is_socket = fallback != nullptr && !has_dots;
      if (choice->is_socket) ChooseFallback(*fallback, choice);
      return choice->is_socket;
    }
    default:
      break;
  }
  if (plan.catch_all != nullptr) {
    ChooseRoute(*plan.catch_all, choice);
    return true;
  }
  choice->is_socket = false;
  if (!plan.as_fastapi) return false;
  // What Starlette says to who asks for a socket that no route has.
  ChooseRefusal(403, "no_websocket_route", choice);
  return true;
}

}  // namespace

void ChooseFallback(const RouteTarget& fallback, Choice* choice) {
  choice->mount = nullptr;
  choice->verdict.kind = route::Verdict::Kind::kAppDecides;
  ChooseRoute(fallback, choice);
}

std::shared_ptr<const void> Choice::Owner() const {
  if (mount != nullptr) return mount->shared_from_this();
  if (route != nullptr) return route->shared_from_this();
  return stats->shared_from_this();
}

void Choose(const Plan& plan, const Asked& asked, std::string& storage, Choice* choice) {
  choice->matched = choice->is_socket = choice->as_fastapi = false;
  choice->mount = nullptr;
  choice->route = nullptr;
  choice->stats = plan.unmatched.get();
  choice->path = asked.path;
  if (asked.for_socket && ChooseSocket(plan, asked, choice)) return;
  plan.router.Match(asked.host, asked.method, asked.path, &choice->verdict);
  switch (choice->verdict.kind) {
    case route::Verdict::Kind::kMount:
      return ChooseMount(plan, asked, storage, choice);
    case route::Verdict::Kind::kRoute:
    case route::Verdict::Kind::kAppDecides:
      return ChooseRoute(*plan.routes[choice->verdict.route], choice);
    case route::Verdict::Kind::kMethodNotAllowed: {
      const RouteTarget& target = *plan.routes[choice->verdict.route];
      const bool of_app = target.config->source == config::Layer::kApp;
      if (of_app && plan.catch_all != nullptr) return ChooseRoute(target, choice);
      choice->route = &target;
      choice->stats = target.stats.get();
      choice->as_fastapi = of_app;
      return ChooseRefusal(405, "method", choice);
    }
    case route::Verdict::Kind::kNotFound:
      break;
  }
  if (plan.catch_all != nullptr) return ChooseRoute(*plan.catch_all, choice);
  if (plan.app_is_starting) return ChooseRefusal(503, "app_starting", choice);
  choice->as_fastapi = plan.as_fastapi;
  ChooseRefusal(404, "no_route", choice);
}

}  // namespace catzilla::exchange
