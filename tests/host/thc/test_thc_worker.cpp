// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Workers over the aggregator in this process and over real sockets, against sw_ref.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <thread>

#include "kestrel/contract/wire.hpp"
#include "kestrel/thc/aggregator.hpp"
#include "kestrel/thc/worker.hpp"
#include "sw_ref/thc/fixed.hpp"
#include "sw_ref/thc/threefry.hpp"
#include "tests/host/thc/thc_reference.hpp"

namespace kestrel::thc {
namespace {

using namespace std::chrono_literals;
using test::Expected;
using test::reference;
using test::Vector;

std::uint64_t test_seed() {
  const char *given = std::getenv("KESTREL_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : 20240416;
  ::testing::Test::RecordProperty("seed", std::to_string(seed));
  return seed;
}

Vector gradient(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed * 1000003 + test_seed());
  std::normal_distribution<float> normal(0.0F, 0.01F);
  Vector v(size);
  for (float &x : v) {
    x = normal(random);
  }
  return v;
}

std::vector<Vector> gradients(unsigned workers, std::size_t size, std::uint64_t seed = 0) {
  std::vector<Vector> all;
  for (unsigned w = 0; w < workers; ++w) {
    all.push_back(gradient(size, seed * 64 + w));
  }
  return all;
}

double squared(const Vector &v) {
  double sum = 0;
  for (const float x : v) {
    sum += static_cast<double>(x) * x;
  }
  return sum;
}

Vector mean_of(const std::vector<Vector> &all) {
  Vector mean(all[0].size());
  for (std::size_t i = 0; i < mean.size(); ++i) {
    double sum = 0;
    for (const Vector &v : all) {
      sum += v[i];
    }
    mean[i] = static_cast<float>(sum / static_cast<double>(all.size()));
  }
  return mean;
}

double nmse(const Vector &estimate, const Vector &truth) {
  Vector difference(truth.size());
  for (std::size_t i = 0; i < truth.size(); ++i) {
    difference[i] = estimate[i] - truth[i];
  }
  return squared(difference) / squared(truth);
}

enum class Medium { kLocal, kUdp };
void PrintTo(Medium medium, std::ostream *out) {
  *out << (medium == Medium::kLocal ? "local" : "udp");
}

/// Workers, one thread each when they exchange, and their aggregator.
class Cluster {
public:
  Cluster(Medium medium, unsigned workers, const WorkerOptions &options = {},
          AggregatorOptions aggregator = {}, const Faults &faults = {},
          std::chrono::milliseconds timeout = 10s, std::chrono::milliseconds reminder = 10ms)
      : options_(options), timeout_(timeout), reminder_(reminder) {
    aggregator.table = options.compression.table;
    if (medium == Medium::kLocal) {
      local_ = LocalAggregator::create(aggregator).value();
    } else {
      server_ = AggregatorServer::start("127.0.0.1", 0, aggregator).value();
    }
    for (unsigned w = 0; w < workers; ++w) {
      Faults own = faults;
      own.seed = faults.seed * 100 + w;
      workers_list_.push_back(make(w, workers, options, own));
    }
  }

  std::unique_ptr<Channel> channel(const Faults &faults = {}) {
    auto plain =
        local_ ? LocalAggregator::connect(local_) : connect_udp(server_->endpoint()).value();
    return faults.any() ? with_faults(std::move(plain), faults).value() : std::move(plain);
  }
  AggregatorTransportOptions transport_options(unsigned rank, unsigned workers) const {
    AggregatorTransportOptions o;
    o.rank = rank;
    o.workers = workers;
    o.job = 1;
    o.table = options_.compression.table;
    o.timeout = timeout_;
    o.reminder = reminder_;
    return o;
  }
  std::unique_ptr<Worker> make(unsigned rank, unsigned workers, const WorkerOptions &options,
                               const Faults &faults = {}, std::uint32_t run = 0) {
    auto transport_of_rank = transport_options(rank, workers);
    transport_of_rank.run = run;
    auto transport = make_aggregator_transport(channel(faults), transport_of_rank).value();
    return Worker::create(options, std::move(transport)).value();
  }

