// catzillactl cache purge, lookup, stats.
#include <iostream>
#include <map>

#include "control_client/commands/command.h"
#include "sidecar/base/utf8.h"

namespace catzilla::control_client {
namespace {

struct PurgeFlags {
  std::vector<std::string> urls;
  std::vector<std::string> prefixes;
  std::vector<std::string> tags;
  std::vector<std::string> hosts;
  bool all = false;
  bool dry_run = false;
  std::string cache;
};

// One line per selector; fails if any did, and names it.
ExitCode RunPurge(const PurgeFlags& flags, Session& session, Client& client) {
  std::vector<std::pair<std::string, v1::PurgeRequest>> requests;
  const auto add = [&](const std::string& what, const auto& select) {
    v1::PurgeRequest request;
    select(request);
    request.set_cache(flags.cache);
    request.set_dry_run(flags.dry_run);
    requests.emplace_back(what, std::move(request));
  };
  for (const auto& url : flags.urls)
    add("url " + url, [&](auto& r) { r.set_url(base::PercentSafe(url)); });
  for (const auto& prefix : flags.prefixes) {
    add("prefix " + prefix, [&](auto& r) { r.set_prefix(base::PercentSafe(prefix)); });
  }
  for (const auto& tag : flags.tags) add("tag " + tag, [&](auto& r) { r.set_tag(tag); });
  for (const auto& host : flags.hosts) add("host " + host, [&](auto& r) { r.set_host(host); });
  if (flags.all) add("all", [](auto& r) { r.set_all(true); });
  if (requests.empty()) {
    std::cerr << "catzillactl: say what to purge: URL, --prefix, --tag, --host or --all\n";
    return kUsage;
  }
  ExitCode worst = kOk;
  for (const auto& [what, request] : requests) {
    const auto result = client.Purge(request);
    if (!result.ok()) {
      std::cerr << base::PercentSafe(what) << ": ";
      worst = Report(result.error());
    } else if (!session.PrintStructured(*result)) {
      std::cout << what << ": " << (flags.dry_run ? "would purge " : "purged ")
                << Count(result->objects(), "object") << ", " << Bytes(result->bytes()) << ", "
                << Count(result->fills(), "fill") << " in flight\n";
    }
  }
  return worst;
}

ExitCode RunLookup(const v1::LookupRequest& request, Session& session, Client& client) {
  const auto result = client.Lookup(request);
  if (!result.ok()) return Report(result.error());
  if (!session.PrintStructured(*result)) {
    Table table({"NAME", "CACHE", "STATUS", "SIZE", "HITS", "FRESH", "VARY", "TAGS", "AGE"});
    for (const v1::CachedObject& object : result->objects()) {
      std::string tags;
      for (const std::string& tag : object.tags()) tags += (tags.empty() ? "" : ",") + tag;
      std::map<std::string, std::string> fields(object.vary().begin(), object.vary().end());
      std::string vary;
      for (const auto& [name, value] : fields)
        vary += (vary.empty() ? "" : "; ") + name + "=" + value;
      const int64_t fresh_s = object.fresh_for_ms() / 1000;
      table.Row({object.key() + (object.selected() ? " *" : ""), object.cache(),
                 std::to_string(object.status()), Bytes(object.bytes()),
                 std::to_string(object.hits()),
                 fresh_s >= 0 ? Age(fresh_s) : "stale " + Age(-fresh_s), vary.empty() ? "-" : vary,
                 tags.empty() ? "-" : tags, Age(object.age_ms() / 1000)});
    }
    std::cout << table.Text();
  }
  if (result->objects().empty()) {
    std::cerr << "catzillactl: not stored: " << request.url() << "\n";
    return kNotFound;
  }
  return kOk;
}

ExitCode RunStats(Session& session, Client& client) {
  const auto result = client.CacheStats(v1::CacheServiceStatsRequest());
  if (!result.ok()) return Report(result.error());
  if (session.PrintStructured(*result)) return kOk;
  Table table({"NAME", "OBJECTS", "SIZE", "OF", "HITS", "MISSES", "STALE", "COLLAPSED", "EVICTED",
               "PURGED", "HIT%"});
  for (const v1::CacheStats& cache : result->caches()) {
    const uint64_t asked = cache.hits() + cache.misses() + cache.stale();
    table.Row({cache.cache(), std::to_string(cache.objects()), Bytes(cache.bytes()),
               Bytes(cache.bytes_max()), std::to_string(cache.hits()),
               std::to_string(cache.misses()), std::to_string(cache.stale()),
               std::to_string(cache.collapsed()), std::to_string(cache.evictions()),
               std::to_string(cache.purged()),
               asked == 0 ? "-" : std::to_string(cache.hits() * 100 / asked)});
  }
  std::cout << table.Text();
  return kOk;
}

}  // namespace

void AddCache(Session& session) {
  CLI::App* cache = session.root->add_subcommand("cache", "the edge caches")->require_subcommand(1);

  CLI::App* purge = cache->add_subcommand("purge", "forget stored answers, every variant of them");
  const auto flags = std::make_shared<PurgeFlags>();
  purge->add_option("URL", flags->urls, "http://host/path?query, or /path?query for every host");
  purge->add_option("--prefix", flags->prefixes, "every URL below");
  purge->add_option("--tag", flags->tags, "everything with this tag");
  purge->add_option("--host", flags->hosts, "everything of this host");
  purge->add_flag("--all", flags->all, "everything");
  purge->add_option("--cache", flags->cache, "only this cache");
  purge->add_flag("--dry-run", flags->dry_run, "count, keep");
  purge->callback([&session, flags] {
    session.run = [flags](Session& chosen, Client& client) {
      return RunPurge(*flags, chosen, client);
    };
  });

  CLI::App* lookup = cache->add_subcommand("lookup", "is a URL stored? exit code 4 if not");
  const auto request = std::make_shared<v1::LookupRequest>();
  const auto url = std::make_shared<std::string>();
  const auto headers = std::make_shared<std::vector<std::string>>();
  lookup->add_option("URL", *url, "http://host/path?query, or /path?query for every host")
      ->required();
  lookup->add_option("-X,--method", *request->mutable_method(), "of the request that asks (GET)");
  lookup->add_option("-H,--header", *headers,
                     "\"name: value\" of the request that asks; what it would get has a *");
  lookup->callback([&session, request, url, headers] {
    session.run = [request, url, headers](Session& chosen, Client& client) -> ExitCode {
      request->set_url(base::PercentSafe(*url));
      if (!ReadHeaders(*headers, request->mutable_headers())) return kUsage;
      return RunLookup(*request, chosen, client);
    };
  });

  cache->add_subcommand("stats", "hits, misses and sizes")->callback([&session] {
    session.run = &RunStats;
  });
}

}  // namespace catzilla::control_client
