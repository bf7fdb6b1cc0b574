// The registrar without gRPC: takeovers that are refused, floods of events, removals that cannot
// be.
#include "sidecar/control/registrar.h"

#include <gtest/gtest.h>

#include "sidecar/control/control_harness.h"

namespace catzilla::control {
namespace {

class FakeSession final : public Session {
 public:
  void Send(v1::RegisterResponse event) override {
    std::unique_lock<std::mutex> lock(mutex);
    events.push_back(std::move(event));
    changed.wait(lock, [&] { return !stands; });
  }
  void End(Failure) override {}
  void Stand(bool stand) {
    std::lock_guard<std::mutex> lock(mutex);
    stands = stand;
    changed.notify_all();
  }
  std::vector<v1::RegisterResponse> Take() {
    std::lock_guard<std::mutex> lock(mutex);
    return std::exchange(events, {});
  }

 private:
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<v1::RegisterResponse> events;
  bool stands = false;  // Send() does not return.
};

class RegistrarTest : public testing::Test {
 protected:
  RegistrarTest()
      : store_({1 << 30, false, [] { return int64_t{1}; }}),
        registrar_({store_, backend_, [] { return int64_t{1}; }, [this] { return now_us_.load(); },
                    [this](const std::string& sentence) {
                      std::lock_guard<std::mutex> lock(backend_.mutex);
                      backend_.log.push_back(sentence);
                    }}) {
    File("{}");
  }
  void File(const std::string& text) {
    schema::FileLayer layer;
    layer.config = schema::ReadDocument(text, "f.yaml").config;
    const schema::Outcome outcome = store_.SetFile(layer, {}, "f.yaml");
    ASSERT_TRUE(outcome.ok()) << schema::Format(outcome.diagnostics[0]);
  }
  // Returns the generation it got.
  uint64_t Register(const std::string& code, const std::vector<std::string>& templates) {
    v1::RegisterRequest request;
    auto* registration = request.mutable_registration();
    registration->set_app("shop");
    registration->set_instance_id("i1");
    registration->set_code_hash(code);
    registration->mutable_table()->set_hash(code);
    uint32_t id = 0;
    for (const std::string& text : templates) {
      auto* route = registration->mutable_table()->add_routes();
      route->set_id(++id);
      route->set_declaration_index(id);
      route->add_methods("GET");
      route->set_template_(text);
    }
    const auto failure = registrar_.OnMessage(session_, Peer{}, request);
    EXPECT_FALSE(failure.has_value()) << failure->message;
    const auto events = session_.Take();
    return events.empty() ? 0 : events.back().registered().generation().number();
  }
  void Tell(PoolEvent::Kind kind, uint64_t generation, uint32_t ready = 1) {
    registrar_.OnPoolEvent({kind, "shop", {9, generation}, 0, ready, false, ""});
  }
  void TakeOver(uint64_t generation) {
    Tell(PoolEvent::Kind::kPrepared, generation);
    registrar_.WaitUntilIdle();
    Tell(PoolEvent::Kind::kSwitched, generation);
    registrar_.WaitUntilIdle();
  }
  std::string Served() const {
    std::string paths;
    for (const auto& route : store_.Current()->snapshot->routes) paths += route->path + " ";
    return paths;
  }
  uint64_t Generation() const { return store_.Current()->snapshot->pools[0]->generation; }
  std::string LastError() const {
    google::protobuf::RepeatedPtrField<v1::RegistrationState> states;
    registrar_.List(&states);
    return states.empty() ? "none" : states[0].last_error();
  }