  /// One call on every worker at a time; `delay` before that of each, negative: no call.
  std::vector<Result<void>> reduce(std::vector<Vector> &tensors,
                                   const std::vector<std::chrono::milliseconds> &delay = {}) {
    std::vector<Result<void>> results(tensors.size());
    std::vector<std::thread> threads;
    for (std::size_t w = 0; w < tensors.size(); ++w) {
      if (!delay.empty() && delay[w] < 0ms) {
        continue;
      }
      threads.emplace_back([&, w] {
        if (!delay.empty()) {
          std::this_thread::sleep_for(delay[w]);
        }
        results[w] = workers_list_[w]->all_reduce_mean(tensors[w], "layer");
      });
    }
    for (auto &thread : threads) {
      thread.join();
    }
    return results;
  }
  Worker &operator[](std::size_t w) { return *workers_list_[w]; }
  AggregatorStats stats() const { return local_ ? local_->stats() : server_->stats(); }
  std::vector<JobReport> jobs() const { return local_ ? local_->jobs() : server_->jobs(); }

private:
  WorkerOptions options_;
  std::chrono::milliseconds timeout_;
  std::chrono::milliseconds reminder_;
  std::shared_ptr<LocalAggregator> local_;
  std::unique_ptr<AggregatorServer> server_;
  std::vector<std::unique_ptr<Worker>> workers_list_;
};

void expect_all(const std::vector<Result<void>> &results) {
  for (const auto &result : results) {
    ASSERT_TRUE(result) << result.error().message;
  }
}

Vector with_feedback(const Vector &x, const Vector &e) {
  Vector y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    y[i] = ref::add_ftz(x[i], e[i]);
  }
  return y;
}

class OverMedium : public ::testing::TestWithParam<Medium> {};
INSTANTIATE_TEST_SUITE_P(All, OverMedium, ::testing::Values(Medium::kLocal, Medium::kUdp),
                         ::testing::PrintToStringParamName());

TEST_P(OverMedium, EqualsTheReferenceForAnySizeAndWorkerCount) {
  struct Case {
    unsigned workers;
    std::size_t size;
    int block_log2;
  };
  int rounds = 0;
  for (const Case c :
       {Case{1, 1, 15}, Case{4, 1, 15}, Case{2, 1023, 10}, Case{4, 1024, 12}, Case{3, 5000, 11},
        Case{4, 100000, 15}, Case{2, 300000, 10}, Case{9, 3000, 15} /* sums of 16 bits */}) {
    SCOPED_TRACE(
        fmt::format("{} workers, {} coordinates, blocks of 2^{}", c.workers, c.size, c.block_log2));
    WorkerOptions options;
    options.compression.block_log2 = c.block_log2;
    options.compression.seed = 99;
    Cluster cluster(GetParam(), c.workers, options);
    std::vector<Vector> errors(c.workers, Vector(c.size));
    for (std::uint32_t round = 0; round < 2; ++round) {
      auto tensors = gradients(c.workers, c.size, round);
      std::vector<Vector> y;
      for (unsigned w = 0; w < c.workers; ++w) {
        y.push_back(with_feedback(tensors[w], errors[w]));
      }
      const Expected expected = reference(y, options.compression, round);
      expect_all(cluster.reduce(tensors));
      for (unsigned w = 0; w < c.workers; ++w) {
        ASSERT_EQ(tensors[w], expected.mean) << "worker " << w << " round " << round;
      }
      errors = expected.errors;
      ++rounds;
    }
  }
  EXPECT_EQ(rounds, 16);
}

TEST_P(OverMedium, DamageOfTheNetworkDoesNotChangeTheResult) {
  WorkerOptions options;
  options.compression.block_log2 = 12;
  Faults faults;
  faults.loss_up = 0.1;
  faults.loss_down = 0.1;
  faults.duplicate = 0.1;
  faults.reorder = 0.2;
  faults.hold = 3ms;
  faults.seed = test_seed();
  Cluster cluster(GetParam(), 3, options, {}, faults);
  std::vector<Vector> errors(3, Vector(60000));
  for (std::uint32_t round = 0; round < 3; ++round) {
    auto tensors = gradients(3, 60000, round);
    std::vector<Vector> y;
    for (unsigned w = 0; w < 3; ++w) {
      y.push_back(with_feedback(tensors[w], errors[w]));
    }
    const Expected expected = reference(y, options.compression, round);
    expect_all(cluster.reduce(tensors));
    for (const Vector &tensor : tensors) {
      ASSERT_EQ(tensor, expected.mean);
    }
    errors = expected.errors;
  }
  const auto stats = cluster.stats();
  EXPECT_GT(stats.duplicates, 0U);
  EXPECT_GT(stats.resend_requests, 0U);
  EXPECT_GT(stats.repeated, 0U);
  EXPECT_EQ(stats.partial, 0U);
  EXPECT_GT(cluster[0].stats().transport.retransmissions, 0U);
  EXPECT_EQ(cluster[0].stats().lost, 0U);
}

TEST_P(OverMedium, WithAQuorumLossBecomesPartialSumsAndAllDecodeTheSame) {
  WorkerOptions options;
  options.compression.block_log2 = 12;
  AggregatorOptions aggregator;
  aggregator.quorum = 2;
  aggregator.quorum_timeout = 30ms; // before the first reminder
  aggregator.norm_timeout = 5s;     // nobody is left out of a round
  Faults faults;
  faults.loss_up = 0.05;
  faults.loss_down = 0.05;
  faults.seed = test_seed();
  Cluster cluster(GetParam(), 4, options, aggregator, faults, 10s, 100ms);
  // The same gradient again and again: error feedback makes the sum of the means right even though
  // contributions get lost.
  const auto constant = gradients(4, 20000);
  const Vector truth = mean_of(constant);
  Vector total(truth.size());
  constexpr int kRounds = 12;
  double first = 0;
  for (int round = 0; round < kRounds; ++round) {
    auto tensors = constant;
    expect_all(cluster.reduce(tensors));
    for (unsigned w = 1; w < 4; ++w) {
      ASSERT_EQ(tensors[w], tensors[0]);
    }
    for (std::size_t i = 0; i < total.size(); ++i) {
      total[i] += tensors[0][i] / kRounds;
    }
    first = round == 0 ? nmse(tensors[0], truth) : first;
  }
  EXPECT_GT(cluster.stats().partial, 0U);
  std::uint64_t lost = 0;
  for (unsigned w = 0; w < 4; ++w) {
    lost += cluster[w].stats().lost;
  }
  EXPECT_GT(lost, 0U);
  EXPECT_LT(nmse(total, truth), first / 2);
}

TEST_P(OverMedium, AStragglerIsLeftBehindAndKeepsItsGradient) {
  WorkerOptions options;
  options.measure = true;
  AggregatorOptions aggregator;
  aggregator.quorum = 2;
  aggregator.quorum_timeout = 150ms;
  Cluster cluster(GetParam(), 3, options, aggregator);
  auto tensors = gradients(3, 5000);
  const auto original = tensors;
  expect_all(cluster.reduce(tensors, {0ms, 0ms, 600ms}));
  EXPECT_EQ(tensors[0], reference({original[0], original[1]}, options.compression, 0).mean);
  EXPECT_EQ(tensors[1], tensors[0]);
  EXPECT_EQ(tensors[2], tensors[0]);
  EXPECT_EQ(cluster[2].stats().abstained, 1U);
  EXPECT_EQ(cluster[0].stats().abstained, 0U);
  EXPECT_EQ(cluster[0].stats().fewest_contributors, 2U);
  EXPECT_DOUBLE_EQ(cluster[2].stats().own_nmse, 1.0); // all of it is still to be said

  // In the next round it says both.
  std::vector<Vector> zeros(3, Vector(5000));
  expect_all(cluster.reduce(zeros));
  EXPECT_EQ(zeros[2], zeros[0]);
  EXPECT_EQ(cluster[0].stats().fewest_contributors, 3U);
  Vector third(5000);
  for (std::size_t i = 0; i < third.size(); ++i) {
    third[i] = original[2][i] / 3;
  }
  EXPECT_LT(nmse(zeros[0], third), 0.15); // the others' rounding errors are in it, too
}

TEST_P(OverMedium, AMissingWorkerIsNamed) {
  Cluster cluster(GetParam(), 3, {}, {}, {}, 300ms);
  auto tensors = gradients(3, 2000);
  const auto before = tensors;
  const auto results = cluster.reduce(tensors, {0ms, 0ms, -1ms});
  for (const std::size_t w : {0, 1}) {
    ASSERT_FALSE(results[w]);
    EXPECT_EQ(results[w].error().code, ErrorCode::kTimeout);
    EXPECT_NE(results[w].error().message.find("waits for worker 2"), std::string::npos)
        << results[w].error().message;
    EXPECT_EQ(tensors[w], before[w]);
  }
}

TEST_P(OverMedium, AWorkerThatDiesInMidRound) {
  for (const unsigned quorum : {0U, 2U}) {
    SCOPED_TRACE(quorum);
    AggregatorOptions aggregator;
    aggregator.quorum = quorum;
    aggregator.quorum_timeout = 150ms;
    Cluster cluster(GetParam(), 3, {}, aggregator, {}, 800ms);
    auto tensors = gradients(3, 5000);
    const auto original = tensors;
    std::thread dying([&] { // says its norms and then nothing
      auto transport =
          make_aggregator_transport(cluster.channel(), cluster.transport_options(2, 3)).value();
      RoundPlan plan;
      plan.tag = round_tag(Compression{}, 0, 5000);
      plan.chunks = {{2, 5}};
      ASSERT_TRUE(transport->begin(plan));
      ASSERT_TRUE(transport->post_norms(0, Vector{0.001F, 0.001F}));
      ASSERT_TRUE(transport->wait_norms(0));
    });
    const auto results = cluster.reduce(tensors, {0ms, 0ms, -1ms});
    dying.join();
    if (quorum == 0) {
      ASSERT_FALSE(results[0]);
      EXPECT_EQ(results[0].error().code, ErrorCode::kTimeout);
      EXPECT_NE(results[0].error().message.find("waits for worker 2"), std::string::npos)
          << results[0].error().message;
    } else {
      expect_all(results);
      EXPECT_EQ(tensors[0], reference({original[0], original[1]}, {}, 0).mean);
      EXPECT_EQ(tensors[1], tensors[0]);
      EXPECT_EQ(cluster[0].stats().incomplete, 5U);
      EXPECT_EQ(cluster.jobs().at(0).workers.at(2).missed, 5U);
    }
  }
}

TEST_P(OverMedium, BadTensorsAreRefusedByCoordinateAndCanBeTriedAgain) {
  Cluster cluster(GetParam(), 1);
  const auto refused = [&](Vector tensor, const std::string &text) {
    const Vector before = tensor;
    const auto result = cluster[0].all_reduce_mean(tensor, "layer");
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(result.error().message.find(text), std::string::npos) << result.error().message;
    EXPECT_TRUE(std::equal(before.begin(), before.end(), tensor.begin(), [](float a, float b) {
      return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b); // NaN, too
    }));
  };
  constexpr float kInf = std::numeric_limits<float>::infinity();
  Vector bad(3000, 1.0F);
  bad[2222] = std::numeric_limits<float>::quiet_NaN();
  refused(bad, "coordinate 2222 of the tensor is nan");
  bad[17] = -kInf;
  refused(bad, "coordinate 17 of the tensor is -inf");
  refused(Vector(3000, 3e38F), "coordinates 0 to 2047 of the tensor: their norm exceeds");
  refused({}, "without coordinates");
  EXPECT_EQ(cluster[0].round(), 0U); // nothing was begun
  Vector good(3000, 1.0F);
  const auto result = cluster[0].all_reduce_mean(good, "layer");
  ASSERT_TRUE(result) << result.error().message;
  Vector other(2999, 1.0F);
  EXPECT_EQ(cluster[0].all_reduce_mean(other, "layer").error().code, ErrorCode::kShapeMismatch);
}

