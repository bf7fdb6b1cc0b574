#include "sidecar/schema/file_source.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <functional>
#include <mutex>

#include "sidecar/schema/store_harness.h"

namespace catzilla::schema {
namespace {

// The file...

class Waiter {
 public:
  void Notify() {
    std::lock_guard<std::mutex> lock(mutex_);
    changed_.notify_all();
  }
  // Looks again after every event. False: it has not come true in time.
  bool WaitUntil(const std::function<bool()>& come) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), come);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

TEST(FileSource, RelativePathsCountFromTheFile) {
  TempDir dir;
  mkdir((dir.path + "/public").c_str(), 0755);
  Write(dir.path + "/c.yaml", "mounts: [{name: a, prefix: /, root: ./public}]\n");
  ConfigStore store(Options(true));
  FileSourceOptions options;
  options.path = dir.path + "/c.yaml";
  FileSource source(options, store);
  const Outcome outcome = source.Reload();
  ASSERT_TRUE(outcome.ok()) << Codes(outcome.diagnostics);
  EXPECT_EQ(store.Current()->snapshot->mounts[0]->root, dir.path + "/public");
}

TEST(FileSource, AMissingFileSaysSo) {
  ConfigStore store(Options());
  FileSourceOptions options;
  options.path = "/tmp/no/such/catzilla.yaml";
  FileSource source(options, store);
  const Outcome outcome = source.Reload();
  EXPECT_EQ(outcome.applied, Applied::kRefused);
  EXPECT_EQ(Format(outcome.diagnostics[0]),
            "/tmp/no/such/catzilla.yaml: error CZ1008: No such file or directory (create it, or "
            "start without --config)");
}

TEST(FileSource, FlagsLieOverTheFileWithTheirOrigin) {
  TempDir dir;
  Write(dir.path + "/c.yaml", "server_name: file\n");
  ConfigStore store(Options());
  FileSourceOptions options;
  options.path = dir.path + "/c.yaml";
  options.overlay = [](FileLayer* layer, Diagnostics* diagnostics) {
    SetField(&layer->config, "server_name", "flag", diagnostics);
    layer->origins["server_name"] = "--set";
  };
  FileSource source(options, store);
  ASSERT_TRUE(source.Reload().ok());
  EXPECT_EQ(store.Current()->snapshot->server_name, "flag");
  EXPECT_EQ(store.Current()->merged.sources.at("server_name").origin, "--set");
}

TEST(FileSource, ChangesArriveByWriteByRenameAndBySymlinkSwap) {
  TempDir dir;
  mkdir((dir.path + "/v1").c_str(), 0755);
  mkdir((dir.path + "/v2").c_str(), 0755);
  Write(dir.path + "/v1/c.yaml", "server_name: one\n");
  Write(dir.path + "/v2/c.yaml", "server_name: two\n");
  ASSERT_EQ(symlink("v1", (dir.path + "/..data").c_str()), 0);
  ASSERT_EQ(symlink("..data/c.yaml", (dir.path + "/c.yaml").c_str()), 0);
  ConfigStore store(Options());
  FileSourceOptions options;
  options.path = dir.path + "/c.yaml";
  options.poll_interval_us = 60'000'000;  // Only inotify can be in time.
  Waiter waiter;
  FileSource source(options, store);  // Stops before what it notifies goes.
  ASSERT_TRUE(source.Reload().ok());
  store.Subscribe([&](const ConfigStore::Event&) { waiter.Notify(); });
  source.StartWatching();

  // As the kubelet swaps a ConfigMap.
  ASSERT_EQ(symlink("v2", (dir.path + "/..data_tmp").c_str()), 0);
  ASSERT_EQ(rename((dir.path + "/..data_tmp").c_str(), (dir.path + "/..data").c_str()), 0);
  const auto serves = [&](const char* name) {
    return waiter.WaitUntil([&] { return store.Current()->snapshot->server_name == name; });
  };
  ASSERT_TRUE(serves("two"));

  unlink((dir.path + "/c.yaml").c_str());
  Write(dir.path + "/new", "server_name: three\n");
  ASSERT_EQ(rename((dir.path + "/new").c_str(), (dir.path + "/c.yaml").c_str()), 0);
  ASSERT_TRUE(serves("three"));

  Write(dir.path + "/c.yaml", "server_name: [wrong]\n");
  ASSERT_TRUE(waiter.WaitUntil([&] {
    const auto rejected = store.LastRejected();
    return rejected != nullptr && rejected->diagnostics[0].code == Code::kWrongType;
  }));
  source.Stop();
}

TEST(FileSource, PollingFindsWhatInotifyDoesNot) {
  TempDir dir;
  mkdir((dir.path + "/elsewhere").c_str(), 0755);
  Write(dir.path + "/elsewhere/c.yaml", "server_name: one\n");
  ASSERT_EQ(symlink("elsewhere/c.yaml", (dir.path + "/c.yaml").c_str()), 0);
  ConfigStore store(Options());
  FileSourceOptions options;
  options.path = dir.path + "/c.yaml";
  options.poll_interval_us = 10'000;
  Waiter waiter;
  FileSource source(options, store);  // Stops before what it notifies goes.
  ASSERT_TRUE(source.Reload().ok());
  store.Subscribe([&](const ConfigStore::Event&) { waiter.Notify(); });
  source.StartWatching();
  Write(dir.path + "/elsewhere/new", "server_name: two\n");
  rename((dir.path + "/elsewhere/new").c_str(), (dir.path + "/elsewhere/c.yaml").c_str());
  const auto serves = [&](const char* name) {
    return waiter.WaitUntil([&] { return store.Current()->snapshot->server_name == name; });
  };
  ASSERT_TRUE(serves("two"));
}

TEST(FileSource, O1WhatSaysNothingNeverReplacesWhatServes) {
  TempDir dir;
  Write(dir.path + "/c.yaml", "server_name: good\n");
  ConfigStore store(Options());
  FileSourceOptions options;
  options.path = dir.path + "/c.yaml";
  Waiter waiter;
  FileSource source(options, store);
  ASSERT_TRUE(source.Reload().ok());
  store.Subscribe([&](const ConfigStore::Event&) { waiter.Notify(); });
  source.StartWatching();
  const auto refused = [&](Code code) {
    return waiter.WaitUntil([&] {
      const auto rejected = store.LastRejected();
      return rejected != nullptr && rejected->diagnostics[0].code == code;
    });
  };
  Write(dir.path + "/c.yaml", "");
  EXPECT_TRUE(refused(Code::kEmptyDocument));
  EXPECT_EQ(store.Current()->snapshot->server_name, "good");
  Write(dir.path + "/c.yaml", "mounts: ~\n");
  EXPECT_TRUE(refused(Code::kEmptyValue));
  EXPECT_EQ(store.Current()->snapshot->server_name, "good");
  EXPECT_EQ(store.Current()->number, 1u);
  // Said, it is taken.
  Write(dir.path + "/c.yaml", "{}\n");
  EXPECT_TRUE(waiter.WaitUntil([&] { return store.Current()->number == 2; }));
  source.Stop();
}

TEST(FileSource, O1BootWithAnEmptyFileSaysSo) {
  TempDir dir;
  Write(dir.path + "/c.yaml", "# later\n");
  ConfigStore store(Options());
  FileSourceOptions options;
  options.path = dir.path + "/c.yaml";
  FileSource source(options, store);
  const Outcome outcome = source.Reload();
  EXPECT_EQ(outcome.applied, Applied::kRefused);
  EXPECT_EQ(Format(outcome.diagnostics[0]), dir.path +
                                                "/c.yaml: error CZ1009: the document says nothing "
                                                "(write {} if an empty configuration is meant)");
}

TEST(FileSource, O1ASlowSaveIsReadOnceItIsWhole) {
  TempDir dir;
  Write(dir.path + "/c.yaml", "server_name: old\n");
  ConfigStore store(Options());
  FileSourceOptions options;
  options.path = dir.path + "/c.yaml";
  options.poll_interval_us = 10'000;
  options.open_writer_us = 3'600'000'000;
  Waiter waiter;
  std::atomic<int> looks = 0;
  options.on_look = [&] {
    ++looks;
    waiter.Notify();
  };
  FileSource source(options, store);
  ASSERT_TRUE(source.Reload().ok());
  store.Subscribe([&](const ConfigStore::Event&) { waiter.Notify(); });
  source.StartWatching();
  const auto looked = [&](int more) {
    const int before = looks;
    return waiter.WaitUntil([&] { return looks >= before + more; });
  };
  ASSERT_TRUE(looked(1));
  // What is there so far would be a good configuration, and a neighbour changes meanwhile.
  std::ofstream slow(dir.path + "/c.yaml", std::ios::trunc);
  ASSERT_TRUE(looked(4));
  slow << "server_name: half\n" << std::flush;
  Write(dir.path + "/neighbour", "x");
  ASSERT_TRUE(looked(4));
  EXPECT_EQ(store.Current()->snapshot->server_name, "old");
  EXPECT_EQ(store.LastRejected(), nullptr);
  slow << "limits: {idle_timeout: 7s}\n" << std::flush;
  slow.close();
  ASSERT_TRUE(waiter.WaitUntil([&] { return store.Current()->number == 2; }));
  EXPECT_EQ(store.Current()->merged.config.limits().idle_timeout(), "7s");
  source.Stop();
}

TEST(FileSource, O13AFolderAndALargeFileSayWhatTheyAre) {
  TempDir dir;
  ConfigStore store(Options());
  FileSourceOptions options;
  options.path = dir.path;
  EXPECT_EQ(Format(FileSource(options, store).Reload().diagnostics[0]),
            dir.path + ": error CZ1008: is a folder (name the file in it, for example " + dir.path +
                "/catzilla.yaml)");
  options.path = dir.path + "/large.yaml";
  Write(options.path, std::string(kDocumentBytesMax + 1, '#'));
  EXPECT_EQ(
      Format(FileSource(options, store).Reload().diagnostics[0]),
      options.path + ": error CZ1005: has more than 4MiB (split it, or remove what is generated)");
}

}  // namespace
}  // namespace catzilla::schema