  std::atomic<int64_t> now_us_{0};
  FakeBackend backend_;
  schema::ConfigStore store_;
  FakeSession session_;
  Registrar registrar_;
};

TEST_F(RegistrarTest, TableAndGenerationAreOneVersion) {
  TakeOver(Register("one", {"/a"}));
  EXPECT_EQ(Served(), "/a ");
  EXPECT_EQ(Generation(), 1u);
  const uint64_t version = store_.Current()->number;
  EXPECT_EQ(Register("two", {"/b"}), 2u);
  EXPECT_EQ(store_.Current()->number, version) << "nothing changes before its workers are there";
  // The same table is another generation's all the same.
  EXPECT_EQ(Register("three", {"/a"}), 3u);
  Tell(PoolEvent::Kind::kPrepared, 2);  // Too late: newer code is on its way.
  registrar_.WaitUntilIdle();
  EXPECT_EQ(Generation(), 1u);
  TakeOver(3);
  EXPECT_EQ(store_.Current()->number, version + 1);
  EXPECT_EQ(Served(), "/a ");
  EXPECT_EQ(Generation(), 3u);
}

TEST_F(RegistrarTest, ARefusalAtTheTakeoverIsToldAndTriedAgain) {
  File("app: {prefixes: [/a, /b]}");
  TakeOver(Register("one", {"/a"}));
  EXPECT_EQ(Register("two", {"/a", "/b"}), 2u);
  File("app: {prefixes: [/a]}");
  session_.Take();
  Tell(PoolEvent::Kind::kPrepared, 2);
  registrar_.WaitUntilIdle();
  EXPECT_EQ(Served(), "/a ");
  EXPECT_EQ(Generation(), 1u) << "nothing of it, not its workers either";
  const auto events = session_.Take();
  ASSERT_EQ(events.size(), 1u);
  ASSERT_EQ(events[0].notice().diagnostics_size(), 2);
  EXPECT_EQ(events[0].notice().diagnostics(0).code(), "CZ1507");
  EXPECT_EQ(events[0].notice().diagnostics(1).code(), "CZ1501");
  EXPECT_TRUE(
      LastError().starts_with("generation 2 is ready and does not take over, generation 1 "
                              "goes on: the registration of shop is refused: "))
      << LastError();
  ASSERT_NE(store_.LastRejected(), nullptr);
  EXPECT_EQ(store_.LastRejected()->origin, "app shop");
  const uint64_t refused = store_.RejectionsTotal(config::Layer::kApp);
  File("app: {prefixes: [/a], linger: 1h}");  // Some other change.
  File("app: {prefixes: [/a, /b]}");
  ASSERT_TRUE(Eventually([&] { return Generation() == 2; }));
  EXPECT_EQ(Served(), "/a /b ");
  EXPECT_EQ(LastError(), "");
  EXPECT_EQ(store_.RejectionsTotal(config::Layer::kApp), refused) << "tries are no refusals";
}

TEST_F(RegistrarTest, WithoutWorkersARefusedTableIsNotTriedAgain) {
  File("app: {prefixes: [/a, /b]}");
  TakeOver(Register("one", {"/a"}));
  Register("two", {"/b"});
  File("app: {prefixes: [/a]}");
  Tell(PoolEvent::Kind::kPrepared, 2);
  Tell(PoolEvent::Kind::kLost, 2, 0);
  registrar_.WaitUntilIdle();
  File("app: {prefixes: [/a, /b]}");
  std::this_thread::sleep_for(std::chrono::milliseconds(1200));
  EXPECT_EQ(Generation(), 1u);
  Tell(PoolEvent::Kind::kReady, 2, 1);
  EXPECT_TRUE(Eventually([&] { return Generation() == 2; }));
}

TEST_F(RegistrarTest, EventsThatNeverPausePutOffNeitherTheRetryNorTheEndOfLingering) {
  File("app: {prefixes: [/a, /b]}");
  TakeOver(Register("one", {"/a"}));
  Register("two", {"/b"});
  File("app: {prefixes: [/a]}");
  Tell(PoolEvent::Kind::kPrepared, 2);
  registrar_.WaitUntilIdle();
  EXPECT_EQ(Generation(), 1u);
  File("app: {prefixes: [/a, /b], linger: 10s}");
  const auto told = [this] {
    registrar_.OnPoolEvent({PoolEvent::Kind::kLost, "other", {9, 1}, 0, 0, false, ""});
  };
  EXPECT_TRUE(Eventually([&] { return told(), Generation() == 2; }));
  registrar_.OnClosed(session_);
  now_us_ = 11'000'000;
  EXPECT_TRUE(Eventually([&] { return told(), LastError() == "none"; }));
}

TEST_F(RegistrarTest, AFloodOfEventsLosesNoTakeover) {
  const uint64_t generation = Register("one", {"/a"});
  session_.Stand(true);
  Tell(PoolEvent::Kind::kReady, generation);
  ASSERT_TRUE(Eventually([&] { return !session_.Take().empty(); }));  // It is being told.
  Tell(PoolEvent::Kind::kPrepared, generation);
  Tell(PoolEvent::Kind::kSwitched, generation);
  for (size_t i = 0; i < Registrar::kEventsMax + 100; ++i)
    Tell(PoolEvent::Kind::kReady, generation);
  session_.Stand(false);
  registrar_.WaitUntilIdle();
  EXPECT_EQ(Served(), "/a ");
  const auto events = session_.Take();
  EXPECT_EQ(events.size(), Registrar::kEventsMax - 1) << "of the counts, the newest are told";
  EXPECT_TRUE(events[0].workers_ready().switched());
  EXPECT_TRUE(backend_.Logged(
      "102 events of workers were dropped: more came than the control plane could tell"));
}

TEST_F(RegistrarTest, AnAppThatCannotBeRemovedStaysAndSaysSo) {
  TakeOver(Register("one", {"/a"}));
  File("app: {linger: 10s}\nroutes: [{name: x, path: /x, pool: shop}]");
  registrar_.OnClosed(session_);
  now_us_ = 11'000'000;
  ASSERT_TRUE(Eventually([&] { return LastError().starts_with("app.linger is over"); }));
  EXPECT_NE(LastError().find("CZ1208"), std::string::npos) << LastError();
  EXPECT_TRUE(backend_.Logged("app shop: " + LastError()));
  EXPECT_EQ(Served(), "/x /a ");
  File("app: {linger: 10s}");
  EXPECT_TRUE(Eventually([&] { return LastError() == "none"; }));
  EXPECT_EQ(Served(), "");
}

}  // namespace
}  // namespace catzilla::control
