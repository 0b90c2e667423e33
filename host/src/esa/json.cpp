// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include <algorithm>
#include <array>
#include <bit>
#include <initializer_list>

#include "common/json.hpp"
#include "kestrel/esa/io.hpp"

namespace kestrel::esa {

namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 9> kTypes = {
    "", "data", "result", "partial", "reminder", "resend", "ack", "norm", "norm_result"};
constexpr std::array<std::string_view, 6> kFormats = {"none",     "int32",     "thc_index4",
                                                      "thc_sum8", "thc_sum16", "fp32"};
constexpr std::array<std::string_view, 5> kFlags = {"collision", "ecn", "negative", "retransmit",
                                                    "set"};

template <std::size_t N> std::string names_of(const std::array<std::string_view, N> &names) {
  std::string text;
  for (const std::string_view name : names) {
    text += name.empty() ? "" : (text.empty() ? "" : ", ") + std::string(name);
  }
  return text;
}

/// Place of a name in a list of names.
template <std::size_t N>
Result<std::size_t> place(const std::array<std::string_view, N> &names, const json &value,
                          std::string_view field) {
  if (value.is_string()) {
    const std::string &text = value.get_ref<const std::string &>();
    const auto it = std::find(names.begin(), names.end(), text);
    if (it != names.end() && !text.empty()) {
      return static_cast<std::size_t>(it - names.begin());
    }
  }
  return fail(ErrorCode::kInvalidArgument, "{}: {} is none of {}", field, quote(value),
              names_of(names));
}

Result<std::int64_t> integer(const json &value, std::string_view field, std::int64_t low,
                             std::int64_t high) {
  const bool unsigned_beyond = value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX;
  if (!value.is_number_integer() || unsigned_beyond || value.get<std::int64_t>() < low ||
      value.get<std::int64_t>() > high) {
    return fail(ErrorCode::kInvalidArgument, "{}: {} is no integer in {}..{}", field, quote(value),
                low, high);
  }
  return value.get<std::int64_t>();
}

/// object[field] as T within low..high; `otherwise` where it is absent, an error where there is
/// none.
template <typename T>
Result<T> number(const json &object, const char *field, std::int64_t low, std::int64_t high,
                 std::optional<T> otherwise = std::nullopt) {
  const auto it = object.find(field);
  if (it == object.end()) {
    if (otherwise) {
      return *otherwise;
    }
    return fail(ErrorCode::kInvalidArgument, "{}: missing", field);
  }
  KESTREL_ASSIGN(const std::int64_t value, integer(*it, field, low, high));
  return static_cast<T>(value);
}

Result<bool> boolean(const json &object, const char *field) {
  const auto it = object.find(field);
  if (it != object.end() && !it->is_boolean()) {
    return fail(ErrorCode::kInvalidArgument, "{}: neither true nor false", field);
  }
  return it != object.end() && it->get<bool>();
}

Result<void> only(const json &object, std::initializer_list<std::string_view> known) {
  for (const auto &[name, value] : object.items()) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return fail(ErrorCode::kInvalidArgument, "{}: no such field", shortened(name));
    }
  }
  return {};
}

Result<json> parse(std::string_view text) {
  KESTREL_ASSIGN(json value, parse_json(text));
  if (!value.is_object()) {
    return fail(ErrorCode::kParse, "not a JSON object");
  }
  return value;
}

