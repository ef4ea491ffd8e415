#include "record/check.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <regex>
#include <set>
#include <tuple>
#include <type_traits>

#include "record/guard.hpp"
#include "record/hdf5_io.hpp"
#include "record/results.hpp"
#include "record/schema.hpp"

namespace elkhorn::record {
namespace {

using Problems = std::vector<std::string>;

/// Collects problems under one path of the file.
class Report {
 public:
  Report(Problems& problems, std::string where) : problems_(problems), where_(std::move(where)) {}
  /// Names in a damaged file may hold anything; a problem is one line.
  void add(const std::string& sentence) {
    std::string line = where_ + ": " + sentence;
    std::replace_if(
        line.begin(), line.end(), [](unsigned char c) { return c < 0x20; }, ' ');
    problems_.push_back(std::move(line));
  }
  void expect(bool holds, const std::string& sentence) {
    if (!holds) add(sentence);
  }

 private:
  Problems& problems_;
  std::string where_;
};

template <class T>
constexpr Kind expected_kind() {
  if constexpr (std::is_same_v<T, bool>) return Kind::boolean;
  if constexpr (std::is_integral_v<T>) return Kind::integer;
  if constexpr (std::is_floating_point_v<T>) return Kind::real;
  return Kind::text;
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

bool close_to(double a, double b) { return std::abs(a - b) <= 1e-9 * std::max(std::abs(a), std::abs(b)); }

bool expect_kind(hid_t object, const std::string& name, Kind wanted, Report& report) {
  const Kind found = attribute_kind(object, name);
  if (found == wanted) return true;
  report.add("attribute " + name +
             (found == Kind::missing ? std::string(" is missing")
                                     : std::string(" is ") + to_string(found) + ", expected " + to_string(wanted)));
  return false;
}

/// True where `path` is a dataset of the given element kind and shape.
bool expect_dataset(hid_t group, const std::string& path, Kind kind, const std::vector<long>& shape, Report& report) {
  if (!link_exists(group, path)) {
    report.add(path + " is missing");
    return false;
  }
  const Dataset dataset = open_dataset(group, path);
  const std::vector<long> found = dataset_shape(dataset);
  const Kind found_kind = dataset_kind(dataset);
  report.expect(found_kind == kind,
                path + " holds elements " + to_string(found_kind) + ", expected " + to_string(kind));
  report.expect(found == shape, path + " has shape " + shape_text(found) + ", the attributes say " + shape_text(shape));
  return found_kind == kind && found == shape;
}

/// @return the format version
std::string check_root(hid_t file, Problems& problems) {
  Report report(problems, "/");
  const auto text = [&](const char* name) -> std::optional<std::string> {
    if (!expect_kind(file, name, Kind::text, report)) return std::nullopt;
    std::string value;
    read_attribute(file, name, value);
    return value;
  };
  const auto format = text("format"), version = text("format_version"), created = text("created");
  if (format) report.expect(*format == format_name, "format is \"" + *format + "\", expected \"elkhorn\"");
  if (version)
    report.expect(version->rfind("1.", 0) == 0,
                  "format_version is \"" + *version + "\", this program knows " + format_version);
  if (created)
    report.expect(created->size() < 64 &&
                      std::regex_match(*created, std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00))")),
                  "created is \"" + *created + "\", expected UTC in ISO 8601");
  return version.value_or("");
}

void check_meta(hid_t file, Problems& problems) {
  Report report(problems, "/meta");
  if (!link_exists(file, "meta")) return report.add("the group is missing");
  const Group group = open_group(file, "meta");
  for (const std::string& name : required_meta()) {
    const Kind kind = attribute_kind(group.id(), name);
    if (name == "ranks" || name == "threads")
      expect_kind(group.id(), name, Kind::integer, report);
    else
      report.expect(kind != Kind::missing, "attribute " + name + " is missing");
  }
  try {
    read_meta(group.id());
  } catch (const Hdf5Error& error) {
    report.add(error.what());
  }
  if (!link_exists(group.id(), "deck")) return report.add("dataset deck (the resolved deck) is missing");
  report.expect(!read_text(group.id(), "deck").empty(), "dataset deck is empty");
}

/// Optional; rates and times that are there must be positive, and every number of ranks has both latencies.
void check_roofs(hid_t file, Problems& problems) {
  if (!link_exists(file, "roofs")) return;
  Report report(problems, "/roofs");
  const Group group = open_group(file, "roofs");
  for (const std::string& name : attribute_names(group.id())) {
    double value = 0;
    if (!expect_kind(group.id(), name, Kind::real, report)) continue;
    read_attribute(group.id(), name, value);
    report.expect(value > 0 && std::isfinite(value), "attribute " + name + " is " + number(value));
  }
  if (!link_exists(group.id(), "latency_ranks")) return report.add("latency_ranks is missing");
  const auto shape = dataset_shape(open_dataset(group.id(), "latency_ranks"));
  for (const char* name : {"latency_ranks", "allreduce_s", "exscan_s"})
    expect_dataset(group.id(), name, Kind::real, shape, report);
}

bool all_finite_rows(const Dataset& dataset, const std::vector<long>& shape) {
  require_stored(dataset, "states");
  const long step = rows_at_once(shape[1] * shape[2]);
  for (long first = 0; first < shape[0]; first += step) {
    const auto values = read_rows(dataset, first, std::min(step, shape[0] - first));
    if (!std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); })) return false;
  }
  return true;
}

