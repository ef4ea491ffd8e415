#include "systems/registry.hpp"

#include <stdexcept>

#include "systems/registration.hpp"

namespace elkhorn::systems {

namespace {

std::vector<Registration>& registrations() {
  static std::vector<Registration> all = {register_gru(),    register_lstm(),     register_rnn(),
                                          register_ar_gru(), register_lorenz96(), register_linear()};
  return all;
}

const Registration& find(const std::string& kind) {
  for (const Registration& r : registrations())
    if (r.info.kind == kind) return r;
  throw std::invalid_argument("no system is named '" + kind + "'");
}

}  // namespace

void add_system(const Registration& registration) { registrations().push_back(registration); }

const std::vector<SystemInfo>& infos() {
  static std::vector<SystemInfo> all;
  for (std::size_t i = all.size(); i < registrations().size(); ++i) all.push_back(registrations()[i].info);
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
