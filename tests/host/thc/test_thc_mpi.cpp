// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Workers over MPI against the reference; run by mpirun with any number of ranks. Every rank checks
// and rank 0 ends with a line that says how much; any failure ends all ranks with an error.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include "kestrel/thc/mpi_transport.hpp"
#include "kestrel/thc/worker.hpp"
#include "sw_ref/thc/fixed.hpp"
#include "tests/host/thc/thc_reference.hpp"

namespace kestrel::thc {
namespace {

using namespace std::chrono_literals;
using test::Vector;

int checks = 0;

void check_that(bool holds, const std::string &what) {
  ++checks;
  if (!holds) {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    fmt::print(stderr, "rank {}: FAILED: {}\n", rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
}

Vector gradient(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0.0F, 0.01F);
  Vector v(size);
  for (float &x : v) {
    x = normal(random);
  }
  return v;
}

std::unique_ptr<Worker> make_worker(const WorkerOptions &options,
                                    std::chrono::milliseconds timeout = 10s) {
  MpiTransportOptions mpi;
  mpi.table = options.compression.table;
  mpi.timeout = timeout;
  auto transport = make_mpi_transport(MPI_COMM_WORLD, mpi);
  check_that(transport.ok(), transport ? "" : transport.error().message);
  auto worker = Worker::create(options, std::move(transport).value());
  check_that(worker.ok(), worker ? "" : worker.error().message);
  return std::move(worker).value();
}

void equals_the_reference(unsigned rank, unsigned ranks) {
  struct Case {
    std::size_t size;
    int block_log2;
  };
  for (const Case c : {Case{1, 15}, Case{1023, 10}, Case{5000, 11}, Case{100000, 15},
                       Case{(std::size_t{1} << 20) + 3000, 13} /* two chunks */}) {
    if (ranks > 4 && c.size > 50000) {
      continue; // every rank computes the reference of all
    }
    WorkerOptions options;
    options.compression.block_log2 = c.block_log2;
    options.compression.seed = 77;
    const auto worker = make_worker(options);
    std::vector<Vector> errors(ranks, Vector(c.size));
    for (std::uint32_t round = 0; round < 2; ++round) {
      std::vector<Vector> y;
      for (unsigned w = 0; w < ranks; ++w) {
        Vector x = gradient(c.size, 1000 * round + w);
        for (std::size_t i = 0; i < c.size; ++i) {
          x[i] = ref::add_ftz(x[i], errors[w][i]);
        }
        y.push_back(std::move(x));
      }
      const test::Expected expected = test::reference(y, options.compression, round);
      Vector tensor = gradient(c.size, 1000 * round + rank);
      const auto result = worker->all_reduce_mean(tensor, "layer");
      check_that(result.ok(), result ? "" : result.error().message);
      check_that(tensor == expected.mean,
                 fmt::format("the mean of {} coordinates, round {}", c.size, round));
      errors = expected.errors;
    }
    const auto stats = worker->stats();
    check_that(stats.fewest_contributors == ranks, "contributors");
    check_that(stats.transport.bytes_up > 0, "bytes are counted");
  }
}

void other_configurations_are_refused(unsigned rank, unsigned ranks) {
  WorkerOptions options;
  options.compression.seed = rank == 0 ? 1 : 2;
  const auto worker = make_worker(options);
  Vector tensor(2000, 1.0F);
  const auto result = worker->all_reduce_mean(tensor, "layer");
  check_that(result.ok() == (ranks == 1), "different seeds are refused on all ranks");
  check_that(result || result.error().code == ErrorCode::kVersionMismatch, "by name");
}

void a_missing_rank_ends_the_wait(unsigned rank, unsigned ranks) {
  if (ranks == 1) {
    return;
  }
  if (rank == 0) { // comes much too late, and joins the norms so that MPI can end in peace
    MpiTransportOptions options;
    const auto transport = make_mpi_transport(MPI_COMM_WORLD, options).value();
    std::this_thread::sleep_for(900ms);
    RoundPlan plan;
    plan.tag = round_tag(Compression{}, 0, 10);
    plan.chunks = {{1, 1}};
    check_that(transport->begin(plan).ok(), "begin");
    check_that(transport->post_norms(0, Vector{1.0F}).ok(), "norms");
    check_that(transport->wait_norms(0).ok(), "the norms of those that gave up are there");
    return;
  }
  const auto worker = make_worker({}, 300ms);
  Vector tensor(10, 1.0F);
  const Vector before = tensor;
  const auto result = worker->all_reduce_mean(tensor, "layer");
  check_that(!result && result.error().code == ErrorCode::kTimeout,
             "a rank that does not take part is a timeout");
  check_that(tensor == before, "the tensor is as before");
  const auto again = worker->all_reduce_mean(tensor, "layer");
  check_that(!again, "the transport is of no more use");
}

} // namespace
} // namespace kestrel::thc

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  int ranks = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const auto r = static_cast<unsigned>(rank);
  const auto n = static_cast<unsigned>(ranks);
  kestrel::thc::equals_the_reference(r, n);
  kestrel::thc::other_configurations_are_refused(r, n);
  kestrel::thc::a_missing_rank_ends_the_wait(r, n);
  if (rank == 0) {
    fmt::print("{} ranks, {} checks on each\n", ranks, kestrel::thc::checks);
  }
  std::fflush(nullptr);
  return MPI_Finalize() == MPI_SUCCESS ? 0 : 1;
}
