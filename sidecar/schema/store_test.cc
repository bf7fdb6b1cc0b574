#include "sidecar/schema/store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "sidecar/schema/compile.h"
#include "sidecar/schema/fields.h"
#include "sidecar/schema/store_harness.h"

namespace catzilla::schema {
namespace {

// Versions...

TEST(Store, UnchangedResourcesAreTheSameObjects) {
  ConfigStore store(Options());
  ASSERT_TRUE(
      SetFile(store, "mounts: [{name: a, prefix: /a, root: /}, {name: b, prefix: /b, root: /}]\n")
          .ok());
  const auto before = store.Current()->snapshot;
  ASSERT_TRUE(
      SetFile(store, "mounts: [{name: a, prefix: /a, root: /}, {name: b, prefix: /c, root: /}]\n")
          .ok());
  const auto after = store.Current()->snapshot;
  EXPECT_EQ(before->mounts[0], after->mounts[0]);
  EXPECT_NE(before->mounts[1], after->mounts[1]);
  EXPECT_EQ(before->limits, after->limits);
  EXPECT_EQ(before->pools[0], after->pools[0]);
  EXPECT_EQ(after->version, 2u);
}

TEST(Store, AnEqualFileIsNoNewVersion) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "limits: {idle_timeout: 1s}\n").ok());
  const auto before = store.Current();
  const Outcome outcome = SetFile(store, "# a comment\nlimits:\n  idle_timeout: 1s\n");
  EXPECT_EQ(outcome.applied, Applied::kUnchanged);
  EXPECT_EQ(outcome.version, 1u);
  EXPECT_EQ(store.Current()->snapshot, before->snapshot);
  EXPECT_EQ(store.Current()->merged.sources.at("limits.idle_timeout").line, 3u)
      << "lines follow the new text";
}

TEST(Store, CompareAndSwap) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "{}").ok());
  ChangeOptions options;
  options.if_version = 1;
  EXPECT_EQ(Apply(store, "server_name: a\n", options).applied, Applied::kChanged);
  EXPECT_EQ(Apply(store, "server_name: b\n", options).applied, Applied::kConflict);
  EXPECT_EQ(store.Current()->snapshot->server_name, "a");
}

TEST(Store, DryRunShowsTheDifferenceAndChangesNothing) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "mounts: [{name: a, prefix: /a, root: /x}]\n").ok());
  ChangeOptions options;
  options.dry_run = true;
  options.with_diff = true;
  const Outcome outcome = Apply(
      store, "mounts: [{name: a, prefix: /a, root: /y}]\nlimits: {max_headers: 7}\n", options);
  EXPECT_EQ(outcome.applied, Applied::kChanged);
  EXPECT_EQ(outcome.version, 1u);
  EXPECT_EQ(store.Current()->number, 1u);
  EXPECT_NE(outcome.diff.find("  mounts[a]\n"), std::string::npos) << outcome.diff;
  EXPECT_NE(outcome.diff.find("-   root: /x\n+   root: /y\n"), std::string::npos) << outcome.diff;
  EXPECT_NE(outcome.diff.find("+   max_headers: 7\n"), std::string::npos) << outcome.diff;
  EXPECT_EQ(Apply(store, "limits: {max_headers: 1}\n", options).applied, Applied::kRefused);
  EXPECT_EQ(store.LastRejected(), nullptr);
}

TEST(Store, ARefusedChangeIsRememberedUntilItsLayerIsRightAgain) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "server_name: a\n").ok());
  std::vector<std::string> events;
  const int id = store.Subscribe([&](const ConfigStore::Event& event) {
    events.push_back(event.version ? "v" + std::to_string(event.version->number)
                                   : "refused " + event.rejection->origin);
  });
  EXPECT_EQ(SetFile(store, "limits: {idle_timeout: 5}\n").applied, Applied::kRefused);
  EXPECT_EQ(store.Current()->snapshot->server_name, "a");
  ASSERT_NE(store.LastRejected(), nullptr);
  EXPECT_EQ(store.RejectionsTotal(config::Layer::kFile), 1u);
  EXPECT_TRUE(Apply(store, "server_name: b\n").ok());
  EXPECT_NE(store.LastRejected(), nullptr) << "the file is still wrong";
  EXPECT_TRUE(SetFile(store, "server_name: c\n").ok());
  EXPECT_EQ(store.LastRejected(), nullptr);
  store.Unsubscribe(id);
  SetFile(store, "server_name: d\ndevelopment: true\n");
  // The file's server_name is hidden by the API's, so "c" was no new version.
  EXPECT_EQ(events, (std::vector<std::string>{"refused f.yaml", "v2"}));
  EXPECT_EQ(store.History().size(), 3u);
}