void check_identity(const CaseResult& r, Report& report) {
  const bool ran = r.status != Status::failed && r.status != Status::skipped;
  report.expect(!r.name.empty(), "name is empty");
  report.expect(!r.system.empty(), "system is empty");
  report.expect(!r.solver.empty(), "solver is empty");
  report.expect(r.precision == "float32" || r.precision == "float64",
                "precision is \"" + r.precision + "\", expected float32 or float64");
  const long least = ran ? 1 : 0;  // a case that failed may not have got as far as knowing its sizes
  report.expect(r.state_dim >= least, "state_dim is " + std::to_string(r.state_dim));
  report.expect(r.length >= least, "length is " + std::to_string(r.length));
  report.expect(r.batch >= least, "batch is " + std::to_string(r.batch));
  report.expect(std::isnan(r.sigma2) || r.sigma2 > 0, "sigma2 is " + number(r.sigma2) + ", expected a positive number");
  report.expect(r.ranks >= 1 && r.threads >= 1, "ranks and threads must be at least 1");
  report.expect(r.batch_ranks * r.time_ranks == r.ranks, "batch_ranks × time_ranks is " +
                                                             std::to_string(r.batch_ranks * r.time_ranks) +
                                                             ", ranks is " + std::to_string(r.ranks));
}

void check_verdict(const CaseResult& r, Report& report) {
  const std::string status = to_string(r.status);
  if (r.status == Status::ok || r.status == Status::wrong)
    report.expect(r.converged, "status is " + status + " but converged is false");
  if (r.status == Status::not_converged || r.status == Status::diverged)
    report.expect(!r.converged, "status is " + status + " but converged is true");
  if (r.status == Status::failed || r.status == Status::skipped)
    report.expect(!r.message.empty(), "status is " + status + " without a message");
  report.expect(r.iterations >= -1, "iterations is " + std::to_string(r.iterations));
  const auto not_negative = [&](const char* name, double value) {
    report.expect(!(value < 0), std::string(name) + " is " + number(value) + ", expected no negative number");
  };
  not_negative("residual_max", r.residual_max);
  not_negative("error_max", r.error_max);
  not_negative("error_mad", r.error_mad);
  not_negative("peak_memory_bytes", r.peak_memory_bytes);
  not_negative("model_memory_bytes", r.model_memory_bytes);
  not_negative("flops", r.flops);
  not_negative("bytes", r.bytes);
  if (r.status == Status::ok) report.expect(r.samples >= 1, "status is ok without a timing sample");
  if (r.status != Status::ok)
    report.expect(std::isnan(r.speedup_over_sequential), "speedup_over_sequential is " +
                                                             number(r.speedup_over_sequential) + " for status " +
                                                             status + "; only ok carries a speed-up");
  else
    report.expect(std::isnan(r.speedup_over_sequential) ||
                      (r.speedup_over_sequential > 0 && std::isfinite(r.speedup_over_sequential)),
                  "speedup_over_sequential is " + number(r.speedup_over_sequential));
}