TEST_P(OverMedium, ZeroTensorsStayZero) {
  Cluster cluster(GetParam(), 3);
  std::vector<Vector> tensors(3, Vector(40000));
  expect_all(cluster.reduce(tensors));
  EXPECT_EQ(tensors[1], Vector(40000));
  // One block of zeros beside others.
  auto mixed = gradients(3, 40000);
  for (auto &tensor : mixed) {
    std::fill(tensor.begin(), tensor.begin() + 32768, 0.0F);
  }
  expect_all(cluster.reduce(mixed));
  EXPECT_TRUE(
      std::all_of(mixed[0].begin(), mixed[0].begin() + 32768, [](float v) { return v == 0.0F; }));
  EXPECT_GT(squared(mixed[0]), 0.0);
}

TEST_P(OverMedium, DifferentConfigurationsAreNotSummed) {
  const auto expect_mismatch = [&](auto change, std::size_t size, const std::string &text) {
    SCOPED_TRACE(text);
    Cluster cluster(GetParam(), 1, {}, {}, {}, 500ms);
    WorkerOptions plain;
    WorkerOptions other;
    change(other.compression);
    auto a = cluster.make(0, 2, plain);
    auto b = cluster.make(1, 2, other);
    Vector x = gradient(4000, 1);
    Vector y = gradient(size, 2);
    Result<void> first;
    Result<void> second;
    std::thread one([&] { first = a->all_reduce_mean(x, "layer"); });
    std::thread two([&] { second = b->all_reduce_mean(y, "layer"); });
    one.join();
    two.join();
    ASSERT_FALSE(first);
    ASSERT_FALSE(second);
    // Whoever came second is told, the other one waits in vain.
    const Error &told =
        first.error().code == ErrorCode::kVersionMismatch ? first.error() : second.error();
    EXPECT_EQ(told.code, ErrorCode::kVersionMismatch);
    EXPECT_NE(told.message.find(text), std::string::npos) << told.message;
    EXPECT_GT(cluster.stats().mismatched, 0U);
  };
  const std::string tag = "is not the other workers'";
  expect_mismatch([](Compression &c) { c.seed = 5; }, 4000, tag);
  expect_mismatch([](Compression &c) { c.block_log2 = 10; }, 4000, tag);
  expect_mismatch([](Compression &c) { c.table.values[7] = 15; }, 4000, tag);
  expect_mismatch([](Compression &c) { c.table.t = 2.5; }, 4000, tag);
  expect_mismatch([](Compression &) {}, 4001, tag);
}

