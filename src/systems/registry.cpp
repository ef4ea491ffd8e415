#include "systems/registry.hpp"

#include <stdexcept>

#include "systems/registration.hpp"

namespace elkhorn::systems {

namespace {

const std::vector<Registration>& registrations() {
  static const std::vector<Registration> all = {register_gru(), register_ar_gru(), register_lorenz96(), register_linear()};
  return all;
}

const Registration& find(const std::string& kind) {
  for (const Registration& r : registrations())
    if (r.info.kind == kind) return r;
  throw std::invalid_argument("no system is named '" + kind + "'");
}

}  // namespace

const std::vector<SystemInfo>& infos() {
  static const std::vector<SystemInfo> all = [] {
    std::vector<SystemInfo> list;
    for (const Registration& r : registrations()) list.push_back(r.info);
    return list;
  }();
  return all;
}

const SystemInfo* find_info(const std::string& kind) {
  for (const SystemInfo& info : infos())
    if (info.kind == kind) return &info;
  return nullptr;
}

Shape inspect(const deck::Case& c) { return find(c.system).inspect(c); }

template <>
Instance<float> make_instance<float>(const deck::Case& c, parallel::Range batch) {
  return find(c.system).make_float(c, batch);
}
template <>
Instance<double> make_instance<double>(const deck::Case& c, parallel::Range batch) {
  return find(c.system).make_double(c, batch);
}

}  // namespace elkhorn::systems