void check_times(const CaseResult& r, Report& report) {
  if (r.samples == 0) {
    report.expect(std::isnan(r.time_median_s) && std::isnan(r.time_ci_low_s) && std::isnan(r.time_ci_high_s),
                  "there are no samples, but a median or an interval");
    return;
  }
  report.expect(
      r.stopped_because == "ci_width" || r.stopped_because == "max_repetitions" || r.stopped_because == "time_limit",
      "stopped_because is \"" + r.stopped_because + "\", expected ci_width, max_repetitions or time_limit");
  std::vector<double> sorted = r.time_s;
  for (const auto* times : {&r.time_s, &r.rank_time_s})
    if (!std::all_of(times->begin(), times->end(), [](double t) { return std::isfinite(t) && t > 0; }))
      return report.add(times == &r.time_s ? "time_s holds a time that is not a positive number"
                                           : "rank_time_s holds a time that is not a positive number");
  for (std::size_t i = 0; r.ranks >= 1 && i < r.time_s.size(); ++i) {
    const auto first = r.rank_time_s.begin() + static_cast<long>(i) * r.ranks;
    const double largest = *std::max_element(first, first + r.ranks);
    if (!close_to(r.time_s[i], largest)) {
      report.add("time_s[" + std::to_string(i) + "] is " + number(r.time_s[i]) + ", the largest over ranks is " +
                 number(largest));
      break;
    }
  }
  std::sort(sorted.begin(), sorted.end());
  const std::size_t n = sorted.size();
  const double median = n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  report.expect(close_to(r.time_median_s, median),
                "time_median_s is " + number(r.time_median_s) + ", the median of time_s is " + number(median));
  // Few samples have no 95 % interval: then both ends are NaN.
  const bool no_interval = std::isnan(r.time_ci_low_s) && std::isnan(r.time_ci_high_s);
  const bool ordered = r.time_ci_low_s > 0 && r.time_ci_low_s <= r.time_median_s &&
                       r.time_median_s <= r.time_ci_high_s && std::isfinite(r.time_ci_high_s);
  report.expect(no_interval || ordered, "the interval [" + number(r.time_ci_low_s) + ", " + number(r.time_ci_high_s) +
                                            "] does not hold the median " + number(r.time_median_s));
}