TEST_P(OverMedium, AnAggregatorWithAnotherTableIsNamed) {
  Cluster cluster(GetParam(), 1);
  WorkerOptions other;
  other.compression.table = ref::Table{2, 6, 2.0, {0, 2, 4, 6}};
  AggregatorTransportOptions options = cluster.transport_options(0, 1);
  options.table = other.compression.table;
  options.job = 9;
  auto worker =
      Worker::create(other, make_aggregator_transport(cluster.channel(), options).value()).value();
  Vector x = gradient(4000, 1);
  const auto result = worker->all_reduce_mean(x, "layer");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kVersionMismatch);
  EXPECT_NE(result.error().message.find("another table"), std::string::npos);
}

TEST_P(OverMedium, CompressesBelowASixthUpAndAThirdDown) {
  Cluster cluster(GetParam(), 4);
  auto tensors = gradients(4, 100000);
  expect_all(cluster.reduce(tensors));
  const auto stats = cluster[1].stats();
  EXPECT_EQ(stats.packets, 98U);
  EXPECT_EQ(stats.transport.packets_up,
            1U + 99U + stats.transport.reminders + stats.transport.retransmissions);
  if (stats.transport.reminders == 0) {
    const double up =
        static_cast<double>(stats.transport.bytes_up + 42 * stats.transport.packets_up);
    const double down =
        static_cast<double>(stats.transport.bytes_down + 42 * stats.transport.packets_down);
    EXPECT_LT(up, 400000.0 / 6);
    EXPECT_LT(down, 400000.0 / 3);
    EXPECT_GT(up, 50000.0);
  }
}

TEST_P(OverMedium, StateGoesOnWhereItWasSaved) {
  WorkerOptions options;
  options.compression.block_log2 = 10;
  std::vector<std::vector<std::uint8_t>> saved;
  std::vector<Vector> expected;
  {
    Cluster cluster(GetParam(), 2, options);
    for (std::uint64_t round = 0; round < 4; ++round) {
      auto tensors = gradients(2, 3000, round);
      expect_all(cluster.reduce(tensors));
      expected.push_back(tensors[0]);
      if (round == 1) {
        saved = {cluster[0].save_state(), cluster[1].save_state()};
      }
    }
  }
  Cluster cluster(GetParam(), 2, options);
  for (unsigned w = 0; w < 2; ++w) {
    ASSERT_TRUE(cluster[w].load_state(saved[w]));
  }
  EXPECT_EQ(cluster[0].save_state(), saved[0]);
  for (std::uint64_t round = 2; round < 4; ++round) {
    auto tensors = gradients(2, 3000, round);
    expect_all(cluster.reduce(tensors));
    EXPECT_EQ(tensors[0], expected[round]);
  }
  // What is not such a state is refused, and nothing changes.
  const auto now = cluster[0].save_state();
  for (std::size_t size = 0; size < saved[0].size(); size += size < 64 ? 1 : 977) {
    EXPECT_FALSE(cluster[0].load_state(std::span(saved[0]).first(size)));
  }
  EXPECT_EQ(cluster[0].load_state(saved[1]).error().code, ErrorCode::kVersionMismatch); // rank
  auto longer = saved[0];
  longer.push_back(0);
  EXPECT_FALSE(cluster[0].load_state(longer));
  EXPECT_EQ(cluster[0].save_state(), now);
}

