// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The program `kestrel`: one subcommand a file (cmd_*.cpp), thin over the host library.
#include "cli.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

#include "kestrel/file.hpp"
#include "kestrel/serve/dc_process.hpp"

namespace kestrel::cli {

void MemoryOption::add_to(CLI::App &command) {
  std::string names;
  for (const NamedMemory &memory : named_memories())
    names += fmt::format("{}{}", names.empty() ? "" : ", ", memory.name);
  command
      .add_option("--memory", text,
                  "External memory: " + names +
                      ", or settings latency=N,write-latency=N,outstanding=N,bytes=X (a cycle),"
                      "refresh=INTERVAL/CYCLES behind a name or alone (default: assumed; of a "
                      "remote device ulx3s)")
      ->check(CLI::Validator(
          [](std::string &value) {
            const auto model = parse_memory(value);
            return model ? std::string() : model.error().message;
          },
          "MEMORY"));
  command
      .add_option("--read-latency", read_latency,
                  "Cycles from read request to first data, instead of the memory's")
      ->check(kReadLatency);
}

Result<MemoryModel> MemoryOption::model(std::string_view name) const {
  KESTREL_ASSIGN(MemoryModel model, parse_memory(text.empty() ? name : std::string_view(text)));
  if (read_latency != 0)
    model.read_latency = read_latency;
  return model;
}

int finish(std::string_view command, const Result<void> &result) {
  if (result) {
    return 0;
  }
  std::string message = result.error().message;
  for (char &c : message) { // one sentence, one line
    c = c == '\n' ? ' ' : c;
  }
  fmt::print(stderr, "kestrel {}: {}\n", command, message);
  return 1;
}

Result<void> write_json(const std::string &path, const nlohmann::json &json) {
  const std::string text =
      json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (path == "-") {
    fmt::print("{}", text);
    return flush_output();
  }
  return write_file(path, text);
}

Result<void> flush_output() {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) {
    return {};
  }
  // An earlier write failed, and its reason is gone: another one will say it.
  if (errno == 0 && ::write(STDOUT_FILENO, "\n", 1) == 1) {
    errno = EIO;
  }
  return fail(ErrorCode::kIo, "standard output: cannot be written: {}",
              std::generic_category().message(errno));
}

std::string models_folder(const std::string &folder) {
  if (!folder.empty()) {
    return folder;
  }
  if (const char *from_environment = std::getenv("KESTREL_MODELS");
      from_environment != nullptr && *from_environment != '\0') {
    return from_environment;
  }
  return installed("share/kestrel/models").value_or(KESTREL_MODELS_DIR);
}

std::optional<std::string> installed(const std::string &place) {
  const auto program = serve::this_program();
  if (!program) {
    return std::nullopt;
  }
  const auto path = std::filesystem::path(*program).parent_path().parent_path() / place;
  std::error_code ignored;
  return std::filesystem::exists(path, ignored) ? std::optional(path.string()) : std::nullopt;
}

unsigned default_jobs() { return std::max(1U, std::thread::hardware_concurrency()); }

namespace {

bool is_command(CLI::App &app, const std::string &name) {
  const auto commands = app.get_subcommands([](CLI::App *) { return true; });
  return std::any_of(commands.begin(), commands.end(),
                     [&](const CLI::App *command) { return command->get_name() == name; });
}

/// A standard stream that was closed gets its number back, so that no file of the program's comes
/// to lie there and takes what is printed. Printing to it fails, as it should.
void hold_standard_streams() {
  for (int fd = 0; fd < 3; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0) {
      (void)::open("/dev/null", fd == 1 ? O_RDONLY : O_RDWR); // takes the lowest free number: fd
    }
  }
}

/// What ended the program, in words that name the cause.
std::string words_of(const std::exception &e) {
  if (dynamic_cast<const std::bad_alloc *>(&e) != nullptr) {
    return "out of memory (or over its limit: ulimit -v)";
  }
  if (const auto *error = dynamic_cast<const std::system_error *>(&e)) {
    if (error->code() == std::errc::resource_unavailable_try_again) {
      return fmt::format("no thread can be started: the limit of processes (ulimit -u) or of "
                         "memory is reached ({})",
                         error->code().message());
    }
    if (std::ferror(stdout) != 0) {
      return fmt::format("standard output: cannot be written: {}", error->code().message());
    }
  }
  return e.what();
}

} // namespace
} // namespace kestrel::cli

int main(int argc, char **argv) {
  kestrel::cli::hold_standard_streams();
  try {
    CLI::App app{
        "Kestrel: FPGA accelerators, simulated cycle by cycle or bit-exactly fast: int8 vision\n"
        "networks with a data-centre (DC) model behind them for unsure answers (run .. info),\n"
        "and compressed gradient aggregation for distributed training (thc).",
        "kestrel"};
    app.footer("Start with:\n"
               "  kestrel demo --rtl-images 20       the whole system on real images\n"
               "  kestrel info --layers model.tflite what the compiler makes of your network\n"
               "  kestrel thc roundtrip --help       mean of gradients, compressed on the way\n"
               "  kestrel COMMAND --help             options and examples of a command\n"
               "\n"
               "Exit status: 0 done, 1 the command failed (one sentence on standard error says\n"
               "why), other: wrong usage.");
    app.set_version_flag("--version", KESTREL_VERSION);
    app.require_subcommand(1);
    app.failure_message(CLI::FailureMessage::simple);
    int status = 0;
    kestrel::cli::add_run(app, status);
    kestrel::cli::add_compile(app, status);
    kestrel::cli::add_calibrate(app, status);
    kestrel::cli::add_dc(app, status);
    kestrel::cli::add_demo(app, status);
    kestrel::cli::add_info(app, status);
    kestrel::cli::add_board_sim(app, status);
    kestrel::cli::add_aggregator(app, status);
    kestrel::cli::add_esa(app, status);
    kestrel::cli::add_thc(app, status);
    if (argc > 1 && argv[1][0] != '-' && !kestrel::cli::is_command(app, argv[1])) {
      fmt::print(stderr, "kestrel: unknown command '{}'; kestrel --help lists what there is\n",
                 argv[1]);
      return 2;
    }
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError &e) {
      status = app.exit(e);
    }
    std::cout.flush();
    if (const auto written = kestrel::cli::flush_output(); !written && status == 0) {
      fmt::print(stderr, "kestrel: {}\n", written.error().message);
      status = 1;
    }
    return status;
  } catch (const std::exception &e) {
    fmt::print(stderr, "kestrel: {}\n", kestrel::cli::words_of(e));
    return 1;
  }
}
