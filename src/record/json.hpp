/// One case as JSON: the journal's lines and `--json`.
#pragma once

#include <nlohmann/json.hpp>

#include "record/result.hpp"

namespace elkhorn::record {

/// Attributes and arrays (states excepted) such that from_json gives back the same bits: NaN and infinities
/// are the strings "nan", "inf", "-inf".
nlohmann::ordered_json to_json(const CaseResult& result);
/// The inverse; throws std::runtime_error naming the key that is missing or has the wrong type.
CaseResult from_json(const nlohmann::ordered_json& json);

}  // namespace elkhorn::record