Result<ref::Job> parse_job(const json &object, unsigned ports) {
  if (!object.is_object()) {
    return fail(ErrorCode::kInvalidArgument, "not an object");
  }
  KESTREL_TRY(only(object, {"job", "epoch", "fan_in", "worker_ports", "ps_port", "format", "table",
                            "uplink", "multi", "pool_base", "pool_size"}));
  ref::Job job;
  KESTREL_ASSIGN(job.job, number<std::uint16_t>(object, "job", 1, 65535));
  KESTREL_ASSIGN(job.epoch, number<std::uint8_t>(object, "epoch", 0, 255, 0));
  KESTREL_ASSIGN(job.fan_in, number<std::uint8_t>(object, "fan_in", 1, ref::kMaxFanIn));
  KESTREL_ASSIGN(job.ps_port, number<std::uint8_t>(object, "ps_port", 0, ports - 1));
  const auto workers = object.find("worker_ports");
  if (workers == object.end() || !workers->is_array() || workers->size() != job.fan_in) {
    return fail(ErrorCode::kInvalidArgument, "worker_ports: not an array of fan_in ports");
  }
  for (std::size_t w = 0; w < job.fan_in; ++w) {
    if (const json &value = (*workers)[w]; !value.is_null()) {
      KESTREL_ASSIGN(const std::int64_t port, integer(value, "worker_ports", 0, ports - 1));
      job.members |= 1U << w;
      job.member_ports |= 1U << port;
    }
  }
  if (const auto format = object.find("format"); format != object.end()) {
    KESTREL_ASSIGN(const std::size_t code, place(kFormats, *format, "format"));
    job.format = static_cast<ref::Format>(code);
  }
  if (const auto table = object.find("table"); table != object.end()) {
    if (!table->is_array() || table->size() != job.table.size()) {
      return fail(ErrorCode::kInvalidArgument, "table: not an array of 16 values");
    }
    for (std::size_t i = 0; i < job.table.size(); ++i) {
      KESTREL_ASSIGN(const std::int64_t value, integer((*table)[i], "table", 0, 255));
      job.table[i] = static_cast<std::uint8_t>(value);
    }
  } else if (job.format != ref::Format::kInt32) {
    return fail(ErrorCode::kInvalidArgument, "table: missing, with a THC format");
  }
  KESTREL_ASSIGN(job.uplink, boolean(object, "uplink"));
  KESTREL_ASSIGN(job.multi, boolean(object, "multi"));
  KESTREL_ASSIGN(job.pool_base, number<std::uint32_t>(object, "pool_base", 0, 65535, 0));
  KESTREL_ASSIGN(job.pool_size, number<std::uint32_t>(object, "pool_size", 0, 65535, 0));
  return job;
}

std::string hex(std::span<const std::uint8_t> bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::uint8_t byte : bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

Result<std::vector<std::uint8_t>> from_hex(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = digit(text[i]);
    const int low = i + 1 < text.size() ? digit(text[i + 1]) : -1;
    if (high < 0 || low < 0) {
      return fail(ErrorCode::kInvalidArgument, "frame: no hexadecimal bytes");
    }
    bytes.push_back(static_cast<std::uint8_t>(high << 4 | low));
  }
  return bytes;
}

} // namespace