TEST_P(OverMedium, ChunksOfALargeTensorFlyWhileTheNextIsCompressed) {
  WorkerOptions options;
  options.error_feedback = false;
  options.compression.seed = 3;
  Cluster cluster(GetParam(), 2, options);
  auto tensors = gradients(2, 5 * (std::size_t{1} << 20) + 77);
  const Vector truth = mean_of(tensors);
  expect_all(cluster.reduce(tensors));
  EXPECT_EQ(tensors[0], tensors[1]);
  // Independent gradients: the mean over two has the relative error of one (docs/thc.md).
  EXPECT_NEAR(nmse(tensors[0], truth), 0.0203, 0.002);
  EXPECT_EQ(cluster[0].stats().packets, 5 * 1024U + 1);
}

TEST(WorkerOverUdp, NobodyListens) {
  // A port that was free a moment ago.
  std::string endpoint;
  {
    const auto server = AggregatorServer::start("127.0.0.1", 0, {}).value();
    endpoint = server->endpoint();
  }
  AggregatorTransportOptions options;
  options.job = 1;
  options.timeout = 200ms;
  auto worker =
      Worker::create({}, make_aggregator_transport(connect_udp(endpoint).value(), options).value())
          .value();
  Vector x(10, 1.0F);
  const auto result = worker->all_reduce_mean(x, "layer");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(result.error().message.find("nobody listens there"), std::string::npos)
      << result.error().message;
}

TEST(WorkerOverUdp, TwoJobsShareAnAggregator) {
  const auto server = AggregatorServer::start("127.0.0.1", 0, {}).value();
  std::vector<std::thread> threads;
  std::vector<Vector> tensors = gradients(4, 50000);
  const auto original = tensors;
  std::vector<Result<void>> results(4);
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      AggregatorTransportOptions options;
      options.rank = i % 2;
      options.workers = 2;
      options.job = static_cast<std::uint16_t>(1 + i / 2);
      auto worker =
          Worker::create(
              {},
              make_aggregator_transport(connect_udp(server->endpoint()).value(), options).value())
              .value();
      results[i] = worker->all_reduce_mean(tensors[i], "layer");
    });
  }
  for (auto &thread : threads) {
    thread.join();
  }
  expect_all(results);
  EXPECT_EQ(tensors[0], reference({original[0], original[1]}, {}, 0).mean);
  EXPECT_EQ(tensors[3], reference({original[2], original[3]}, {}, 0).mean);
  EXPECT_EQ(server->jobs().size(), 2U);
}

TEST(WorkerOverUdp, EndpointsAreChecked) {
  for (const char *bad : {"", ":5", "localhost:", "localhost:0", "localhost:70000", "localhost:12x",
                          "[::1", "[::1]x"}) {
    EXPECT_FALSE(connect_udp(bad)) << bad;
  }
  EXPECT_TRUE(connect_udp("127.0.0.1"));
  EXPECT_EQ(connect_udp("127.0.0.1:5").value()->peer(), "127.0.0.1:5");
  EXPECT_FALSE(AggregatorServer::start("no address", 0, {}));
  const auto server = AggregatorServer::start("127.0.0.1", 0, {}).value();
  const auto second = AggregatorServer::start("127.0.0.1", server->port(), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kIo);
}

// --- starts ------------------------------------------------------------------------------------

using Workers = std::vector<std::unique_ptr<Worker>>;

/// One call on each of `workers`, the tensors being of those; `delay` before it.
std::vector<Result<void>> reduce(const std::vector<Worker *> &workers, std::vector<Vector> &tensors,
                                 const std::vector<std::chrono::milliseconds> &delay = {}) {
  std::vector<Result<void>> results(workers.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < workers.size(); ++i) {
    threads.emplace_back([&, i] {
      if (!delay.empty()) {
        std::this_thread::sleep_for(delay[i]);
      }
      results[i] = workers[i]->all_reduce_mean(tensors[i], "layer");
    });
  }
  for (auto &thread : threads) {
    thread.join();
  }
  return results;
}

void expect_error(const Result<void> &result, ErrorCode code, const std::string &text) {
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, code);
  EXPECT_NE(result.error().message.find(text), std::string::npos) << result.error().message;
}

TEST_P(OverMedium, WorkersThatStartAnewGetTheMeanOfTheNewTensors) {
  Cluster cluster(GetParam(), 2);
  auto tensors = gradients(2, 5000);
  expect_all(cluster.reduce(tensors));
  for (std::uint64_t life = 1; life < 4; ++life) {
    const auto a = cluster.make(0, 2, {});
    const auto b = cluster.make(1, 2, {});
    tensors = gradients(2, 5000, life);
    const Vector mean = reference(tensors, {}, 0).mean;
    expect_all(reduce({a.get(), b.get()}, tensors, {0ms, life == 2 ? 200ms : 0ms}));
    EXPECT_EQ(tensors[0], mean);
    EXPECT_EQ(tensors[1], mean);
  }
  EXPECT_EQ(cluster.stats().starts, 4U);
}

