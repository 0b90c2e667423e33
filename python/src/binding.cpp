// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Python module kestrel_thc._core: workers, aggregator and codec. Errors of the libraries become
// ThcError, whose first word is the error's code.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kestrel/thc/aggregator.hpp"
#include "kestrel/thc/worker.hpp"
#include "sw_ref/thc/fast.hpp"
#include "sw_ref/thc/solver.hpp"

#if PYBIND11_VERSION_HEX < 0x020C0000
#error "pybind11 before 2.12 reads NumPy 2's arrays as garbage"
#endif

namespace py = pybind11;

namespace kestrel::thc {
namespace {

using Floats = py::array_t<float, py::array::c_style>;
using Bytes = py::array_t<std::uint8_t, py::array::c_style>;
using Words = py::array_t<std::uint16_t, py::array::c_style>;
using std::chrono::microseconds;
using std::chrono::milliseconds;

struct ThcError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void raise(const Error &error) {
  throw ThcError(fmt::format("{}: {}", to_string(error.code), error.message));
}
void unwrap(const Result<void> &result) {
  if (!result) {
    raise(result.error());
  }
}
template <typename T> T unwrap(Result<T> result) {
  if (!result) {
    raise(result.error());
  }
  return std::move(result).value();
}

template <typename Array> auto span_of(const Array &array, const char *name) {
  if (array.ndim() != 1) {
    throw py::value_error(fmt::format("{} must have one dimension", name));
  }
  return std::span(array.data(), static_cast<std::size_t>(array.size()));
}
/// An array that is worked on in place: anything that would need a copy is refused by name.
Floats in_place(const py::array &array, const char *name) {
  if (!py::isinstance<Floats>(array)) {
    throw py::type_error(fmt::format("{} is {}{}: contiguous float32 is needed", name,
                                     py::str(array.dtype()).cast<std::string>(),
                                     array.flags() & py::array::c_style ? "" : ", not contiguous"));
  }
  if (!array.writeable()) {
    throw py::type_error(fmt::format("{} is read-only: the result is written into it", name));
  }
  return py::reinterpret_borrow<Floats>(array);
}

/// What the import checks: an array as this module sees it.
py::tuple seen(const Floats &array) {
  const auto values = span_of(array, "array");
  double sum = 0.0;
  for (const float value : values) {
    sum += static_cast<double>(value);
  }
  return py::make_tuple(array.itemsize(), values.size(), sum);
}

template <typename Array> auto writable(Array &array, const char *name) {
  if (array.ndim() != 1) {
    throw py::value_error(fmt::format("{} must have one dimension", name));
  }
  return std::span(array.mutable_data(), static_cast<std::size_t>(array.size()));
}

ref::Table make_table(unsigned bits, unsigned granularity, double p,
                      const std::vector<std::uint8_t> &values) {
  if (const auto error = ref::solve_error(bits, granularity, p)) {
    throw py::value_error(*error);
  }
  ref::Table table;
  table.bits = bits;
  table.granularity = granularity;
  table.t = ref::clamp_of(p);
  table.values = values.empty() ? ref::solve_table(bits, granularity, p).values : values;
  if (const auto error = ref::table_error(table)) {
    throw py::value_error(*error);
  }
  return table;
}

py::dict to_dict(const AggregatorStats &s) {
  py::dict d;
  d["datagrams"] = s.datagrams;
  d["bytes_in"] = s.bytes_in;
  d["bytes_out"] = s.bytes_out;
  d["foreign"] = s.foreign;
  d["malformed"] = s.malformed;
  d["mismatched"] = s.mismatched;
  d["starts"] = s.starts;
  d["stale"] = s.stale;
  d["contributions"] = s.contributions;
  d["duplicates"] = s.duplicates;
  d["late"] = s.late;
  d["complete"] = s.complete;
  d["partial"] = s.partial;
  d["reminders"] = s.reminders;
  d["repeated"] = s.repeated;
  d["resend_requests"] = s.resend_requests;
  d["forgotten"] = s.forgotten;
  d["expired"] = s.expired;
  return d;
}

py::dict to_dict(const WorkerStats &s) {
  py::dict d;
  d["tensors"] = s.tensors;
  d["coordinates"] = s.coordinates;
  d["packets"] = s.packets;
  d["incomplete"] = s.incomplete;
  d["lost"] = s.lost;
  d["abstained"] = s.abstained;
  d["out_of_range"] = s.out_of_range;
  d["fewest_contributors"] = s.fewest_contributors;
  d["own_nmse"] = s.own_nmse;
  d["packets_up"] = s.transport.packets_up;
  d["packets_down"] = s.transport.packets_down;
  d["bytes_up"] = s.transport.bytes_up;
  d["bytes_down"] = s.transport.bytes_down;
  d["retransmissions"] = s.transport.retransmissions;
  d["reminders"] = s.transport.reminders;
  d["ignored"] = s.transport.ignored;
  return d;
}

std::unique_ptr<AggregatorServer> start_aggregator(const std::string &address, std::uint16_t port,
                                                   const ref::Table &table, unsigned quorum,
                                                   int quorum_timeout_ms, int norm_timeout_ms) {
  AggregatorOptions options;
  options.table = table;
  options.quorum = quorum;
  options.quorum_timeout = milliseconds(quorum_timeout_ms);
  options.norm_timeout = milliseconds(norm_timeout_ms);
  return unwrap(AggregatorServer::start(address, port, options));
}

std::unique_ptr<Worker> connect_worker(const std::string &aggregator, unsigned rank,
                                       unsigned workers, std::uint16_t job, std::uint32_t run,
                                       const ref::Table &table, int block_log2, std::uint64_t seed,
                                       bool measure, std::size_t window, int reminder_ms,
                                       int timeout_ms, const py::dict &faults) {
  WorkerOptions options;
  options.compression.table = table;
  options.compression.block_log2 = block_log2;
  options.compression.seed = seed;
  options.measure = measure;
  auto channel = unwrap(connect_udp(aggregator));
  Faults damage;
  for (const auto &[key, value] : faults) {
    const auto name = key.cast<std::string>();
    if (name == "loss_up") {
      damage.loss_up = value.cast<double>();
    } else if (name == "loss_down") {
      damage.loss_down = value.cast<double>();
    } else if (name == "duplicate") {
      damage.duplicate = value.cast<double>();
    } else if (name == "reorder") {
      damage.reorder = value.cast<double>();
    } else if (name == "delay_us") {
      damage.delay = microseconds(value.cast<int>());
    } else if (name == "hold_us") {
      damage.hold = microseconds(value.cast<int>());
    } else if (name == "seed") {
      damage.seed = value.cast<std::uint64_t>();
    } else {
      throw py::value_error(fmt::format("unknown fault '{}'", name));
    }
  }
  if (damage.any()) {
    channel = unwrap(with_faults(std::move(channel), damage));
  }
  AggregatorTransportOptions transport;
  transport.rank = rank;
  transport.workers = workers;
  transport.job = job;
  transport.run = run;
  transport.table = table;
  transport.window = window;
  transport.reminder = milliseconds(reminder_ms);
  transport.timeout = milliseconds(timeout_ms);
  return unwrap(
      Worker::create(options, unwrap(make_aggregator_transport(std::move(channel), transport))));
}

/// One worker's compression for exchanges that Python does itself. Sizes: sw_ref/thc/fast.hpp.
class Codec {
public:
  Codec(const ref::Table &table, int block_log2, std::uint64_t seed)
      : compression_{table, block_log2, seed},
        codec_((unwrap(check(compression_, 1)), table), block_log2) {}