/// Attributes since 1.1: spread, flags, verdict on the measurement.
void check_measurement(const CaseResult& r, Report& report) {
  report.expect(r.official == r.unofficial_because.empty(),
                r.official ? "official is true, but unofficial_because is \"" + r.unofficial_because + "\""
                           : std::string("official is false without a reason in unofficial_because"));
  report.expect(!r.official || r.status == Status::ok,
                std::string("official is true for status ") + to_string(r.status));
  report.expect(r.roof_bound.empty() || r.roof_bound == "bandwidth" || r.roof_bound == "flops",
                "roof_bound is \"" + r.roof_bound + "\", expected bandwidth, flops or nothing");
  report.expect(r.roof_bound.empty() == std::isnan(r.roof_share) && !(r.roof_share < 0),
                "roof_share is " + number(r.roof_share) + " with roof_bound \"" + r.roof_bound + "\"");
  report.expect(!(r.other_cpu < 0), "other_cpu is " + number(r.other_cpu));
  report.expect(!(r.communication_share < 0 || r.communication_share > 1),
                "communication_share is " + number(r.communication_share));
  report.expect(!(r.transfer_share < 0 || r.transfer_share > 1), "transfer_share is " + number(r.transfer_share));
  report.expect(r.pass.empty() || r.pass == "fused" || r.pass == "separate",
                "pass is \"" + r.pass + "\", expected fused, separate or nothing");
  report.expect(!(r.energy_j < 0), "energy_j is " + number(r.energy_j));
  report.expect(!r.drifting || std::isfinite(r.drift), "drifting is true without a drift");
  report.expect(!r.bimodal || r.dip > 0, "bimodal is true without a dip");
  report.expect(r.outliers >= -1 && r.outliers <= r.samples,
                "outliers is " + std::to_string(r.outliers) + " of " + std::to_string(r.samples) + " samples");
  report.expect(std::isnan(r.time_first_s) || r.time_first_s > 0, "time_first_s is " + number(r.time_first_s));
  // Results taken over from a file of version 1.0 have no spread.
  if (r.outliers < 0) return;
  report.expect(r.time_min_s <= r.time_q1_s && r.time_q1_s <= r.time_median_s && r.time_median_s <= r.time_q3_s &&
                    r.time_q3_s <= r.time_max_s,
                "extremes, quartiles and median are not in order");
  report.expect(r.time_mad_s >= 0, "time_mad_s is " + number(r.time_mad_s));
  // Times that are no times are reported already.
  if (r.time_s.empty() ||
      !std::all_of(r.time_s.begin(), r.time_s.end(), [](double t) { return t > 0 && t < INFINITY; }))
    return;
  const auto [least, most] = std::minmax_element(r.time_s.begin(), r.time_s.end());
  report.expect(r.time_min_s == *least && r.time_max_s == *most, "time_min_s and time_max_s are not those of time_s");
}

void check_iterations(const CaseResult& r, Report& report) {
  if (r.batch_iterations.empty()) {
    const bool may_have_none =
        r.status == Status::failed || r.status == Status::skipped || r.solver == "sequential" || r.iterations < 0;
    report.expect(may_have_none, "batch_iterations is empty");
  } else {
    const auto [least, largest] = std::minmax_element(r.batch_iterations.begin(), r.batch_iterations.end());
    report.expect(*least >= 0, "batch_iterations holds a negative number");
    report.expect(*largest == r.iterations, "iterations is " + std::to_string(r.iterations) +
                                                ", the largest of batch_iterations is " + std::to_string(*largest));
  }
  const History& h = r.history;
  if (h.batch == 0) return;
  report.expect(h.batch == r.batch,
                "history has " + std::to_string(h.batch) + " sequences, batch is " + std::to_string(r.batch));
  report.expect(h.iterations == r.iterations, "history has " + std::to_string(h.iterations) +
                                                  " iterations, iterations is " + std::to_string(r.iterations));
  if (static_cast<long>(r.batch_iterations.size()) == h.batch) {
    for (long b = 0; b < h.batch; ++b)
      for (long row = r.batch_iterations[static_cast<std::size_t>(b)] + 1; row >= 0 && row <= h.iterations; ++row)
        if (!std::isnan(h.residual[static_cast<std::size_t>(row * h.batch + b)])) {
          report.add("history/residual[" + std::to_string(row) + ", " + std::to_string(b) +
                     "] is a number, though sequence " + std::to_string(b) + " stopped after " +
                     std::to_string(r.batch_iterations[static_cast<std::size_t>(b)]) + " iterations");
          row = h.iterations;
        }
  }
  double before = 0;
  for (const double seconds : h.elapsed_s) {
    if (!(seconds >= before) || !std::isfinite(seconds)) {
      report.add("history/elapsed_s is not a growing series of seconds");
      break;
    }
    before = seconds;
  }
}

