#include <fmt/format.h>

#include <map>

#include "app/case_runner.hpp"
#include "app/commands.hpp"
#include "record/hdf5.hpp"
#include "systems/files.hpp"
#include "systems/system.hpp"

namespace elkhorn::app {

namespace {

/// The file of `guess` must hold states of the case's shape, (T, B, D) or (T, D), all finite.
void check_guess(const deck::Case& c) {
  if (!systems::names_file(c.solver.guess)) return;
  const Origin origin = c.origin("solver.guess");
  const systems::ArrayFile a(c.solver.guess, origin, {2, 3});
  const std::vector<long> each{c.length, c.batch, c.state_dim}, one{c.length, c.state_dim};
  if (a.shape() != each && a.shape() != one)
    throw InputError(
        origin, fmt::format("{} has shape {}, this case needs {} or {}", c.solver.guess, record::shape_text(a.shape()),
                            record::shape_text(each), record::shape_text(one)));
  a.in_pieces(0, c.length, [](long, const record::Array&) {});  // every number is checked
}

}  // namespace

CheckedPlan load_checked_plan(const std::vector<std::string>& decks, const deck::Overrides& overrides, int ranks) {
  CheckedPlan plan{deck::load_plan(decks, overrides), {}};
  deck::check_ranks(plan.cases, ranks);
  std::map<std::string, systems::Shape> shapes;  // files are read once a problem
  for (deck::Case& c : plan.cases) {
    const std::string key = problem_key(c);
    auto found = shapes.find(key);
    if (found == shapes.end()) found = shapes.emplace(key, systems::inspect(c)).first;
    c.state_dim = found->second.state_dim;
    c.length = found->second.length;
    plan.shapes.push_back(found->second);
    check_guess(c);
  }
  return plan;
}

int guarded(const parallel::Comm& comm, const std::function<void()>& section) {
  const std::exception_ptr error = parallel::caught(section);
  const std::optional<std::string> agreed = comm.agree(error);
  if (!agreed) return success;
  bool input = false;
  std::string message = *agreed;
  if (error) {
    try {
      std::rethrow_exception(error);
    } catch (const InputError& e) {
      input = true;
      message = e.what();  // the same on all ranks, so without a rank's name
    } catch (...) {
    }
  }
  if (comm.is_root()) fmt::print(stderr, "elkhorn: {}\n", message);
  return comm.max(long(input)) != 0 ? bad_input : some_case_failed;
}

}  // namespace elkhorn::app