  /// y = x + e, padded.
  Floats add(const Floats &x, const std::optional<Floats> &e) {
    const auto in = span_of(x, "x");
    if (in.empty()) {
      throw py::value_error("a tensor without coordinates has no mean");
    }
    Floats y(static_cast<py::ssize_t>(ref::padded_size(in.size())));
    const auto out = writable(y, "y");
    std::fill(out.begin(), out.end(), 0.0F);
    if (e) {
      const auto error = span_of(*e, "e");
      if (error.size() != in.size()) {
        throw py::value_error("x and e differ in size");
      }
      std::copy(error.begin(), error.end(), out.begin());
    }
    if (const auto bad = codec_.add(in, out, out)) {
      raise(fail(ErrorCode::kInvalidArgument,
                 "coordinate {} of the tensor is {}: gradients must be finite", *bad, in[*bad]));
    }
    return y;
  }
  std::size_t blocks(std::size_t size) const { return codec_.blocks(ref::padded_size(size)); }
  Floats norms(const Floats &y) const {
    const auto in = whole(y);
    Floats norms(static_cast<py::ssize_t>(codec_.blocks(in.size())));
    codec_.norms(in, writable(norms, "norms"));
    for (const float norm : span_of(norms, "norms")) {
      if (!std::isfinite(norm)) {
        raise(fail(ErrorCode::kInvalidArgument,
                   "the norm of a block exceeds the largest fp32 number"));
      }
    }
    return norms;
  }
  /// (packed indices, error feedback)
  std::pair<Bytes, Floats> compress(const Floats &y, const Floats &norms, std::uint32_t round,
                                    std::uint32_t worker) {
    const auto in = whole(y);
    const auto scales = scales_of(norms, in.size());
    Bytes packed(static_cast<py::ssize_t>(in.size() / 2));
    Floats error(static_cast<py::ssize_t>(in.size()));
    codec_.compress(in, scales, ref::sign_key(compression_.seed, round),
                    ref::noise_key(compression_.seed, round, worker), 0, writable(packed, "packed"),
                    writable(error, "error"));
    return {packed, error};
  }
  void aggregate(const Bytes &packed, Words sums, bool overwrite) const {
    const auto in = span_of(packed, "packed");
    const auto out = writable(sums, "sums");
    if (out.size() != 2 * in.size()) {
      throw py::value_error("packed indices and sums do not belong together");
    }
    codec_.aggregate(in, out,
                     overwrite ? ref::FastCodec::Sums::Overwrite : ref::FastCodec::Sums::Add);
  }
  Floats decompress(const Words &sums, unsigned contributors, const Floats &norms,
                    std::uint32_t round) {
    const auto in = span_of(sums, "sums");
    if (in.empty() || in.size() % ref::kPacketCoordinates != 0) {
      throw py::value_error("sums must be a multiple of 1024");
    }
    if (contributors == 0) {
      raise(fail(ErrorCode::kUnavailable, "no worker contributed"));
    }
    unwrap(check(compression_, contributors));
    const auto scales = scales_of(norms, in.size());
    const std::vector<std::uint8_t> count(in.size() / ref::kPacketCoordinates,
                                          static_cast<std::uint8_t>(contributors));
    Floats out(static_cast<py::ssize_t>(in.size()));
    codec_.decompress(in, count, scales, ref::sign_key(compression_.seed, round), 0,
                      writable(out, "out"));
    return out;
  }

private:
  static std::span<const float> whole(const Floats &y) {
    const auto in = span_of(y, "y");
    if (in.empty() || in.size() % ref::kPacketCoordinates != 0) {
      throw py::value_error("y must be padded to a multiple of 1024 (Codec.add does it)");
    }
    return in;
  }
  std::vector<ref::BlockScale> scales_of(const Floats &norms, std::size_t size) const {
    const auto in = span_of(norms, "norms");
    if (in.size() != codec_.blocks(size)) {
      throw py::value_error("one norm a block is needed");
    }
    for (const float norm : in) {
      if (!std::isfinite(norm) || norm < 0.0F) {
        throw py::value_error("a norm is not finite or negative");
      }
    }
    std::vector<ref::BlockScale> scales(in.size());
    codec_.scales(in, scales);
    return scales;
  }

