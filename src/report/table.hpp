/// Results for people (a table) and for programs (a JSON object a case).
#pragma once

#include <string>
#include <vector>

#include "record/result.hpp"

namespace elkhorn::report {

/// The final table, at most `columns` wide where names allow: one block a problem (system, T, D, B, seed,
/// precision, ranks) under a line that names the sequential time the ratios refer to, then messages of cases
/// that failed, then the verdict, then one line of totals. Ends with a newline.
std::string table(const std::vector<record::CaseResult>& results, std::size_t columns = 110);

/// Which results are official and, once each, why others are not: "unofficial: 2 reasons", then "  12 cases: …" lines.
/// Ends with a newline; empty where there are no cases.
std::string verdict(const std::vector<record::CaseResult>& results);

/// "12 cases: 9 ok, 2 not_converged, 1 failed".
std::string totals(const std::vector<record::CaseResult>& results);

/// One JSON object on one line without newline: the attributes of the case (null where not measured), time_s
/// and batch_iterations.
std::string json_line(const record::CaseResult& result);

}  // namespace elkhorn::report
