// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel board-sim: starts the program of the simulated board, which lies beside this one in
// builds that have LiteX.
#include "cli.hpp"

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

#include <unistd.h>

#include "kestrel/serve/dc_process.hpp"

namespace kestrel::cli {
namespace {

/// Becomes that program.
Result<void> start(std::vector<std::string> arguments) {
  KESTREL_ASSIGN(const std::string self, serve::this_program());
  const auto program = std::filesystem::path(self).parent_path() / "kestrel-board-sim";
  if (!std::filesystem::exists(program)) {
    return fail(ErrorCode::kUnsupported,
                "this build has no simulated board ({} is missing); run scripts/setup.sh, which "
                "installs LiteX, configure again and build kestrel-board-sim",
                program.string());
  }
  arguments.insert(arguments.begin(), program.string());
  std::vector<char *> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string &argument : arguments) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);
  ::execv(argv[0], argv.data());
  return fail(ErrorCode::kIo, "{}: {}", program.string(), std::generic_category().message(errno));
}

} // namespace

void add_board_sim(CLI::App &app, int &status) {
  CLI::App *command = app.add_subcommand(
      "board-sim", "Simulate the ULX3S board and serve its serial port (see board-sim --help)");
  command->prefix_command();
  command->set_help_flag();
  command->callback(
      [command, &status] { status = finish("board-sim", start(command->remaining())); });
}

} // namespace kestrel::cli