TEST(Store, O16RestartOnlyFieldsStayAndTheRestGoesLive) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "{}").ok());
  std::vector<uint64_t> told;
  const int id = store.Subscribe([&](const ConfigStore::Event& event) {
    told.push_back(event.version == nullptr ? 0 : event.version->number);
  });
  const std::string wanted =
      "listeners: [{name: http, port: 9090}]\n"
      "telemetry:\n  ops_port: 1\n  max_series: 200\n"
      "server_name: new\n";
  const Outcome outcome = SetFile(store, wanted);
  EXPECT_EQ(outcome.applied, Applied::kChanged);
  const auto running = store.Current();
  EXPECT_EQ(running->snapshot->server_name, "new") << "the rest is live";
  EXPECT_EQ(running->snapshot->listeners[0]->port, 8080);
  EXPECT_EQ(running->merged.config.listeners(0).port(), 8080u);
  EXPECT_EQ(running->merged.config.telemetry().ops_port(), 9901u);
  EXPECT_EQ(running->merged.config.telemetry().max_series(), 200u);
  EXPECT_EQ(running->restart_pending(), 2u);
  ASSERT_EQ(running->diagnostics.size(), 2u) << Codes(running->diagnostics);
  EXPECT_EQ(running->diagnostics[0].path, "listeners[http].port");
  EXPECT_EQ(running->diagnostics[0].code, Code::kRestartRequired);
  EXPECT_EQ(running->diagnostics[0].severity, Severity::kWarning);
  EXPECT_NE(running->diagnostics[0].message.find("8080; 9090 is wanted"), std::string::npos)
      << running->diagnostics[0].message;
  EXPECT_EQ(running->diagnostics[1].path, "telemetry.ops_port");
  EXPECT_EQ(running->diagnostics[1].line, 3u);

  // Other layers' changes do not forget it; the same again is nothing new.
  EXPECT_TRUE(Apply(store, "development: true\n").ok());
  EXPECT_EQ(store.Current()->restart_pending(), 2u);
  EXPECT_EQ(SetFile(store, wanted).applied, Applied::kUnchanged);
  // Less to wait for is a version as well: who watches is told.
  EXPECT_EQ(SetFile(store, "telemetry: {ops_port: 1, max_series: 200}\nserver_name: new\n").applied,
            Applied::kChanged);
  EXPECT_EQ(store.Current()->restart_pending(), 1u);
  EXPECT_TRUE(SetFile(store, "telemetry: {max_series: 200}\n").ok());
  EXPECT_EQ(store.Current()->restart_pending(), 0u);
  EXPECT_EQ(told, (std::vector<uint64_t>{2, 3, 4, 5}));
  EXPECT_EQ(store.LastRejected(), nullptr);
  store.Unsubscribe(id);
}

TEST(Store, O16WhatANewStartWouldRefuseIsRefusedLive) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "{}").ok());
  EXPECT_EQ(SetFile(store, "listeners: [{name: http, address: nowhere}]\n").applied,
            Applied::kRefused);
  EXPECT_EQ(store.Current()->restart_pending(), 0u);
}

TEST(Store, O16ListenersThatComeAndGoKeepThoseThatRun) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "listeners: [{name: a, port: 1}, {name: b, port: 2}]\n").ok());
  ASSERT_TRUE(SetFile(store, "listeners: [{name: b, port: 2}, {name: c, port: 3}]\n").ok());
  const auto running = store.Current();
  EXPECT_EQ(running->snapshot->listeners.size(), 2u);
  EXPECT_TRUE(running->merged.sources.contains("listeners[a]"));
  EXPECT_FALSE(running->merged.sources.contains("listeners[c]"));
  ASSERT_EQ(running->restart_pending(), 2u);
  EXPECT_EQ(running->diagnostics[0].path, "listeners[a]");
  EXPECT_EQ(running->diagnostics[1].path, "listeners[c]");
}