TEST_P(OverMedium, StartsAnewUnderLossRepetitionAndReordering) {
  Faults faults;
  faults.loss_up = faults.loss_down = 0.1;
  faults.duplicate = 0.3;
  faults.reorder = 0.3;
  faults.hold = 20ms; // into the lives that follow
  Cluster cluster(GetParam(), 2);
  std::vector<Workers> lives; // all kept: their channels still deliver what they hold back
  for (std::uint64_t life = 0; life < 8; ++life) {
    Workers &workers = lives.emplace_back();
    for (unsigned w = 0; w < 3; ++w) {
      faults.seed = test_seed() * 100 + life * 3 + w;
      workers.push_back(cluster.make(w, 3, {}, faults));
    }
    auto tensors = gradients(3, 3000, life);
    const Vector mean = reference(tensors, {}, 0).mean;
    expect_all(reduce({workers[0].get(), workers[1].get(), workers[2].get()}, tensors));
    for (const Vector &tensor : tensors) {
      ASSERT_EQ(tensor, mean) << "life " << life;
    }
  }
}

TEST_P(OverMedium, OneWorkerThatStartsAnewIsAnErrorForAll) {
  Cluster cluster(GetParam(), 2, {}, {}, {}, 400ms);
  auto tensors = gradients(2, 5000);
  expect_all(cluster.reduce(tensors));
  const auto anew = cluster.make(0, 2, {});
  tensors = gradients(2, 5000, 1);
  const auto before = tensors;
  const auto results = reduce({anew.get(), &cluster[1]}, tensors, {0ms, 100ms});
  expect_error(results[0], ErrorCode::kTimeout, "waits for worker 1 to start");
  expect_error(results[1], ErrorCode::kUnavailable, "worker 0 has started anew");
  EXPECT_EQ(tensors, before);
  // For the one that went on it stays so, at once, until it starts anew.
  expect_error(cluster[1].all_reduce_mean(tensors[1], "layer"), ErrorCode::kUnavailable,
               "all workers must start anew");
  const auto other = cluster.make(1, 2, {});
  const auto again = cluster.make(0, 2, {});
  expect_all(reduce({again.get(), other.get()}, tensors));
  EXPECT_EQ(tensors[0], reference(before, {}, 0).mean);
}

TEST_P(OverMedium, AStartThatNeverBeganDoesNotHinderTheNext) {
  Cluster cluster(GetParam(), 2, {}, {}, {}, 3s);
  auto tensors = gradients(2, 5000);
  {
    AggregatorTransportOptions options = cluster.transport_options(0, 2);
    options.timeout = 100ms;
    const auto dead =
        Worker::create({}, make_aggregator_transport(cluster.channel(), options).value()).value();
    Vector x = gradient(5000, 77);
    expect_error(dead->all_reduce_mean(x, "layer"), ErrorCode::kTimeout, "waits for worker 1");
  }
  // Worker 1 meets the dead one first, and has begun with it when the new worker 0 comes.
  const auto a = cluster.make(0, 2, {});
  const auto b = cluster.make(1, 2, {});
  const Vector mean = reference(tensors, {}, 0).mean;
  expect_all(reduce({a.get(), b.get()}, tensors, {200ms, 0ms}));
  EXPECT_EQ(tensors[0], mean);
  EXPECT_EQ(tensors[1], mean);
}

TEST_P(OverMedium, TwoGroupsUnderOneJobNumber) {
  Cluster cluster(GetParam(), 2, {}, {}, {}, 600ms);
  auto tensors = gradients(2, 5000);
  expect_all(cluster.reduce(tensors));
  // The second group takes the number over; the first one is told.
  const auto a = cluster.make(0, 2, {});
  const auto b = cluster.make(1, 2, {});
  tensors = gradients(2, 5000, 1);
  const Vector mean = reference(tensors, {}, 0).mean;
  expect_all(reduce({a.get(), b.get()}, tensors));
  EXPECT_EQ(tensors[1], mean);
  auto old = gradients(2, 5000, 2);
  for (const auto &result : cluster.reduce(old)) {
    expect_error(result, ErrorCode::kUnavailable, "has started under this job number");
  }
  // Both come up at the same moment: with runs of their own they are not mixed.
  Workers first;
  Workers second;
  for (unsigned w = 0; w < 2; ++w) {
    first.push_back(cluster.make(w, 2, {}, {}, 1));
    second.push_back(cluster.make(w, 2, {}, {}, 2));
  }
  auto four = gradients(4, 5000, 3);
  const Vector first_mean = reference({four[0], four[1]}, {}, 0).mean;
  const Vector second_mean = reference({four[2], four[3]}, {}, 0).mean;
  const auto before = four;
  const auto results =
      reduce({first[0].get(), first[1].get(), second[0].get(), second[1].get()}, four);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(four[i] == (results[i] ? (i < 2 ? first_mean : second_mean) : before[i])) << i;
  }
}

TEST_P(OverMedium, AnotherNumberOfWorkersIsRefusedByName) {
  Cluster cluster(GetParam(), 2, {}, {}, {}, 300ms);
  auto tensors = gradients(2, 5000);
  expect_all(cluster.reduce(tensors));
  const auto stray = cluster.make(2, 3, {});
  auto three = gradients(3, 5000);
  const auto results = reduce({&cluster[0], &cluster[1], stray.get()}, three, {150ms, 150ms, 0ms});
  expect_error(results[0], ErrorCode::kVersionMismatch, "was started with 3 there");
  expect_error(results[2], ErrorCode::kTimeout, "waits for worker 0, 1 to start");
}

