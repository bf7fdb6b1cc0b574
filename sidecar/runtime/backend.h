// What the control plane may ask, answered from the running parts.
//
// Threads: any; reads what is made for reading, and asks the registry and the stores, which guard
//          themselves. Owns: nothing; the Sidecar outlives the control server.
#pragma once

#include "sidecar/control/backend.h"
#include "sidecar/runtime/sidecar.h"

namespace catzilla::runtime {

class RunningBackend final : public control::Backend {
 public:
  explicit RunningBackend(Sidecar& sidecar) : sidecar_(sidecar) {}

  void Status(control::v1::StatusResponse* out) override;
  control::Answer Explain(const control::v1::ExplainRequest& request,
                          control::v1::ExplainResponse* out) override;
  void Memory(control::v1::MemoryResponse* out) override;
  uint64_t Drain(const std::string& reason) override;

  control::Answer Purge(const control::v1::PurgeRequest& request,
                        control::v1::PurgeResponse* out) override;
  control::Answer Lookup(const control::v1::LookupRequest& request,
                         control::v1::LookupResponse* out) override;
  control::Answer CacheStats(const control::v1::CacheServiceStatsRequest& request,
                             control::v1::CacheServiceStatsResponse* out) override;
  void Stats(control::v1::Stats* out) override;
  void Pools(control::v1::PoolServiceListResponse* out) override;
  control::Answer Dump(const control::v1::DumpRequest& request,
                       control::v1::DumpResponse* out) override;
  void UpstreamPools(control::v1::PoolServiceListResponse* out);

  base::Result<control::Ticket, std::string> BeginGeneration(const std::string& pool,
                                                             const std::string& table_hash,
                                                             uint32_t min_ready) override;
  bool Orphan(const std::string& pool, const control::GenerationId& generation) override;
  bool Resume(const std::string& pool, const control::GenerationId& generation) override;
  bool AwaitServed(uint64_t version) override { return sidecar_.AwaitServed(version); }

 private:
  Sidecar& sidecar_;
};

}  // namespace catzilla::runtime
