#include "measure/official.hpp"

#include <fmt/format.h>

#include <numeric>

#include "measure/machine.hpp"
#include "record/schema.hpp"

namespace elkhorn::measure {

namespace {

std::string text_of(const Environment& environment, const std::string& name) {
  const Value* value = environment.find(name);
  if (!value) return "unknown";
  const std::string* text = std::get_if<std::string>(value);
  return text ? *text : "";
}

}  // namespace

std::vector<std::string> reasons_of_run(const Environment& environment, bool watched) {
  std::vector<std::string> reasons;
  std::string missing;
  for (const std::string& name : record::required_meta())
    if (text_of(environment, name) == "unknown") missing += (missing.empty() ? "" : ", ") + name;
  if (!missing.empty()) reasons.push_back("provenance is incomplete: " + missing + " unknown");
  const Value* dirty = environment.find("git_dirty");
  if (dirty && std::holds_alternative<long>(*dirty) && std::get<long>(*dirty) != 0)
    reasons.push_back("built from sources with changes that are not committed");
  const std::string build_type = text_of(environment, "build_type");
  if (build_type != "Release" && build_type != "RelWithDebInfo")
    reasons.push_back("not an optimised build: build_type is " + build_type);

  bool oversubscribed = false, overlapping = false, busy = false;
  for (const std::string& warning : environment.warnings) {
    if (warning.find("oversubscribed") != std::string::npos) oversubscribed = true;
    if (warning.find("ranks overlap") != std::string::npos) overlapping = true;
    if (warning.find("busy:") != std::string::npos) busy = true;
  }
  if (oversubscribed) reasons.push_back("oversubscribed: more threads than hardware threads");
  if (overlapping) reasons.push_back("ranks overlap: several may run on the same hardware threads");
  if (busy && !watched) reasons.push_back("the load average left too few hardware threads free at the start");
  if (const std::string governor = text_of(environment, "cpu_governor"); slows_down(governor))
    reasons.push_back("the frequency governor is " + governor);
  return reasons;
}

std::vector<std::string> reasons_of_case(const record::CaseResult& r, const Disturbance& seen, double clock_s) {
  std::vector<std::string> reasons;
  if (r.status != record::Status::ok)
    reasons.push_back(std::string("no validated answer: the status is ") + to_string(r.status));
  if (r.samples == 0) return reasons;
  if (r.samples < official_samples) reasons.push_back(fmt::format("fewer than {} samples", official_samples));
  // Also where there is no interval.
  if (!(r.time_ci_high_s - r.time_ci_low_s <= official_width * r.time_median_s))
    reasons.push_back(fmt::format("the 95 % interval is wider than {:g} % of the median", 100 * official_width));
  if (std::accumulate(r.time_s.begin(), r.time_s.end(), 0.0) < official_time_s)
    reasons.push_back(fmt::format("sampled for less than {:g} s in all", official_time_s));
  if (r.time_median_s < official_resolutions * clock_s)
    reasons.push_back(fmt::format("shorter than {:g} steps of the clock", official_resolutions));
  if (r.drifting) reasons.push_back("times drifted while they were taken");
  if (seen.other_cpu > seen.allowance) reasons.push_back("other programs kept processors busy meanwhile");
  if (seen.throttled > 0) reasons.push_back("processors were throttled meanwhile");
  return reasons;
}

}  // namespace elkhorn::measure
