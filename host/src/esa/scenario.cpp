// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include <map>
#include <utility>

#include "common/json.hpp"
#include "kestrel/esa/cluster.hpp"

namespace kestrel::esa {
namespace {

using Json = nlohmann::json;

/// Reads fields of one object by name and refuses what nobody asked for.
class Fields {
public:
  Fields(const Json &json, std::string where) : json_(json), where_(std::move(where)) {}

  [[nodiscard]] Result<void> check_object() const {
    if (!json_.is_object())
      return fail(ErrorCode::kParse, "{}: is not an object", where_);
    return {};
  }
  [[nodiscard]] bool has(const char *name) {
    known_[name] = true;
    return json_.contains(name);
  }
  [[nodiscard]] const Json &at(const char *name) const { return json_.at(name); }
  [[nodiscard]] std::string path(const char *name) const {
    return where_.empty() ? name : where_ + "." + name;
  }

  Result<void> number(const char *name, double &value) {
    if (!has(name))
      return {};
    if (!at(name).is_number())
      return fail(ErrorCode::kParse, "{}: is not a number", path(name));
    value = at(name).get<double>();
    return {};
  }
  template <class Integer> Result<void> integer(const char *name, Integer &value) {
    if (!has(name))
      return {};
    const Json &j = at(name);
    if (!j.is_number_unsigned() || j.get<std::uint64_t>() > std::numeric_limits<Integer>::max())
      return fail(ErrorCode::kParse, "{}: is not a whole number from 0 to {}", path(name),
                  std::numeric_limits<Integer>::max());
    value = j.get<Integer>();
    return {};
  }
  Result<void> boolean(const char *name, bool &value) {
    if (!has(name))
      return {};
    if (!at(name).is_boolean())
      return fail(ErrorCode::kParse, "{}: is neither true nor false", path(name));
    value = at(name).get<bool>();
    return {};
  }
  template <class Enum>
  Result<void> choice(const char *name, const std::vector<std::pair<const char *, Enum>> &values,
                      Enum &value) {
    if (!has(name))
      return {};
    std::string known;
    for (const auto &[word, meaning] : values) {
      if (at(name) == word) {
        value = meaning;
        return {};
      }
      known += (known.empty() ? "" : ", ") + std::string(word);
    }
    return fail(ErrorCode::kInvalidArgument, "{}: is not one of {}", path(name), known);
  }
  [[nodiscard]] Result<void> no_others() const {
    for (const auto &[name, value] : json_.items())
      if (!known_.contains(name))
        return fail(ErrorCode::kInvalidArgument, "{}: unknown field",
                    path(shortened(name).c_str()));
    return {};
  }

private:
  const Json &json_;
  std::string where_;
  std::map<std::string, bool, std::less<>> known_;
};

const std::vector<std::pair<const char *, ClusterPolicy>> kPolicies = {
    {"esa", ClusterPolicy::kEsa},
    {"atp", ClusterPolicy::kAtp},
    {"switchml", ClusterPolicy::kSwitchMl},
    {"ps", ClusterPolicy::kPsOnly}};

Result<void> read_config(Fields &fields, ClusterConfig &c) {
  KESTREL_TRY(fields.integer("slots", c.slots));
  KESTREL_TRY(fields.choice<ref::Preempt>("preempt",
                                          {{"higher", ref::Preempt::kHigher},
                                           {"never", ref::Preempt::kNever},
                                           {"always", ref::Preempt::kAlways},
                                           {"random", ref::Preempt::kRandom}},
                                          c.preempt));
  KESTREL_TRY(fields.choice<ref::Completed>(
      "completed", {{"free", ref::Completed::kFree}, {"via_ps", ref::Completed::kViaPs}},
      c.completed));
  KESTREL_TRY(fields.integer("downgrade_shift", c.downgrade_shift));
  if (fields.has("priority")) {
    Fields terms(fields.at("priority"), fields.path("priority"));
    KESTREL_TRY(terms.check_object());
    KESTREL_TRY(terms.number("comm", c.priority.comm));
    KESTREL_TRY(terms.number("work", c.priority.work));
    KESTREL_TRY(terms.number("layer", c.priority.layer));
    KESTREL_TRY(terms.boolean("known_work", c.priority.known_work));
    KESTREL_TRY(terms.no_others());
  }
  KESTREL_TRY(fields.boolean("home_ranges", c.home_ranges));
  KESTREL_TRY(fields.number("link_gbps", c.link_gbps));
  KESTREL_TRY(fields.number("link_delay_us", c.link_delay_us));
  KESTREL_TRY(fields.number("switch_latency_us", c.switch_latency_us));
  KESTREL_TRY(fields.integer("ecn_packets", c.ecn_packets));
  KESTREL_TRY(fields.integer("queue_packets", c.queue_packets));
  KESTREL_TRY(fields.number("loss", c.loss));
  KESTREL_TRY(fields.integer("window_start", c.window_start));
  KESTREL_TRY(fields.integer("window_max", c.window_max));
  KESTREL_TRY(fields.integer("out_of_order", c.out_of_order));
  KESTREL_TRY(fields.boolean("halve_on_order", c.halve_on_order));
  KESTREL_TRY(fields.number("reminder_us", c.reminder_us));
  KESTREL_TRY(fields.number("timeout_us", c.timeout_us));
  KESTREL_TRY(fields.number("scale", c.scale));
  KESTREL_TRY(fields.number("jitter", c.jitter));
  KESTREL_TRY(fields.integer("layers", c.layers));
  KESTREL_TRY(fields.integer("seed", c.seed));
  KESTREL_TRY(fields.integer("max_events", c.max_events));
  KESTREL_TRY(fields.choice<std::string>(
      "device", {{"model", "model"}, {"fast", "fast"}, {"rtl", "rtl"}}, c.device));
  return {};
}

Result<TrainingModel> read_model(Fields &job) {
  if (!job.has("model"))
    return fail(ErrorCode::kInvalidArgument, "{}: is missing", job.path("model"));
  const Json &json = job.at("model");
  if (json.is_string()) {
    auto model = training_model(json.get<std::string>());
    if (!model)
      return fail(model.error().code, "{}: {}", job.path("model"), model.error().message);
    return model;
  }
  Fields fields(json, job.path("model"));
  KESTREL_TRY(fields.check_object());
  TrainingModel model;
  if (fields.has("name"))
    model.name = fields.at("name").is_string()
                     ? shortened(fields.at("name").get_ref<const std::string &>())
                     : "";
  for (const auto &[name, value] :
       {std::pair{"parameters_m", &model.parameters_m}, std::pair{"forward_ms", &model.forward_ms},
        std::pair{"backward_ms", &model.backward_ms}}) {
    if (!fields.has(name))
      return fail(ErrorCode::kInvalidArgument, "{}: is missing", fields.path(name));
    KESTREL_TRY(fields.number(name, *value));
  }
  KESTREL_TRY(fields.no_others());
  return model;
}

Result<void> read_jobs(Fields &top, std::vector<ClusterJob> &jobs) {
  if (!top.has("jobs") || !top.at("jobs").is_array() || top.at("jobs").empty())
    return fail(ErrorCode::kInvalidArgument, "jobs: must be an array of at least one job");
  for (std::size_t i = 0; i < top.at("jobs").size(); ++i) {
    Fields fields(top.at("jobs")[i], fmt::format("jobs[{}]", i));
    KESTREL_TRY(fields.check_object());
    ClusterJob job;
    KESTREL_ASSIGN(job.model, read_model(fields));
    unsigned count = 1;
    KESTREL_TRY(fields.integer("workers", job.workers));
    KESTREL_TRY(fields.integer("iterations", job.iterations));
    KESTREL_TRY(fields.number("start_ms", job.start_ms));
    KESTREL_TRY(fields.integer("count", count));
    KESTREL_TRY(fields.no_others());
    if (count < 1 || count > kMaxClusterJobs)
      return fail(ErrorCode::kInvalidArgument, "{}: must be 1 to {}", fields.path("count"),
                  kMaxClusterJobs);
    if (jobs.size() + count > kMaxClusterJobs)
      return fail(ErrorCode::kResourceLimit, "jobs: more than {} with their counts",
                  kMaxClusterJobs);
    jobs.insert(jobs.end(), count, job);
  }
  return {};
}

} // namespace

Result<TrainingModel> training_model(std::string_view name) {
  // Parameters in millions, forward and backward milliseconds on a V100.
  static const std::array<TrainingModel, 6> models = {{
      {"AlexNet", 61.1, 133, 122},
      {"ResNet50", 25.6, 99, 223},
      {"ResNet101", 44.5, 99, 197},
      {"VGG11", 132.9, 74, 107},
      {"VGG16", 138.4, 146, 279},
      {"BERT", 335.2, 31, 198},
  }};
  std::string known;
  for (const TrainingModel &model : models) {
    if (model.name == name)
      return model;
    known += (known.empty() ? "" : ", ") + model.name;
  }
  return fail(ErrorCode::kNotFound, "model '{}' is not one of {}", name, known);
}

const char *to_string(ClusterPolicy policy) {
  switch (policy) {
  case ClusterPolicy::kEsa:
    return "esa";
  case ClusterPolicy::kAtp:
    return "atp";
  case ClusterPolicy::kSwitchMl:
    return "switchml";
  case ClusterPolicy::kPsOnly:
    return "ps";
  }
  return "?";
}

ClusterConfig default_config(ClusterPolicy policy) {
  ClusterConfig c;
  c.policy = policy;
  switch (policy) {
  case ClusterPolicy::kEsa:
    c.window_start = c.window_max = 32;
    c.downgrade_shift = 0;
    c.out_of_order = 8;
    c.halve_on_order = false;
    c.reminder_us = 30.0;
    c.timeout_us = 200.0;
    break;
  case ClusterPolicy::kAtp:
    c.completed = ref::Completed::kViaPs;
    break;
  case ClusterPolicy::kSwitchMl:
  case ClusterPolicy::kPsOnly:
    c.timeout_us = 200.0;
    break;
  }
  return c;
}

Result<ClusterScenario> parse_scenario(std::string_view text) {
  KESTREL_ASSIGN(const Json json, parse_json(text));
  Fields top(json, "");
  if (!json.is_object())
    return fail(ErrorCode::kParse, "the scenario is not an object");
  ClusterScenario scenario;
  KESTREL_TRY(read_jobs(top, scenario.jobs));

  Json variants = Json::array();
  if (top.has("variants")) {
    const Json &given = top.at("variants");
    if (!given.is_array() || given.empty())
      return fail(ErrorCode::kInvalidArgument, "variants: must be an array of at least one");
    if (given.size() > kMaxClusterVariants)
      return fail(ErrorCode::kResourceLimit, "variants: more than {}", kMaxClusterVariants);
    variants = given;
  } else {
    for (const auto &[name, policy] : kPolicies)
      variants.push_back({{"name", name}, {"policy", name}});
  }
  for (std::size_t i = 0; i < variants.size(); ++i) {
    Fields fields(variants[i], fmt::format("variants[{}]", i));
    KESTREL_TRY(fields.check_object());
    ClusterPolicy policy{};
    if (!fields.has("policy"))
      return fail(ErrorCode::kInvalidArgument, "{}: is missing", fields.path("policy"));
    KESTREL_TRY(fields.choice("policy", kPolicies, policy));
    ClusterVariant variant{to_string(policy), default_config(policy)};
    KESTREL_TRY(read_config(top, variant.config));
    if (fields.has("name")) {
      if (!fields.at("name").is_string())
        return fail(ErrorCode::kParse, "{}: is not a string", fields.path("name"));
      variant.name = shortened(fields.at("name").get_ref<const std::string &>());
    }
    KESTREL_TRY(read_config(fields, variant.config));
    KESTREL_TRY(fields.no_others());
    scenario.variants.push_back(std::move(variant));
  }
  KESTREL_TRY(top.no_others());
  return scenario;
}

} // namespace kestrel::esa