Result<SwitchConfig> parse_switch_config(std::string_view text) {
  KESTREL_ASSIGN(const json object, parse(text));
  KESTREL_TRY(only(object, {"policy", "slots", "lanes", "ports", "completed", "preempt",
                            "downgrade_shift", "forward", "jobs"}));
  SwitchConfig config;
  ref::Config &model = config.model;
  if (!object.contains("policy")) {
    return fail(ErrorCode::kInvalidArgument, "policy: missing");
  }
  constexpr std::array<std::string_view, 3> policies = {"esa", "atp", "switchml"};
  KESTREL_ASSIGN(const std::size_t policy, place(policies, object["policy"], "policy"));
  model.policy = static_cast<ref::Policy>(policy);
  KESTREL_ASSIGN(model.slots, number<std::uint32_t>(object, "slots", 1, ref::kMaxSlots));
  KESTREL_ASSIGN(model.lanes, number<std::uint32_t>(object, "lanes", 1, 2048, 64));
  KESTREL_ASSIGN(model.ports, number<unsigned>(object, "ports", 1, ref::kMaxPorts, 8));
  KESTREL_ASSIGN(model.downgrade_shift, number<unsigned>(object, "downgrade_shift", 0, 7, 1));
  model.completed =
      model.policy == ref::Policy::kAtp ? ref::Completed::kHold : ref::Completed::kFree;
  if (const auto rule = object.find("completed"); rule != object.end()) {
    constexpr std::array<std::string_view, 3> rules = {"free", "hold", "via_ps"};
    KESTREL_ASSIGN(const std::size_t code, place(rules, *rule, "completed"));
    model.completed = static_cast<ref::Completed>(code);
  }
  if (const auto rule = object.find("preempt"); rule != object.end()) {
    constexpr std::array<std::string_view, 4> rules = {"higher", "never", "always", "random"};
    KESTREL_ASSIGN(const std::size_t code, place(rules, *rule, "preempt"));
    model.preempt = static_cast<ref::Preempt>(code);
  }
  if (const auto forward = object.find("forward"); forward != object.end()) {
    if (!forward->is_array() || forward->size() > model.ports) {
      return fail(ErrorCode::kInvalidArgument, "forward: not an array of at most {} ports",
                  model.ports);
    }
    for (const json &value : *forward) {
      if (value.is_null()) {
        config.forward.push_back(ref::kNoPort);
      } else {
        KESTREL_ASSIGN(const std::int64_t port, integer(value, "forward", 0, model.ports - 1));
        config.forward.push_back(static_cast<unsigned>(port));
      }
    }
  }
  const auto jobs = object.find("jobs");
  if (jobs == object.end() || !jobs->is_array()) {
    return fail(ErrorCode::kInvalidArgument, "jobs: missing, or not an array");
  }
  for (std::size_t i = 0; i < jobs->size(); ++i) {
    auto job = parse_job((*jobs)[i], model.ports);
    if (!job) {
      return fail(job.error().code, "jobs[{}]: {}", i, job.error().message);
    }
    config.jobs.push_back(*job);
  }
  return config;
}