/// Arrays against the attributes. True where all can be read.
bool check_arrays(hid_t group, const CaseResult& r, Report& report) {
  bool sound = true;
  const auto expect = [&](const std::string& path, Kind kind, const std::vector<long>& shape) {
    if (!expect_dataset(group, path, kind, shape, report)) sound = false;
  };
  expect("time_s", Kind::real, {r.samples});
  expect("rank_time_s", Kind::real, {r.samples, r.ranks});
  const bool none = link_exists(group, "batch_iterations") &&
                    dataset_shape(open_dataset(group, "batch_iterations")) == std::vector<long>{0};
  expect("batch_iterations", Kind::integer, {none ? 0 : r.batch});
  if (link_exists(group, "history")) {
    const long n = r.iterations;
    expect("history/residual", Kind::real, {n + 1, r.batch});
    expect("history/update", Kind::real, {n, r.batch});
    expect("history/mad", Kind::real, {n + 1, r.batch});
    expect("history/elapsed_s", Kind::real, {n});
    expect("history/resets", Kind::real, {n, r.batch});
    expect("history/bounded", Kind::real, {n, r.batch});
    if (r.sigma2_adaptive) {
      expect("history/sigma2", Kind::real, {n, 3});
      expect("history/rejected", Kind::real, {n});
    }
  }
  if (link_exists(group, "states")) {
    const std::vector<long> shape = {r.length, r.batch, r.state_dim};
    if (expect_dataset(group, "states", Kind::real, shape, report))
      report.expect(all_finite_rows(open_dataset(group, "states"), shape) || r.status != Status::ok,
                    "status is ok but states holds values that are not finite");
  }
  return sound;
}

void check_case(hid_t group, const std::string& version, const std::string& where, CaseResult& r, bool& readable,
                Problems& problems) {
  Report report(problems, where);
  readable = true;
  visit_attributes(r, [&](const char* name, const auto& value) {
    if (!in_version(version, name)) return;
    readable = expect_kind(group, name, expected_kind<std::decay_t<decltype(value)>>(), report) && readable;
  });
  if (!readable) return;
  std::string status;
  read_attribute(group, "status", status);
  if (!parse_status(status)) {
    readable = false;
    return report.add("status is \"" + status + "\", expected ok, not_converged, diverged, wrong, failed or skipped");
  }
  read_case_attributes(group, r, version);
  check_identity(r, report);
  check_verdict(r, report);
  if (!check_arrays(group, r, report)) return;
  read_case_arrays(group, r);
  check_times(r, report);
  check_iterations(r, report);
  if (version != "1.0") check_measurement(r, report);
}

void check_summary(hid_t file, const std::string& version, const std::vector<CaseResult>& cases, bool complete,
                   Problems& problems) {
  Report report(problems, "/summary");
  if (!link_exists(file, "summary")) return report.add("the table is missing");
  const auto shape = dataset_shape(open_dataset(file, "summary"));
  if (shape != std::vector<long>{static_cast<long>(cases.size())})
    return report.add("it has shape " + shape_text(shape) + ", there are " + std::to_string(cases.size()) + " cases");
  std::optional<Summary> summary;
  try {
    summary.emplace(file);
  } catch (const Hdf5Error& error) {
    return report.add(error.what());
  }
  const CaseResult prototypes;
  visit_attributes(prototypes, [&](const std::string& column, const auto& prototype) {
    if (!in_version(version, column)) return;
    constexpr bool is_text = expected_kind<std::decay_t<decltype(prototype)>>() == Kind::text;
    try {
      std::vector<std::conditional_t<is_text, std::string, double>> values;
      summary->column(column, values);
      for (std::size_t i = 0; complete && i < cases.size(); ++i)
        visit_attributes(cases[i], [&](const std::string& name, const auto& value) {
          if (name != column) return;
          bool same = false;
          if constexpr (std::is_same_v<std::decay_t<decltype(value)>, Status>) {
            if constexpr (is_text) same = values[i] == to_string(value);
          } else if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::string>) {
            if constexpr (is_text) same = values[i] == value;
          } else if constexpr (!is_text) {
            const auto expected = static_cast<double>(value);
            same = values[i] == expected || (std::isnan(values[i]) && std::isnan(expected));
          }
          report.expect(same, "row " + std::to_string(i) + ", " + column + " differs from the attribute of /cases/" +
                                  group_name(static_cast<long>(i)));
        });
    } catch (const Hdf5Error& error) {
      report.add(error.what());
    }
  });
}