  Compression compression_;
  ref::FastCodec codec_;
};

} // namespace
} // namespace kestrel::thc

PYBIND11_MODULE(_core, m) {
  using namespace kestrel::thc;
  namespace ref = kestrel::thc::ref;
  m.doc() = "Workers, aggregator and codec of Tensor Homomorphic Compression.";
  py::register_exception<ThcError>(m, "ThcError", PyExc_RuntimeError);
  m.attr("MAX_WORKERS") = kMaxWorkers;
  m.attr("__version__") = KESTREL_VERSION;
  m.def("_seen", &seen, py::arg("array"), "(item size, size, sum) of a float32 array.");

  py::class_<ref::Table>(m, "Table",
                         "A quantisation table; equal on all workers and the aggregator.")
      .def(py::init(&make_table), py::arg("bits") = 4, py::arg("granularity") = 30,
           py::arg("p") = 1.0 / 32, py::arg("values") = std::vector<std::uint8_t>(),
           "Without values: the symmetric table of the smallest error for normal coordinates.")
      .def_readonly("bits", &ref::Table::bits)
      .def_readonly("granularity", &ref::Table::granularity)
      .def_readonly("t", &ref::Table::t)
      .def_readonly("values", &ref::Table::values)
      .def_property_readonly("tag", [](const ref::Table &table) { return table_tag(table); });

  py::class_<AggregatorServer>(m, "Aggregator", "A software aggregator on a UDP port, in a thread.")
      .def(py::init(&start_aggregator), py::arg("address") = "127.0.0.1", py::arg("port") = 0,
           py::arg("table") = ref::Table{}, py::arg("quorum") = 0,
           py::arg("quorum_timeout_ms") = 50, py::arg("norm_timeout_ms") = -1)
      .def_property_readonly("endpoint", &AggregatorServer::endpoint)
      .def("stats", [](const AggregatorServer &server) { return to_dict(server.stats()); });

  py::class_<Worker>(m, "Worker", "One rank of a job, over a UDP aggregator.")
      .def(py::init(&connect_worker), py::arg("aggregator"), py::arg("rank"), py::arg("workers"),
           py::kw_only(), py::arg("job") = 1, py::arg("run") = 0, py::arg("table") = ref::Table{},
           py::arg("block_log2") = 15, py::arg("seed") = 1, py::arg("measure") = false,
           py::arg("window") = 64, py::arg("reminder_ms") = 20, py::arg("timeout_ms") = 10000,
           py::arg("faults") = py::dict())
      .def(
          "all_reduce_mean",
          [](Worker &worker, const py::array &tensor, const std::optional<py::array> &error) {
            auto tensor_floats = in_place(tensor, "tensor");
            auto error_floats = error ? in_place(*error, "error") : Floats();
            const auto x = writable(tensor_floats, "tensor");
            const auto e = error ? writable(error_floats, "error") : std::span<float>();
            kestrel::Result<void> result;
            {
              const py::gil_scoped_release release;
              result = worker.all_reduce_mean(x, e);
            }
            unwrap(result);
          },
          py::arg("tensor").noconvert(), py::arg("error").noconvert() = py::none(),
          "Replaces `tensor` by the mean over the workers and `error` by the new error feedback, "
          "both float32 of one dimension.")
      .def("stats", [](const Worker &worker) { return to_dict(worker.stats()); })
      .def_property_readonly("round", &Worker::round)
      .def("save_state",
           [](const Worker &worker) {
             const auto bytes = worker.save_state();
             return py::bytes(reinterpret_cast<const char *>(bytes.data()), bytes.size());
           })
      .def("load_state", [](Worker &worker, const py::bytes &state) {
        const std::string_view text = state;
        unwrap(worker.load_state(
            std::span(reinterpret_cast<const std::uint8_t *>(text.data()), text.size())));
      });

  py::class_<Codec>(m, "Codec", "Compression for exchanges that the caller does itself.")
      .def(py::init<const ref::Table &, int, std::uint64_t>(), py::arg("table") = ref::Table{},
           py::arg("block_log2") = 15, py::arg("seed") = 1)
      .def("add", &Codec::add, py::arg("x"), py::arg("e") = py::none())
      .def("blocks", &Codec::blocks, py::arg("coordinates"))
      .def("norms", &Codec::norms, py::arg("y"))
      .def("compress", &Codec::compress, py::arg("y"), py::arg("norms"), py::arg("round"),
           py::arg("worker"))
      .def("aggregate", &Codec::aggregate, py::arg("packed"), py::arg("sums").noconvert(),
           py::arg("overwrite"))
      .def("decompress", &Codec::decompress, py::arg("sums"), py::arg("contributors"),
           py::arg("norms"), py::arg("round"));
}
