// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Configurations, packets and captures of the aggregation switch as files.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kestrel/esa/device.hpp"
#include "kestrel/result.hpp"

namespace kestrel::esa {

/// A switch from JSON:
///   {"policy": "esa|atp|switchml", "slots": 16, "lanes": 64, "ports": 8,
///    "completed": "free|hold|via_ps", "downgrade_shift": 1, "forward": [null, 3, ...],
///    "jobs": [{"job": 1, "fan_in": 2, "worker_ports": [0, 1], "ps_port": 7,
///              "format": "int32|thc_sum8|thc_sum16", "table": [16 values],
///              "members": [0, 1], "uplink": false, "multi": false,
///              "pool_base": 0, "pool_size": 8}]}
/// Needed: policy, slots, jobs and in a job job, fan_in, worker_ports (one for each worker; null:
/// not below this switch), ps_port; the rest has the defaults of ref::Config and ref::Job
/// ("completed": "hold" for ATP, "lanes" 64, "ports" 8). Unknown fields are refused. Errors:
/// kParse, kInvalidArgument, naming the field.
[[nodiscard]] Result<SwitchConfig> parse_switch_config(std::string_view json);

/// One packet as a JSON object with the fields port, type, job, seq, slot, bitmap, fan_in, prio,
/// values, and, optional, flags (names), format, count, config. `count` is by default the number of
/// bits for packets with values, `format` that of the job (int32 for an unknown one). Or {"port",
/// "frame": "hex"}. Errors: kParse, kInvalidArgument, naming the field.
[[nodiscard]] Result<Ingress> parse_packet_line(std::string_view line, const SwitchConfig &config);

/// The same fields and `cycle`; a frame that is no packet as {"cycle", "port", "type": "foreign",
/// "frame"}. Without line end.
[[nodiscard]] std::string packet_line(const Egress &egress);

/// Captured frames, in file order. Port: the number of the interface. Reads sections of either byte
/// order, enhanced and simple packet blocks; other blocks are skipped. Errors: kParse (damaged,
/// truncated).
[[nodiscard]] Result<std::vector<Ingress>> parse_pcapng(std::span<const std::uint8_t> bytes);

/// A capture with one interface ("port0" ..) a port; time stamps are cycles at 250 MHz (assumed).
[[nodiscard]] std::vector<std::uint8_t> make_pcapng(std::span<const Egress> frames, unsigned ports);

} // namespace kestrel::esa
