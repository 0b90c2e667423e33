// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Runs the program and catches what it writes.
#pragma once

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kestrel::e2e {

struct Outcome {
  int status = -1; ///< exit status, or 128 + signal
  std::string out;
  std::string err;
};

/// A folder of its own for each test, removed at the end.
class ProgramTest : public ::testing::Test {
protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "kestrel_e2e_XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string path(const std::string &name) const {
    return (folder_ / name).string();
  }
  void write(const std::string &name, const std::string &bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
  }
  static std::string read(const std::string &file) {
    std::ifstream stream(file, std::ios::binary);
    std::stringstream text;
    text << stream.rdbuf();
    return text.str();
  }
  [[nodiscard]] nlohmann::json read_json(const std::string &name) const {
    return nlohmann::json::parse(read(path(name)), nullptr, false);
  }

  [[nodiscard]] Outcome run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), KESTREL_PROGRAM);
    std::vector<char *> argv;
    argv.reserve(arguments.size() + 1);
    for (std::string &argument : arguments) {
      argv.push_back(argument.data());
    }
    argv.push_back(nullptr);
    const std::string out = path("stdout.txt");
    const std::string err = path("stderr.txt");
    const pid_t pid = ::fork();
    if (pid == 0) {
      const int out_fd = ::open(out.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
      const int err_fd = ::open(err.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
      ::dup2(out_fd, STDOUT_FILENO);
      ::dup2(err_fd, STDERR_FILENO);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    Outcome outcome;
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    outcome.out = read(out);
    outcome.err = read(err);
    return outcome;
  }

private:
  std::filesystem::path folder_;
};

} // namespace kestrel::e2e
