#include "report/table.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <tuple>
#include <type_traits>

#include "core/counted.hpp"
#include "record/schema.hpp"
#include "report/units.hpp"

namespace elkhorn::report {
namespace {

using record::CaseResult;
using record::Status;

constexpr std::size_t n_columns = 11;
using Row = std::array<std::string, n_columns>;
constexpr std::array<const char*, n_columns> titles = {
    "solver", "T", "D", "B", "status", "iter.", "time [95 % interval]", "× seq.", "of roof", "error", "memory"};
constexpr std::array<bool, n_columns> align_left = {true, false, false, false, true, false,
                                                    true, false, false, false, false};

auto problem_of(const CaseResult& r) {
  return std::tie(r.system, r.length, r.state_dim, r.batch, r.seed, r.precision, r.batch_ranks, r.time_ranks,
                  r.threads);
}

/// Blocks in the order in which their first cases ran.
std::vector<std::vector<const CaseResult*>> blocks_of(const std::vector<CaseResult>& results) {
  std::vector<std::vector<const CaseResult*>> blocks;
  for (const CaseResult& r : results) {
    const auto same = std::find_if(blocks.begin(), blocks.end(),
                                   [&](const auto& block) { return problem_of(*block.front()) == problem_of(r); });
    if (same == blocks.end())
      blocks.push_back({&r});
    else
      same->push_back(&r);
  }
  return blocks;
}

/// Names without what all of them begin with, up to a setting: where they differ they would be cut short.
std::vector<std::string> distinct_ends(const std::vector<const CaseResult*>& block) {
  std::size_t shared = block.front()->name.size();
  for (const CaseResult* r : block) {
    const auto end = std::mismatch(r->name.begin(), r->name.end(), block.front()->name.begin(),
                                   block.front()->name.begin() + static_cast<std::ptrdiff_t>(shared));
    shared = static_cast<std::size_t>(end.first - r->name.begin());
  }
  const std::string& name = block.front()->name;
  const auto in_a_number = [&](std::size_t dash) {  // 1e-5
    return dash >= 2 && dash != std::string::npos && name[dash - 1] == 'e' && name[dash - 2] >= '0' &&
           name[dash - 2] <= '9';
  };
  std::size_t dash = shared == 0 ? std::string::npos : name.rfind('-', shared - 1);
  while (in_a_number(dash)) dash = name.rfind('-', dash - 1);
  std::vector<std::string> ends;
  ends.reserve(block.size());
  for (const CaseResult* r : block) ends.push_back(dash == std::string::npos ? r->name : r->name.substr(dash + 1));
  return ends;
}

/// Labels of a block's rows: the solver and its σ², with as many more settings as it takes to tell rows apart.
std::vector<std::string> labels_of(const std::vector<const CaseResult*>& block) {
  std::vector<std::string> labels;
  labels.reserve(block.size());
  for (const CaseResult* r : block)
    labels.push_back(r->solver + (r->sigma2_adaptive         ? " σ² adaptive"
                                  : std::isfinite(r->sigma2) ? " σ²=" + parameter_text(r->sigma2)
                                                             : ""));
  const auto add_where_ambiguous = [&](auto&& text_of) {
    std::map<std::string, std::set<std::string>> texts;
    for (std::size_t i = 0; i < block.size(); ++i) texts[labels[i]].insert(text_of(*block[i]));
    const std::vector<std::string> before = labels;
    for (std::size_t i = 0; i < block.size(); ++i)
      if (texts[before[i]].size() > 1) labels[i] += " " + text_of(*block[i]);
  };
  add_where_ambiguous([](const CaseResult& r) { return "window=" + r.window; });
  add_where_ambiguous([](const CaseResult& r) { return r.scan; });
  add_where_ambiguous([](const CaseResult& r) { return r.pass; });
  const std::set<std::string> distinct(labels.begin(), labels.end());
  return distinct.size() < labels.size() ? distinct_ends(block) : labels;
}

std::string whole(long value) { return value < 0 ? none : std::to_string(value); }

/// "37 % flop", "8.1 % bw" (bandwidth).
std::string roof_text(const CaseResult& r) {
  if (r.roof_bound.empty()) return none;
  return share_text(r.roof_share) + (r.roof_bound == "bandwidth" ? " bw" : " flop");
}

Row row_of(const CaseResult& r, const std::string& label) {
  const bool sequential = r.solver == "sequential";
  return {label,
          whole(r.length),
          whole(r.state_dim),
          whole(r.batch),
          to_string(r.status),
          sequential ? none : whole(r.iterations),
          time_interval_text(r.time_median_s, r.time_ci_low_s, r.time_ci_high_s),
          ratio_text(r.speedup_over_sequential),
          roof_text(r),
          error_text(r.error_max),
          memory_text(r.peak_memory_bytes)};
}

std::string heading(const std::vector<const CaseResult*>& block) {
  const CaseResult& first = *block.front();
  std::string text = first.system + ", " + first.precision + ", seed " + std::to_string(first.seed) + ", " +
                     counted(first.ranks, "rank") + " × " + counted(first.threads, "thread");
  std::vector<const CaseResult*> sequential;
  for (const CaseResult* r : block)
    if (r->solver == "sequential" && std::isfinite(r->time_median_s)) sequential.push_back(r);
  if (sequential.empty()) return text + "; no sequential time, so no speed-ups";
  if (sequential.size() > 1) return text + "; several sequential times, see their rows";
  return text + "; sequential " +
         time_interval_text(sequential[0]->time_median_s, sequential[0]->time_ci_low_s, sequential[0]->time_ci_high_s);
}

std::string line_of(const Row& row, const std::array<std::size_t, n_columns>& widths, std::size_t gap) {
  std::string line;
  for (std::size_t c = 0; c < n_columns; ++c) {
    const std::string cell = shorten(row[c], widths[c]);
    line +=
        std::string(c == 0 ? 1 : gap, ' ') + (align_left[c] ? pad_right(cell, widths[c]) : pad_left(cell, widths[c]));
  }
  return line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
}

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

std::string table(const std::vector<CaseResult>& results, std::size_t columns) {
  if (results.empty()) return "no cases\n";
  const auto blocks = blocks_of(results);
  std::array<std::size_t, n_columns> widths{};
  Row title_row;
  for (std::size_t c = 0; c < n_columns; ++c) {
    title_row[c] = titles[c];
    widths[c] = width(title_row[c]);
  }
  std::vector<std::vector<Row>> rows;
  for (const auto& block : blocks) {
    const auto labels = labels_of(block);
    rows.emplace_back();
    for (std::size_t i = 0; i < block.size(); ++i) {
      rows.back().push_back(row_of(*block[i], labels[i]));
      for (std::size_t c = 0; c < n_columns; ++c) widths[c] = std::max(widths[c], width(rows.back().back()[c]));
    }
  }
  // Where it is tight columns move together, then labels are cut; numbers never are.
  const std::size_t total = std::accumulate(widths.begin(), widths.end(), std::size_t{1});
  const std::size_t gap = total + 2 * (n_columns - 1) <= columns ? 2 : 1;
  const std::size_t line_width = total + gap * (n_columns - 1);
  if (line_width > columns)
    widths[0] = std::max<std::size_t>(12, widths[0] - std::min(widths[0], line_width - columns));

  std::string out = line_of(title_row, widths, gap);
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    out += heading(blocks[b]) + "\n";
    for (const Row& row : rows[b]) out += line_of(row, widths, gap);
  }
  std::string messages;
  for (const CaseResult& r : results) {
    const bool tell = r.status == Status::failed || r.status == Status::skipped || r.status == Status::wrong;
    if (tell || (r.status == Status::diverged && !r.message.empty()))
      messages += std::string("  ") + to_string(r.status) + " " + r.name + ": " +
                  (r.message.empty() ? "no message" : one_line(r.message)) + "\n";
    if (r.bimodal)
      messages += "  bimodal " + r.name + ": its times gather about two values, the median may be neither\n";
  }
  if (!messages.empty()) out += "\n" + messages;
  return out + "\n" + verdict(results) + "\n" + totals(results) + "\n";
}

std::string verdict(const std::vector<CaseResult>& results) {
  std::vector<std::pair<std::string, long>> reasons;  // in the order of their first mention
  long official = 0;
  for (const CaseResult& r : results) {
    if (r.official) ++official;
    std::string rest = r.unofficial_because;
    while (!rest.empty()) {
      const std::size_t end = rest.find("; ");
      const std::string reason = one_line(rest.substr(0, end));
      rest = end == std::string::npos ? "" : rest.substr(end + 2);
      const auto known =
          std::find_if(reasons.begin(), reasons.end(), [&](const auto& other) { return other.first == reason; });
      if (known == reasons.end())
        reasons.emplace_back(reason, 1);
      else
        ++known->second;
    }
  }
  const long all = static_cast<long>(results.size());
  if (all == 0) return "";
  if (official == all) return std::string("official: ") + (all == 1 ? "" : "all ") + counted(all, "case") + "\n";
  std::string out = official > 0 ? "official: " + std::to_string(official) + " of " + counted(all, "case") + "; " : "";
  out += "unofficial: " + counted(static_cast<long>(reasons.size()), "reason") + "\n";
  std::size_t widest = 0;
  for (const auto& reason : reasons) widest = std::max(widest, counted(reason.second, "case").size());
  for (const auto& [reason, n] : reasons) out += "  " + pad_left(counted(n, "case"), widest) + ": " + reason + "\n";
  return out;
}

std::string totals(const std::vector<CaseResult>& results) {
  std::string parts;
  for (const Status status :
       {Status::ok, Status::not_converged, Status::diverged, Status::wrong, Status::failed, Status::skipped}) {
    const auto n = std::count_if(results.begin(), results.end(), [&](const auto& r) { return r.status == status; });
    if (n > 0) parts += (parts.empty() ? "" : ", ") + std::to_string(n) + " " + to_string(status);
  }
  return counted(static_cast<long>(results.size()), "case") + (parts.empty() ? "" : ": " + parts);
}

std::string json_line(const CaseResult& result) {
  nlohmann::ordered_json json;
  record::visit_attributes(result, [&](const char* name, const auto& value) {
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, Status>)
      json[name] = to_string(value);
    else
      json[name] = value;  // NaN and infinities become null
  });
  json["time_s"] = result.time_s;
  json["batch_iterations"] = result.batch_iterations;
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace elkhorn::report