TEST_P(OverMedium, GoingBackToASavedStateIsAStartOfItsOwn) {
  WorkerOptions options;
  options.compression.block_log2 = 10;
  Cluster cluster(GetParam(), 2, options, {}, {}, 500ms);
  auto tensors = gradients(2, 3000);
  expect_all(cluster.reduce(tensors));
  const std::vector<std::vector<std::uint8_t>> saved{cluster[0].save_state(),
                                                     cluster[1].save_state()};
  tensors = gradients(2, 3000, 1);
  expect_all(cluster.reduce(tensors));
  const Vector once = tensors[0];
  // The same round with other tensors, then with the same ones.
  for (const std::uint64_t seed : {2U, 1U}) {
    for (unsigned w = 0; w < 2; ++w) {
      ASSERT_TRUE(cluster[w].load_state(saved[w]));
    }
    tensors = gradients(2, 3000, seed);
    expect_all(cluster.reduce(tensors));
    EXPECT_EQ(tensors[0] == once, seed == 1);
    EXPECT_EQ(tensors[1], tensors[0]);
  }
  // One goes back alone.
  ASSERT_TRUE(cluster[0].load_state(saved[0]));
  const auto results = reduce({&cluster[0], &cluster[1]}, tensors, {0ms, 100ms});
  expect_error(results[0], ErrorCode::kTimeout, "waits for worker 1 to start");
  expect_error(results[1], ErrorCode::kUnavailable, "worker 0 has started anew");
}

TEST(WorkerOverUdp, AnAggregatorThatWasRestarted) {
  auto server = AggregatorServer::start("127.0.0.1", 0, {}).value();
  const std::uint16_t port = server->port();
  const std::string endpoint = server->endpoint();
  Workers workers;
  for (unsigned w = 0; w < 2; ++w) {
    AggregatorTransportOptions options;
    options.rank = w;
    options.workers = 2;
    options.job = 3;
    options.timeout = 2s;
    options.reminder = 10ms;
    workers.push_back(
        Worker::create({},
                       make_aggregator_transport(connect_udp(endpoint).value(), options).value())
            .value());
  }
  const std::vector<Worker *> both{workers[0].get(), workers[1].get()};
  for (std::uint32_t round = 0; round < 4; ++round) {
    auto tensors = gradients(2, 2048, round);
    const Vector truth = mean_of(tensors);
    // Between two rounds nothing is lost: it goes on, also where one has asked the new aggregator
    // to start before the other has heard of it.
    std::vector<std::chrono::milliseconds> delay(2);
    delay[round % 2] = round == 0 ? 0ms : 50ms;
    expect_all(reduce(both, tensors, delay));
    EXPECT_EQ(tensors[0], tensors[1]);
    EXPECT_LT(nmse(tensors[0], truth), 0.1);
    server.reset();
    server = AggregatorServer::start("127.0.0.1", port, {}).value();
  }
  // New workers at the old number, an old one among them.
  auto options = AggregatorTransportOptions{.rank = 0, .workers = 2, .job = 3};
  options.timeout = 300ms;
  const auto anew =
      Worker::create({}, make_aggregator_transport(connect_udp(endpoint).value(), options).value())
          .value();
  std::vector<Vector> tensors(2, Vector(2048, 1.0F));
  const auto results = reduce({anew.get(), workers[1].get()}, tensors, {0ms, 100ms});
  expect_error(results[0], ErrorCode::kTimeout, "waits for worker 1 to start");
  expect_error(results[1], ErrorCode::kUnavailable, "worker 0 has started anew");
}

/// Answers everything with one datagram.
class Answering final : public Channel {
public:
  explicit Answering(std::vector<std::uint8_t> answer) : answer_(std::move(answer)) {}
  Result<void> send(std::span<const std::uint8_t>) override {
    ++owed_;
    return {};
  }
  Result<std::optional<std::size_t>> receive(std::span<std::uint8_t> buffer,
                                             std::chrono::microseconds wait) override {
    if (owed_ == 0) {
      std::this_thread::sleep_for(wait);
      return std::optional<std::size_t>();
    }
    --owed_;
    std::copy(answer_.begin(), answer_.end(), buffer.begin());
    return std::optional<std::size_t>(answer_.size());
  }
  std::string peer() const override { return "the peer"; }

private:
  std::vector<std::uint8_t> answer_;
  int owed_ = 0;
};

TEST(Starts, AnotherVersionIsNamed) {
  const auto head = contract::wire::encode({});
  std::vector<std::uint8_t> answer(head.begin(), head.end());
  answer[2] = 0x70;
  const AggregatorTransportOptions options{.rank = 0, .workers = 2, .job = 3};
  const auto worker =
      Worker::create(
          {}, make_aggregator_transport(std::make_unique<Answering>(answer), options).value())
          .value();
  Vector x(2000, 1.0F);
  expect_error(worker->all_reduce_mean(x, "layer"), ErrorCode::kVersionMismatch,
               "speaks version 7 of the protocol, this is 2");
}