/// Each speed-up is the ratio to a sequential case of this file: of the same problem, on as many ranks and threads.
void check_speedups(const std::vector<CaseResult>& cases, Problems& problems) {
  const auto where = [](const CaseResult& r) {
    return std::tie(r.system, r.state_dim, r.length, r.batch, r.precision, r.seed, r.ranks, r.time_ranks, r.threads);
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const CaseResult& r = cases[i];
    if (std::isnan(r.speedup_over_sequential)) continue;
    const bool based = std::any_of(cases.begin(), cases.end(), [&](const CaseResult& base) {
      return base.solver == "sequential" && base.status == Status::ok && where(base) == where(r) &&
             close_to(r.speedup_over_sequential * r.time_median_s, base.time_median_s);
    });
    if (!based)
      problems.push_back("/cases/" + group_name(static_cast<long>(i)) + ": speedup_over_sequential is " +
                         number(r.speedup_over_sequential) +
                         ", which is the ratio to no sequential case of this problem, ranks and threads");
  }
}

void check_cases(hid_t file, const std::string& version, Problems& problems) {
  Report report(problems, "/cases");
  if (!link_exists(file, "cases")) return report.add("the group is missing");
  const Group all = open_group(file, "cases");
  const auto names = child_names(all.id());
  std::vector<CaseResult> cases;
  std::set<std::string> seen;
  bool complete = true;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string where = "/cases/" + names[i];
    if (names[i] != group_name(static_cast<long>(i))) {
      report.add("group " + names[i] + " stands where " + group_name(static_cast<long>(i)) + " is expected");
      complete = false;
    }
    CaseResult result;
    bool readable = false;
    try {
      check_case(open_group(all.id(), names[i]).id(), version, where, result, readable, problems);
    } catch (const std::exception& error) {
      problems.push_back(where + ": " + error.what());
    }
    if (readable && !seen.insert(result.name).second)
      problems.push_back(where + ": the name " + result.name + " is used by another case");
    complete = complete && readable;
    cases.push_back(std::move(result));
  }
  check_summary(file, version, cases, complete, problems);
  if (problems.empty()) check_speedups(cases, problems);  // else times that are wrong would be told twice
}

}  // namespace

std::vector<std::string> check_results(const std::string& path) {
  Guarded done = in_child_reading(path, [&] { return check_results_here(path); });
  if (!done.broken_off.empty())
    done.lines.push_back("/: the file is damaged: HDF5 " + done.broken_off + " while it was read");
  return std::move(done.lines);
}

std::vector<std::string> check_results_here(const std::string& path) {
  std::error_code ignored;
  const Origin origin{path, "", 0};
  if (!std::filesystem::exists(path, ignored)) throw InputError(origin, "no such file");
  if (!std::filesystem::is_regular_file(path, ignored)) throw InputError(origin, "is not a regular file");
  if (access(path.c_str(), R_OK) != 0) throw InputError(origin, "no permission to read it");
  Problems problems;
  try {
    const File file = open_input(path, {});
    const std::string version = check_root(file.id(), problems);
    check_meta(file.id(), problems);
    check_roofs(file.id(), problems);
    check_cases(file.id(), version, problems);
  } catch (const std::exception& error) {
    problems.push_back(std::string("/: ") + error.what());
  }
  return problems;
}

}  // namespace elkhorn::record
