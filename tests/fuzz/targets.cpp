// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "tests/fuzz/targets.hpp"

#include <cstdlib>
#include <string_view>

#include <sys/socket.h>

#include <zlib.h>

#include "kestrel/bytes.hpp"
#include "kestrel/esa/cluster.hpp"
#include "kestrel/esa/io.hpp"
#include "kestrel/npy.hpp"
#include "kestrel/serve/calibration.hpp"
#include "kestrel/serve/dc_server.hpp"
#include "kestrel/serve/oip.hpp"
#include "kestrel/thc/aggregator.hpp"
#include "kestrel/vision/package.hpp"
#include "kestrel/vision/tflite.hpp"
#include "serve/onnx_classifier.hpp"
#include "tests/host/serve/test_serve_util.hpp"

namespace kestrel::fuzz {
namespace {

std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

/// A refusal is one sentence that can be shown.
template <typename T> void told(const Result<T> &result) {
  if (!result && (result.error().message.empty() || result.error().message.size() > 4000)) {
    std::abort();
  }
}

} // namespace

void tflite(Bytes bytes) {
  hv::ImportLimits limits;
  told(hv::import_tflite(bytes, "m", limits));
}

void package(Bytes bytes) {
  std::vector<std::uint8_t> fixed(bytes.begin(), bytes.end());
  // Version fields and checksums would stop nearly every mutation.
  for (std::size_t at = 20; at + 16 <= fixed.size();) {
    const auto length = load_le<std::uint64_t>(fixed, at + 8);
    if (length > fixed.size() - at - 16) {
      break;
    }
    store_le<std::uint32_t>(fixed, at + 4,
                            static_cast<std::uint32_t>(crc32_z(0, fixed.data() + at + 16,
                                                               static_cast<std::size_t>(length))));
    at += 16 + static_cast<std::size_t>(length);
  }
  const auto parsed = hv::parse_package(fixed, "p");
  told(parsed);
  if (parsed && hv::serialize(*parsed) != fixed) {
    std::abort();
  }
}

void npy(Bytes bytes) {
  const auto parsed = parse_npy(bytes, "x");
  told(parsed);
  if (parsed) {
    const auto again = parse_npy(format_npy(*parsed), "x");
    if (!again || again->shape != parsed->shape || again->data != parsed->data) {
      std::abort();
    }
  }
}

void switch_config(Bytes bytes) { told(esa::parse_switch_config(text_of(bytes))); }

void packet_lines(Bytes bytes) {
  static const auto config = esa::parse_switch_config(
      R"({"policy":"esa","slots":16,"jobs":[{"job":1,"fan_in":2,"worker_ports":[0,1],"ps_port":7}]})");
  const auto line = esa::parse_packet_line(text_of(bytes), *config);
  told(line);
  if (line) {
    (void)esa::packet_line({.cycle = 1, .port = line->port, .frame = line->frame});
  }
}

void scenario(Bytes bytes) { told(esa::parse_scenario(text_of(bytes))); }

void thresholds(Bytes bytes) {
  const auto table = serve::parse_threshold_table(text_of(bytes), "t");
  told(table);
  if (table) {
    (void)table->calibration.choose(0.9);
    (void)serve::to_json(*table);
  }
}

void infer(Bytes bytes) {
  told(serve::parse_infer_request(text_of(bytes)));
  told(serve::parse_infer_response(text_of(bytes)));
  (void)serve::error_of(text_of(bytes));
}

void onnx(Bytes bytes) {
  const std::vector<std::int64_t> shape{1, 28, 28};
  told(serve::check_onnx(bytes, "m"));
  told(serve::read_onnx_classifier(bytes, "m", shape, 10));
}

void pcapng(Bytes bytes) {
  const auto frames = esa::parse_pcapng(bytes);
  told(frames);
  if (frames) {
    for (const esa::Ingress &in : *frames) {
      (void)esa::packet_line({.cycle = 1, .port = in.port, .frame = in.frame});
    }
  }
}

void aggregator(Bytes bytes) {
  thc::AggregatorOptions options;
  options.max_jobs = 2;
  options.quorum = bytes.empty() ? 0 : bytes[0] % 3;
  std::size_t sent = 0;
  thc::AggregatorCore core(options,
                           [&](thc::AggregatorCore::Address, Bytes out) { sent += out.size(); });
  thc::AggregatorCore::Clock::time_point now{std::chrono::seconds(1)};
  for (std::size_t at = 1; at + 3 <= bytes.size();) {
    const std::uint64_t from = bytes[at] % 4;
    const std::size_t size =
        std::min<std::size_t>(load_be<std::uint16_t>(bytes, at + 1) % 2100, bytes.size() - at - 3);
    core.receive(from, bytes.subspan(at + 3, size), now);
    at += 3 + size;
    now += std::chrono::milliseconds(7);
    (void)core.tick(now);
  }
  if (core.jobs(now).size() > options.max_jobs) {
    std::abort();
  }
}

void http(Bytes bytes) {
  static serve::test::FakeControl control;
  static const auto server = [] {
    serve::DcServerOptions options;
    options.workers = 1;
    options.max_body_bytes = 65536;
    options.idle_timeout = options.body_timeout = std::chrono::milliseconds(200);
    auto started = serve::DcServer::start(options, serve::test::fake_factory(control));
    if (!started) {
      std::abort();
    }
    return std::move(*started);
  }();
  serve::test::RawSocket socket(server->port());
  socket.send(text_of(bytes));
  socket.end_sending();
  (void)socket.closes(std::chrono::seconds(5));
  if (server->stats().server_errors != 0) {
    std::abort();
  }
}

} // namespace kestrel::fuzz