TEST(Store, O16AStrictChangeIsRefused) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "{}").ok());
  const std::string wanted = "control: {roles: [{uid: 1, role: admin}]}\ndevelopment: true\n";
  ChangeOptions strict;
  strict.strict = true;
  const Outcome refused = Apply(store, wanted, strict);
  EXPECT_EQ(refused.applied, Applied::kRefused);
  EXPECT_EQ(refused.diagnostics[0].path, "control.roles");
  EXPECT_EQ(refused.diagnostics[0].code, Code::kRestartRequired);
  const Outcome outcome = Apply(store, wanted);
  EXPECT_EQ(outcome.applied, Applied::kChanged);
  EXPECT_EQ(outcome.diagnostics[0].severity, Severity::kWarning);
  EXPECT_TRUE(store.Current()->merged.config.control().roles().empty());
}

TEST(Store, CheckDoesNotNeedTheRunningConfiguration) {
  ConfigStore store(Options());
  Document wrong = ReadDocument("limits:\n  idle_timeout: 5\n");
  const Diagnostics found =
      store.Check(wrong.config, wrong.lines, wrong.diagnostics, config::Layer::kFile);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].line, 2u) << "also without the name of a file";
  Document document = ReadDocument("listeners: [{name: x, port: 1}]\n");
  EXPECT_TRUE(store.Check(document.config, document.lines, {}, config::Layer::kFile).empty());
  ASSERT_TRUE(SetFile(store, "{}").ok());
  EXPECT_TRUE(store.Check(document.config, document.lines, {}, config::Layer::kFile).empty());
  const Diagnostics as_api = store.Check(document.config, document.lines, {}, config::Layer::kApi);
  EXPECT_FALSE(as_api.empty()) << "it waits for a restart";
  EXPECT_FALSE(HasErrors(as_api));
}

TEST(Store, TheApiLayerSurvivesOnDisk) {
  TempDir dir;
  const std::string text =
      "mounts: [{name: a, prefix: /a, root: /}]\ncontrol: {state_dir: " + dir.path + "/state}\n";
  {
    ConfigStore store(Options());
    ASSERT_TRUE(SetFile(store, text).ok());
    ChangeOptions options;
    ASSERT_TRUE(Apply(store, "mounts: [{name: b, prefix: /b, root: /}]\n").ok());
    ASSERT_TRUE(store
                    .ChangeApi(
                        [](const Version&, ApiLayer* layer) {
                          layer->tombstones.insert("mounts[a]");
                          return Diagnostics();
                        },
                        options)
                    .ok());
  }
  {
    ConfigStore store(Options());
    ASSERT_TRUE(SetFile(store, text).ok());
    ASSERT_EQ(store.Current()->snapshot->mounts.size(), 1u);
    EXPECT_EQ(store.Current()->snapshot->mounts[0]->name, "b");
  }
  // A state that does not fit any more is kept aside, and the file is served.
  Write(dir.path + "/state/api.yaml", "config: {mounts: [{name: b}]}\n");
  ConfigStore store(Options());
  const Outcome outcome = SetFile(store, text);
  EXPECT_TRUE(outcome.ok());
  EXPECT_EQ(store.Current()->snapshot->mounts[0]->name, "a");
  ASSERT_NE(store.LastRejected(), nullptr);
  EXPECT_EQ(access((dir.path + "/state/api.yaml.rejected").c_str(), F_OK), 0);
}

TEST(Store, AStateThatCannotBeWrittenIsAWarning) {
  TempDir dir;
  Write(dir.path + "/state", "a file where a directory should be");
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "control: {state_dir: " + dir.path + "/state}\n").ok());
  const Outcome outcome = Apply(store, "server_name: x\n");
  EXPECT_EQ(outcome.applied, Applied::kChanged);
  ASSERT_EQ(outcome.diagnostics.size(), 1u);
  EXPECT_EQ(outcome.diagnostics[0].code, Code::kNotPersisted);
}

TEST(Control, SettingsAreResolved) {
  const ControlSettings settings = CompileControl(
      [] {
        config::v1::Config config =
            ReadDocument("control: {socket: /x/c.sock, socket_mode: \"0600\"}\n").config;
        FillDefaults(&config);
        return config;
      }(),
      "/run/catzilla");
  EXPECT_EQ(settings.socket, "/x/c.sock");
  EXPECT_EQ(settings.worker_socket, "/run/catzilla/worker.sock");
  EXPECT_EQ(settings.socket_mode, 0600u);
}

}  // namespace
}  // namespace catzilla::schema
