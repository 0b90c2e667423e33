// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// A network given on the command line: a TensorFlow Lite file, compiled on the fly, or a package.
#pragma once

#include <string>

#include "kestrel/result.hpp"
#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/package.hpp"

namespace kestrel::cli {

/// Tells the two apart by their first bytes. A package must have been compiled for `config`.
[[nodiscard]] Result<hv::Package> load_model(const std::string &path, const std::string &config,
                                             const hv::CompileOptions &options = {});

/// Extra option text naming the configurations.
[[nodiscard]] std::string config_names();

/// Two-column facts and, if asked, the table of layers, for people.
[[nodiscard]] std::string describe(const hv::Package &package, bool layers);

} // namespace kestrel::cli