Result<Ingress> parse_packet_line(std::string_view line, const SwitchConfig &config) {
  KESTREL_ASSIGN(const json object, parse(line));
  Ingress in;
  KESTREL_ASSIGN(in.port, number<unsigned>(object, "port", 0, config.model.ports - 1));
  if (const auto frame = object.find("frame"); frame != object.end()) {
    KESTREL_TRY(only(object, {"port", "frame"}));
    if (!frame->is_string()) {
      return fail(ErrorCode::kInvalidArgument, "frame: no hexadecimal bytes");
    }
    KESTREL_ASSIGN(in.frame, from_hex(frame->get_ref<const std::string &>()));
    return in;
  }
  KESTREL_TRY(only(object, {"port", "type", "job", "epoch", "seq", "slot", "bitmap", "fan_in",
                            "prio", "values", "flags", "format", "count", "config", "cycle"}));
  ref::Packet p;
  if (!object.contains("type")) {
    return fail(ErrorCode::kInvalidArgument, "type: missing");
  }
  KESTREL_ASSIGN(const std::size_t type, place(kTypes, object["type"], "type"));
  p.type = static_cast<ref::Type>(type);
  KESTREL_ASSIGN(p.job, number<std::uint16_t>(object, "job", 0, 65535));
  const auto known = std::find_if(config.jobs.begin(), config.jobs.end(),
                                  [&](const ref::Job &j) { return j.job == p.job; });
  KESTREL_ASSIGN(p.epoch,
                 number<std::uint8_t>(object, "epoch", 0, 255,
                                      known == config.jobs.end() ? std::uint8_t{0} : known->epoch));
  KESTREL_ASSIGN(p.seq, number<std::uint32_t>(object, "seq", 0, UINT32_MAX));
  KESTREL_ASSIGN(p.slot, number<std::uint16_t>(object, "slot", 0, 65535));
  KESTREL_ASSIGN(p.bitmap, number<std::uint32_t>(object, "bitmap", 0, UINT32_MAX, 0));
  KESTREL_ASSIGN(p.fan_in, number<std::uint8_t>(object, "fan_in", 0, 255));
  KESTREL_ASSIGN(p.prio, number<std::uint8_t>(object, "prio", 0, 255, 0));
  KESTREL_ASSIGN(p.config, number<std::uint16_t>(object, "config", 0, 65535, 0));
  if (const auto flags = object.find("flags"); flags != object.end()) {
    if (!flags->is_array()) {
      return fail(ErrorCode::kInvalidArgument, "flags: not an array of names");
    }
    for (const json &name : *flags) {
      KESTREL_ASSIGN(const std::size_t bit, place(kFlags, name, "flags"));
      p.flags = static_cast<std::uint8_t>(p.flags | 1U << bit);
    }
  }
  const auto values = object.find("values");
  if (values != object.end() && !values->is_array()) {
    return fail(ErrorCode::kInvalidArgument, "values: not an array");
  }
  const std::size_t lanes = values == object.end() ? 0 : values->size();
  if (const auto format = object.find("format"); format != object.end()) {
    KESTREL_ASSIGN(const std::size_t code, place(kFormats, *format, "format"));
    p.format = static_cast<ref::Format>(code);
  } else if (lanes != 0) {
    p.format = known == config.jobs.end() ? ref::Format::kInt32 : known->format;
  }
  std::int64_t low = 0;
  std::int64_t high = 0;
  switch (p.format) {
  case ref::Format::kNone:
    break;
  case ref::Format::kInt32:
  case ref::Format::kFp32:
    low = INT32_MIN;
    high = INT32_MAX;
    break;
  case ref::Format::kThcIndex4:
    high = 15;
    break;
  case ref::Format::kThcSum8:
    high = 255;
    break;
  case ref::Format::kThcSum16:
    high = 65535;
    break;
  }
  if (p.format == ref::Format::kNone && lanes != 0) {
    return fail(ErrorCode::kInvalidArgument, "values: given, with format none");
  }
  if (p.format == ref::Format::kThcIndex4 && lanes % 2 != 0) {
    return fail(ErrorCode::kInvalidArgument, "values: an odd number of 4-bit indices");
  }
  constexpr std::size_t kMaxLanes = 16000;
  if (lanes > kMaxLanes) {
    return fail(ErrorCode::kInvalidArgument, "values: more than {}", kMaxLanes);
  }
  p.values.reserve(lanes);
  for (std::size_t i = 0; i < lanes; ++i) {
    KESTREL_ASSIGN(const std::int64_t value, integer((*values)[i], "values", low, high));
    p.values.push_back(static_cast<std::int32_t>(value));
  }
  const auto bits = static_cast<std::uint8_t>(std::popcount(p.bitmap));
  KESTREL_ASSIGN(
      p.count, number<std::uint8_t>(object, "count", 0, 255, lanes == 0 ? std::uint8_t{0} : bits));
  in.frame = ref::make_frame(p);
  return in;
}

std::string packet_line(const Egress &egress) {
  const auto parsed = ref::parse_frame(egress.frame);
  json object = {{"cycle", egress.cycle}, {"port", egress.port}};
  const auto *p = std::get_if<ref::Packet>(&parsed);
  if (p == nullptr || p->type < ref::Type::kData || p->type > ref::Type::kNormResult) {
    object["type"] = "foreign";
    object["frame"] = hex(egress.frame);
    return object.dump();
  }
  object["type"] = kTypes[static_cast<std::size_t>(p->type)];
  object["job"] = p->job;
  object["epoch"] = p->epoch;
  object["seq"] = p->seq;
  object["slot"] = p->slot;
  object["bitmap"] = p->bitmap;
  object["fan_in"] = p->fan_in;
  object["prio"] = p->prio;
  object["count"] = p->count;
  object["config"] = p->config;
  object["format"] = kFormats[static_cast<std::size_t>(p->format)];
  json flags = json::array();
  for (std::size_t i = 0; i < kFlags.size(); ++i) {
    if ((p->flags >> i & 1) != 0) {
      flags.push_back(kFlags[i]);
    }
  }
  object["flags"] = std::move(flags);
  object["values"] = p->values;
  return object.dump();
}

} // namespace kestrel::esa
