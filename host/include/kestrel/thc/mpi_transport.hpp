// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Workers that exchange compressed gradients over MPI: library kestrel::mpi, built where MPI is
// found. Every rank is the aggregator of one share of each chunk's packets: it gets the others'
// indices (4 bits a coordinate), adds table values, and gives the sums to all (8 bits, 16 where
// they need them).
#pragma once

#include <chrono>
#include <memory>

#include <mpi.h>

#include "kestrel/result.hpp"
#include "kestrel/thc/transport.hpp"

namespace kestrel::thc {

struct MpiTransportOptions {
  ref::Table table;
  /// A collective operation that takes longer has failed: some rank does not take part. MPI cannot
  /// withdraw from it, so the transport is of no more use after that.
  std::chrono::milliseconds timeout{10'000};
};

/// `comm` is duplicated (a collective call on all its ranks). MPI must be initialised, and
/// finalised after the transport has gone. Bytes in its statistics are those of indices, sums and
/// norms; what MPI adds is not counted. Errors: kInvalidArgument (table, workers), kIo.
[[nodiscard]] Result<std::unique_ptr<Transport>>
make_mpi_transport(MPI_Comm comm, const MpiTransportOptions &options);

} // namespace kestrel::thc