TEST(Starts, TheJobNumberHasNoDefault) {
  const auto refused =
      make_aggregator_transport(std::make_unique<Answering>(std::vector<std::uint8_t>{}), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(refused.error().message.find("job number is missing"), std::string::npos);
}

/// One worker of two, whose peer and network are written by the test.
class Scripted final : public Transport {
public:
  unsigned rank() const override { return 0; }
  unsigned workers() const override { return 2; }
  Result<void> begin(const RoundPlan &plan) override {
    packets = plan.chunks.at(0).packets;
    indices.resize(packets * kPacketIndexBytes);
    return {};
  }
  Result<void> post_norms(std::size_t, std::span<const float> norms) override {
    agreed.assign(norms.begin(), norms.end());
    return {};
  }
  Result<AgreedNorms> wait_norms(std::size_t) override { return AgreedNorms{agreed, 3}; }
  Result<void> post_indices(std::size_t, std::size_t first,
                            std::span<const std::uint8_t> bytes) override {
    std::copy(bytes.begin(), bytes.end(),
              indices.begin() + static_cast<std::ptrdiff_t>(first * kPacketIndexBytes));
    return {};
  }
  Result<ChunkSums> wait_sums(std::size_t) override {
    sums.assign(packets * 1024, 30);
    return ChunkSums{sums, contributors};
  }
  bool ready(std::size_t) override { return true; }
  TransportStats stats() const override { return {}; }
  std::uint32_t sequence() const override { return 0; }
  void set_sequence(std::uint32_t) override {}

  std::size_t packets = 0;
  Vector agreed;
  std::vector<std::uint8_t> indices;
  std::vector<std::uint16_t> sums;
  std::vector<std::uint32_t> contributors;
};

TEST(WorkerFeedback, KeepsWhatWasNotCounted) {
  for (const std::vector<std::uint32_t> &contributors :
       {std::vector<std::uint32_t>{3, 3, 3, 3}, {3, 2, 3, 2}, {2, 2, 2, 2}}) {
    auto owned = std::make_unique<Scripted>();
    Scripted &transport = *owned;
    transport.contributors = contributors;
    auto worker = Worker::create({}, std::move(owned)).value();
    const Vector x = gradient(4096, 5);
    Vector tensor = x;
    Vector error(4096);
    ASSERT_TRUE(worker->all_reduce_mean(tensor, error));
    // What the counted packets of this worker say, by the reference decoder.
    const Compression c;
    const auto scale = ref::make_scale(transport.agreed[0], c.table);
    std::vector<std::uint32_t> own(4096);
    ref::aggregate(ref::unpack_nibbles(transport.indices), c.table, own);
    std::vector<std::uint8_t> counted;
    std::uint64_t lost = 0;
    for (const std::uint32_t bits : contributors) {
      counted.push_back(static_cast<std::uint8_t>(bits & 1));
      lost += (bits & 1) == 0;
    }
    ref::Flags flags;
    const Vector said =
        ref::decompress_block(own, counted, scale, c.table, ref::sign_key(c.seed, 0), 0, flags);
    const double norm = std::sqrt(squared(x));
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(error[i], x[i] - said[i], 4e-6 * norm) << i;
    }
    EXPECT_EQ(worker->stats().lost, lost);
    if (lost == 4) { // nothing was said: all of it is kept
      EXPECT_LT(nmse(error, x), 1e-9);
    }
  }
}

TEST(WorkerFeedback, NoContributorIsAnErrorNotADivision) {
  auto owned = std::make_unique<Scripted>();
  owned->contributors = {3, 0, 3, 3};
  auto worker = Worker::create({}, std::move(owned)).value();
  Vector tensor = gradient(4096, 5);
  const Vector before = tensor;
  const auto result = worker->all_reduce_mean(tensor, "layer");
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("packet 1 of chunk 0: no worker contributed"),
            std::string::npos)
      << result.error().message;
  EXPECT_EQ(tensor, before);
}

TEST(WorkerFeedback, BringsTheSumOfManyRoundsCloseToTheTruth) {
  const auto run = [](bool feedback) {
    WorkerOptions options;
    options.error_feedback = feedback;
    Cluster cluster(Medium::kLocal, 4, options);
    const auto constant = gradients(4, 4096);
    const Vector truth = mean_of(constant);
    Vector total(truth.size());
    for (int round = 0; round < 20; ++round) {
      auto tensors = constant;
      expect_all(cluster.reduce(tensors));
      for (std::size_t i = 0; i < total.size(); ++i) {
        total[i] += tensors[0][i] / 20;
      }
    }
    return nmse(total, truth);
  };
  const double with = run(true);
  const double without = run(false);
  EXPECT_LT(with, without / 5);
}

TEST(Compression, TagsTellConfigurationsApart) {
  EXPECT_EQ(crc16(std::vector<std::uint8_t>{'1', '2', '3', '4', '5', '6', '7', '8', '9'}), 0x29B1);
  Compression c;
  const auto base = round_tag(c, 1, 1000);
  EXPECT_EQ(base, round_tag(Compression{}, 1, 1000));
  EXPECT_NE(base, round_tag(c, 2, 1000));
  EXPECT_NE(base, round_tag(c, 1, 1001));
  c.seed = 2;
  EXPECT_NE(base, round_tag(c, 1, 1000));
  ref::Table table;
  table.values[1] = 2;
  EXPECT_NE(table_tag(table), table_tag(ref::Table{}));
  EXPECT_FALSE(check(Compression{}, 0));
  EXPECT_FALSE(check(Compression{}, 33));
  EXPECT_TRUE(check(Compression{}, 32));
  c.block_log2 = 16;
  EXPECT_FALSE(check(c, 4));
}

} // namespace
} // namespace kestrel::thc
