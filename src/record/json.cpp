#include "record/json.hpp"

#include <cmath>
#include <stdexcept>
#include <type_traits>

#include "record/schema.hpp"

namespace elkhorn::record {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
Json encode(const T& value) {
  if constexpr (std::is_same_v<T, Status>) {
    return to_string(value);
  } else if constexpr (std::is_same_v<T, double>) {
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
    return value;  // nlohmann writes the shortest digits that read back as the same double
  } else {
    return value;
  }
}

template <class T>
void decode(const Json& json, T& value) {
  if constexpr (std::is_same_v<T, Status>) {
    const auto status = parse_status(json.get<std::string>());
    if (!status) throw std::runtime_error("no such status: " + json.get<std::string>());
    value = *status;
  } else if constexpr (std::is_same_v<T, double>) {
    if (!json.is_string()) {
      value = json.get<double>();
      return;
    }
    const auto text = json.get<std::string>();
    if (text != "nan" && text != "inf" && text != "-inf") throw std::runtime_error("not a number: " + text);
    value = text == "nan" ? not_a_number : std::copysign(INFINITY, text == "inf" ? 1.0 : -1.0);
  } else {
    value = json.get<T>();
  }
}

}  // namespace

Json to_json(const CaseResult& result) {
  Json json;
  json["index"] = result.index;
  visit_attributes(result, [&](const char* name, const auto& value) { json[name] = encode(value); });
  if (result.history.batch > 0) {
    json["history_iterations"] = result.history.iterations;
    json["history_batch"] = result.history.batch;
  }
  visit_arrays(result, [&](const char* path, const auto& values, const std::vector<long>&) {
    Json array = Json::array();
    for (const auto& value : values) array.push_back(encode(value));
    json[path] = std::move(array);
  });
  return json;
}

CaseResult from_json(const Json& json) {
  CaseResult result;
  const auto read = [&](const char* name, auto& value) {
    if (!json.contains(name) && !in_version("1.0", name)) return;  // a journal of an earlier version
    try {
      decode(json.at(name), value);
    } catch (const std::exception& error) {
      throw std::runtime_error(std::string(name) + ": " + error.what());
    }
  };
  read("index", result.index);
  visit_attributes(result, read);
  if (json.contains("history_batch")) {
    read("history_iterations", result.history.iterations);
    read("history_batch", result.history.batch);
  }
  visit_arrays(result, [&](const char* path, auto& values, const std::vector<long>&) {
    try {
      for (const Json& element : json.at(path)) {
        values.emplace_back();
        decode(element, values.back());
      }
    } catch (const std::exception& error) {
      throw std::runtime_error(std::string(path) + ": " + error.what());
    }
  });
  return result;
}

}  // namespace elkhorn::record
