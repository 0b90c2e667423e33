// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel dc: the data-centre server as a process.
#include "cli.hpp"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <memory>
#include <thread>

#include <unistd.h>

#include "kestrel/log.hpp"
#include "kestrel/serve/dc_server.hpp"

namespace kestrel::cli {
namespace {

struct Options {
  std::string model;
  std::string models;
  std::string name;
  serve::DcServerOptions server;
  int threads = 0;
  int ready_fd = -1;
  unsigned drain_seconds = 10;
  std::string json;
};

Result<void> write_ready_line(int fd, const std::string &line) {
  std::size_t done = 0;
  while (done < line.size()) {
    const ssize_t n = ::write(fd, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return fail(ErrorCode::kIo, "cannot write the ready line to descriptor {}", fd);
    }
    done += static_cast<std::size_t>(n);
  }
  return {};
}

Result<void> serve_model(const Options &options) {
  // Blocked before any thread exists, so that every thread inherits it and sigwait gets them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  serve::OnnxBackendOptions backend;
  backend.path =
      options.model.empty() ? models_folder(options.models) + "/" + kDcModel : options.model;
  backend.name = options.name;
  KESTREL_TRY(serve::try_onnx_backend(backend)); // the process has no threads yet
  const auto workers = static_cast<int>(options.server.workers);
  serve::set_onnx_threads(
      options.threads > 0 ? options.threads
                          : std::max(1, static_cast<int>(default_jobs()) / std::max(1, workers)));
  KESTREL_ASSIGN(auto server, serve::DcServer::start(options.server, [&] {
                   return serve::make_onnx_backend(backend);
                 }));

  const nlohmann::json ready{{"ready", true},
                             {"url", server->url()},
                             {"port", server->port()},
                             {"model", server->model().name},
                             {"pid", ::getpid()}};
  if (options.ready_fd >= 0) {
    KESTREL_TRY(write_ready_line(options.ready_fd, ready.dump() + "\n"));
    ::close(options.ready_fd);
  } else {
    fmt::print("{}\n", ready.dump());
    KESTREL_TRY(flush_output());
  }
  log().info("serving '{}' ({}) at {}; SIGTERM drains and ends", server->model().name, backend.path,
             server->url());

  int signal = 0;
  sigwait(&signals, &signal);
  log().info("draining: not ready any more, answering what was accepted");
  std::atomic<bool> ended = false;
  std::thread impatient([&] { // a second signal ends at once
    const timespec wait{0, 50'000'000};
    while (!ended) {
      if (sigtimedwait(&signals, nullptr, &wait) > 0) {
        ::_exit(1);
      }
    }
  });
  const bool drained = server->drain(std::chrono::seconds(options.drain_seconds));
  ended = true;
  impatient.join();
  const serve::DcServerStats stats = server->stats();
  log().info("{} requests: {} images classified in {}, {} client errors, {} rejected, {} failed",
             stats.requests, stats.images, stats.inferences, stats.client_errors, stats.rejected,
             stats.server_errors);
  if (!options.json.empty()) {
    KESTREL_TRY(write_json(options.json, {{"connections", stats.connections},
                                          {"requests", stats.requests},
                                          {"inferences", stats.inferences},
                                          {"images", stats.images},
                                          {"rejected", stats.rejected},
                                          {"client_errors", stats.client_errors},
                                          {"server_errors", stats.server_errors}}));
  }
  if (!drained) { // what runs in the model cannot be interrupted, and the time is up
    const auto dropped =
        fail(ErrorCode::kTimeout, "requests were still unanswered after {} s and were dropped",
             options.drain_seconds);
    const int status = finish("dc", dropped);
    std::fflush(nullptr);
    ::_exit(status);
  }
  return {};
}

} // namespace

void add_dc(CLI::App &app, int &status) {
  auto options = std::make_shared<Options>();
  CLI::App *command =
      app.add_subcommand("dc", "Serve the large model over HTTP (Open Inference Protocol v2)");
  command->footer(
      "Prints one JSON line {\"ready\":true,\"url\":...} on standard output once it serves.\n"
      "SIGTERM: readiness fails, accepted requests are answered, then it ends.\n"
      "\n"
      "Examples:\n"
      "  kestrel dc --port 8000\n"
      "  curl http://127.0.0.1:8000/v2/models/fmnist_dc\n"
      "  kestrel dc --port 0 --model net.onnx --name net    a free port, another model\n"
      "  kestrel demo --dc http://127.0.0.1:8000            use it from the demo\n"
      "\n"
      "Input \"image\" [N,1,28,28]: FP32 0..1, UINT8 0..255 or INT8 (pixel - 128); outputs\n"
      "\"probabilities\" FP32 [N,10] and \"class\" INT64 [N]. See docs/serving.md.");
  command
      ->add_option("--model", options->model, "ONNX classifier (default: models/dc/fmnist_dc.onnx)")
      ->type_name("FILE");
  command->add_option("--models", options->models, "Folder of the project's models")
      ->type_name("DIR");
  command->add_option("--name", options->name, "Model name in URLs (default: the file's name)");
  command->add_option("--address", options->server.address, "IP address to listen on")
      ->capture_default_str();
  options->server.port = 8000;
  command->add_option("--port", options->server.port, "Port; 0 takes a free one")
      ->check(kPort)
      ->capture_default_str();
  options->server.workers = std::clamp<std::size_t>(default_jobs(), 1, 64);
  command->add_option("--workers", options->server.workers, "Model instances that run at a time")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command
      ->add_option("--threads", options->threads,
                   "Threads within one inference; 0: processors / workers")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  command->add_option("--queue", options->server.queue_limit, "Waiting requests; more get 503")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--max-connections", options->server.max_connections, "Open connections")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command->add_option("--max-batch", options->server.max_batch, "Images in one request")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--max-body", options->server.max_body_bytes, "Bytes of a request body")
      ->check(CLI::Range(1, 1 << 30))
      ->capture_default_str();
  command->add_option("--drain", options->drain_seconds, "Seconds that draining may take")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  command
      ->add_option("--ready-fd", options->ready_fd,
                   "Write the ready line to this open descriptor instead of standard output")
      ->check(CLI::Range(0, 1 << 20));
  command
      ->add_option("--json", options->json, "Write what was served here at the end, - for stdout")
      ->type_name("FILE");
  command->callback([options, &status] { status = finish("dc", serve_model(*options)); });
}

} // namespace kestrel::cli
