// A request as a worker is told of it.
#include <string>

#include "sidecar/exchange/exchange.h"
#include "sidecar/exchange/request_fields.h"

namespace catzilla::exchange {

void Exchange::Describe(RequestFields* fields, origin::RequestSpec* spec) {
  const config::Route& route = *choice_.route->config;
  const ClientOrigin& origin = facts_.origin();
  facts_.NameRequest(*context_);
  if (!request_->Find("x-request-id").has_value()) fields->Add("x-request-id", facts_.id());
  spec->route_id = choice_.matched ? route.id : origin::kNoRoute;
  spec->method = request_->method_text();
  spec->http_version = request_->minor_version() == 0 ? 0x10 : 0x11;
  spec->scheme = origin.https ? 1 : 0;
  spec->accept_us = record_.started_us;
  if (spec->asked_us == 0) spec->asked_us = record_.started_us;
  if (route.request_timeout_us > 0) {
    spec->deadline_us = spec->asked_us + route.request_timeout_us;
  }
  spec->hard_timeout_us = route.hard_timeout_us;
  spec->client_port = origin.port;
  spec->server_port = client_->facts().server_port;
  spec->target = request_->target();
  if (request_->is_absolute()) {
    // Without scheme and authority, as a server behind a proxy sees it. Made, not cut out: where
    // the target has no path, that is a '/' from elsewhere.
    spec->target = fields->Keep(std::string(request_->path()).append(request_->query_with_mark()));
  }
  spec->path = facts_.path();
  spec->host = request_->authority();
  spec->client = origin.client();
  spec->peer = client_->facts().peer_text;
  spec->peer_trusted = IsTrusted(*client_->facts().listener, client_->facts().peer);
  spec->server = client_->facts().server_text;
  spec->request_id = facts_.id();
  spec->traceparent = request_->Find("traceparent").value_or("");
  spec->tracestate = request_->Find("tracestate").value_or("");
  spec->idempotent = route.idempotent;
  if (request_->method() == http::Method::kHead) spec->flags |= origin::kHeadRequest;
  if (route.cancel_on_disconnect) spec->flags |= origin::kCancelOnDisconnect;
  if (request_->wants_upgrade()) spec->flags |= origin::kUpgradeRequest;
  if (choice_.matched) {
    const route::Verdict& verdict = choice_.verdict;
    fields->FillSlots(*choice_.route, facts_.path(),
                      {verdict.captures.data(), verdict.capture_count}, spec);
  }
  spec->fields = fields->fields();
}

}  // namespace catzilla::exchange
