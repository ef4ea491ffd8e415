#include "deck/fields.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "deck/text.hpp"
#include "systems/files.hpp"

namespace elkhorn::deck {
namespace {

namespace fs = std::filesystem;
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr long count_limit = 1000000000000;  // 1e12: above it, products of two sizes leave 64 bits

std::string label_safe(std::string text) {
  for (char& c : text)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '=' && c != '+' && c != '-')
      c = '_';
  return text;
}

// ---- reading one scalar -------------------------------------------------------------------------------

long whole_number(const toml::node& node, const Origin& where, long minimum, long maximum = count_limit,
                  const std::string& or_else = "") {
  if (const auto* integer = node.as_integer(); integer && integer->get() >= minimum && integer->get() <= maximum)
    return static_cast<long>(integer->get());
  std::string wanted = fmt::format("must be a whole number of at least {}", minimum);
  if (const auto* integer = node.as_integer(); integer && integer->get() > maximum)
    wanted = fmt::format("must be a whole number of at most {}", maximum);
  // A float that is whole is refused as 2.5 is: where it came from a computation, rounding would hide in it.
  if (const auto* real = node.as_floating_point(); real && std::floor(real->get()) == real->get() &&
                                                   real->get() >= static_cast<double>(minimum) && real->get() < 1e15)
    fail(where, wanted + or_else +
                    fmt::format(", not the float {}; write {}", describe(node), static_cast<long>(real->get())));
  fail(where, wanted + or_else + ", not " + describe(node));
}

double real_number(const toml::node& node, const Origin& where, double minimum, bool minimum_allowed,
                   double maximum = infinity, const std::string& or_else = "") {
  double value = std::numeric_limits<double>::quiet_NaN();
  if (const auto* integer = node.as_integer()) value = static_cast<double>(integer->get());
  if (const auto* real = node.as_floating_point()) value = real->get();
  if (std::isfinite(value) && (minimum_allowed ? value >= minimum : value > minimum) && value <= maximum) return value;
  std::string wanted = "must be a finite number";
  if (std::isfinite(minimum)) wanted += (minimum_allowed ? " of at least " : " greater than ") + number_text(minimum);
  if (std::isfinite(maximum))
    wanted += (std::isfinite(minimum) ? " and at most " : " of at most ") + number_text(maximum);
  fail(where, wanted + or_else + ", not " + describe(node));
}

std::string word(const toml::node& node, const Origin& where, const std::vector<std::string>& words) {
  const auto* text = node.as_string();
  if (text && std::find(words.begin(), words.end(), text->get()) != words.end()) return text->get();
  fail(where,
       "must be " + alternatives(words) + ", not " + describe(node) + (text ? did_you_mean(text->get(), words) : ""));
}

/// A word, or the reference of an array (systems/files.hpp) whose file exists: first beside the deck, then from the
/// current directory.
std::string data_source(const toml::node& node, const Origin& where, const std::string& deck_file,
                        const std::vector<std::string>& words, const std::string& dataset) {
  const auto* text = node.as_string();
  if (!text) fail(where, "must be " + alternatives(words) + " or \"file.h5:/" + dataset + "\", not " + describe(node));
  if (std::find(words.begin(), words.end(), text->get()) != words.end()) return text->get();
  const std::string name = data_file(text->get());
  if (name.empty())
    fail(where, "must be " + alternatives(words) + " or \"file.h5:/" + dataset +
                    "\" (a file, a colon and a path in it), a .npy or a .safetensors file, not " + describe(node) +
                    did_you_mean(text->get(), words));
  const fs::path folder = fs::path(deck_file).parent_path();
  const fs::path beside_deck = (folder / name).lexically_normal();
  std::error_code ignored;
  const fs::path path = fs::exists(beside_deck, ignored) ? beside_deck : fs::path(name).lexically_normal();
  if (!fs::exists(path, ignored))
    fail(where, "the file " + in_quotes(name) + " does not exist" +
                    (fs::path(name).is_absolute()
                         ? "; check its path"
                         : "; it was looked for in " + (folder.empty() ? "" : in_quotes(folder.string()) + " and ") +
                               "the current directory"));
  if (fs::is_directory(path, ignored)) fail(where, in_quotes(path.string()) + " is a directory; name a file in it");
  if (!std::ifstream(path))
    fail(where, "the file " + in_quotes(path.string()) + " cannot be read; check its permissions");
  return path.string() + text->get().substr(name.size());
}

// ---- making fields ------------------------------------------------------------------------------------
// `get` is a generic lambda that picks the member: [](auto& c) -> auto& { return c.batch; }

template <class Get>
Field count_field(const std::string& section, const std::string& key, Get get, long minimum, const std::string& prefix,
                  InName in_name, long maximum = count_limit) {
  return {section,
          key,
          [get, minimum, maximum](Case& c, const toml::node& node, const Origin& where) {
            using Member = std::decay_t<decltype(get(c))>;
            get(c) = static_cast<Member>(whole_number(node, where, minimum, maximum));
          },
          [get](const Case& c) { return std::to_string(get(c)); },
          [get, prefix](const Case& c) { return prefix + std::to_string(get(c)); },
          in_name};
}

/// A size that is 0, and not written, where a data file fixes it.
template <class Get>
Field size_field(const std::string& section, const std::string& key, Get get, const std::string& prefix) {
  Field field = count_field(section, key, get, 1, prefix, InName::always);
  field.literal = [get](const Case& c) { return get(c) == 0 ? "" : std::to_string(get(c)); };
  field.label = [get, prefix](const Case& c) { return get(c) == 0 ? "" : prefix + std::to_string(get(c)); };
  return field;
}

template <class Get>
Field real_field(const std::string& section, const std::string& key, Get get, bool zero_allowed,
                 const std::string& prefix, InName in_name) {
  return {section,
          key,
          [get, zero_allowed](Case& c, const toml::node& node, const Origin& where) {
            get(c) = real_number(node, where, 0, zero_allowed);
          },
          [get](const Case& c) { return number_text(get(c)); },
          [get, prefix](const Case& c) { return prefix + number_text(get(c)); },
          in_name};
}

template <class Get>
Field source_field(const std::string& section, const std::string& key, Get get, const std::vector<std::string>& words,
                   const std::string& dataset, InName in_name) {
  return {section,
          key,
          [get, words, dataset](Case& c, const toml::node& node, const Origin& where) {
            get(c) = data_source(node, where, c.deck_file, words, dataset);
          },
          [get](const Case& c) { return in_quotes(get(c)); },
          [get, key](const Case& c) {
            const std::string file = data_file(get(c));
            const std::string inside = systems::parse_reference(get(c)).path;
            return label_safe(key + "=" +
                              (file.empty() ? get(c) : fs::path(file).stem().string() + (inside == "/" ? "" : inside)));
          },
          in_name};
}

/// One of a few words, each standing for a value of an enumeration.
template <class Get, class Value>
Field word_field(const std::string& section, const std::string& key, Get get,
                 const std::vector<std::pair<std::string, Value>>& values, const std::vector<std::string>& labels,
                 InName in_name) {
  const auto index = [get, values](const Case& c) {
    for (size_t i = 0; i < values.size(); ++i)
      if (values[i].second == get(c)) return i;
    return size_t{0};
  };
  return {section,
          key,
          [get, values](Case& c, const toml::node& node, const Origin& where) {
            std::vector<std::string> words;
            words.reserve(values.size());
            for (const auto& value : values) words.push_back(value.first);
            const std::string chosen = word(node, where, words);
            for (const auto& value : values)
              if (value.first == chosen) get(c) = value.second;
          },
          [index, values](const Case& c) { return in_quotes(values[index(c)].first); },
          [index, labels](const Case& c) { return labels[index(c)]; },
          in_name};
}

template <class Get>
Field flag_field(const std::string& section, const std::string& key, Get get, InName in_name = InName::when_needed) {
  return {section,
          key,
          [get](Case& c, const toml::node& node, const Origin& where) {
            const auto* flag = node.as_boolean();
            if (!flag) fail(where, "must be true or false, not " + describe(node));
            get(c) = flag->get();
          },
          [get](const Case& c) { return std::string(get(c) ? "true" : "false"); },
          [get, key](const Case& c) { return (get(c) ? "" : "no-") + key; },
          in_name};
}

/// A name from one of the registries.
template <class Get>
Field kind_field(const std::string& section, const std::string& what, Get get, const std::vector<std::string>& known) {
  return {section,
          "kind",
          [get, what, known](Case& c, const toml::node& node, const Origin& where) {
            const auto* text = node.as_string();
            if (!text) fail(where, "must name a " + what + ", " + alternatives(known) + ", not " + describe(node));
            if (std::find(known.begin(), known.end(), text->get()) == known.end())
              fail(where, "there is no " + what + " " + describe(node) + did_you_mean(text->get(), known) +
                              "; choose " + alternatives(known));
            get(c) = text->get();
          },
          [get](const Case& c) { return in_quotes(get(c)); },
          [get](const Case& c) { return get(c); },
          InName::always};
}

// ---- keys with a form of their own --------------------------------------------------------------------

Field sigma2_field() {
  return {
      "solver",
      "sigma2",
      [](Case& c, const toml::node& node, const Origin& where) {
        const auto* text = node.as_string();
        c.solver.sigma2_adaptive = text && text->get() == "adaptive";
        c.solver.sigma2.reset();
        if (!c.solver.sigma2_adaptive)
          c.solver.sigma2 = real_number(node, where, 0, false, infinity, " or \"adaptive\"");
      },
      [](const Case& c) {
        return c.solver.sigma2_adaptive ? "\"adaptive\"" : c.solver.sigma2 ? number_text(*c.solver.sigma2) : "";
      },
      [](const Case& c) {
        return c.solver.sigma2_adaptive ? "s2=adaptive" : c.solver.sigma2 ? "s2=" + number_text(*c.solver.sigma2) : "";
      },
      InName::always};
}

Field max_iterations_field() {
  const auto text_of = [](const Case& c) {
    return c.solver.max_iterations == 0 ? std::string("auto") : std::to_string(c.solver.max_iterations);
  };
  return {"solver",
          "max_iterations",
          [](Case& c, const toml::node& node, const Origin& where) {
            const auto* text = node.as_string();
            const bool automatic = text && text->get() == "auto";
            c.solver.max_iterations = automatic ? 0 : whole_number(node, where, 1, count_limit, " or \"auto\"");
          },
          [text_of](const Case& c) { return c.solver.max_iterations == 0 ? in_quotes("auto") : text_of(c); },
          [text_of](const Case& c) { return "it=" + text_of(c); },
          InName::when_needed};
}

/// Case::solver.window is "full", "auto" or the number of steps as text.
Field window_field() {
  return {"solver",
          "window",
          [](Case& c, const toml::node& node, const Origin& where) {
            const auto* text = node.as_string();
            if (text && (text->get() == "full" || text->get() == "auto"))
              c.solver.window = text->get();
            else
              c.solver.window = std::to_string(whole_number(node, where, 1, count_limit, ", \"full\" or \"auto\""));
          },
          [](const Case& c) { return std::isdigit(c.solver.window[0]) ? c.solver.window : in_quotes(c.solver.window); },
          [](const Case& c) { return "window=" + c.solver.window; },
          InName::unless_default};
}

/// Case::solver.step_bound is "none", a multiple κ as text, or "absolute:3".
Field step_bound_field() {
  static const std::string absolute = "absolute";
  return {"solver",
          "step_bound",
          [](Case& c, const toml::node& node, const Origin& where) {
            const auto* text = node.as_string();
            const auto* table = node.as_table();
            const auto* bound = table && table->size() == 1 ? table->get(absolute) : nullptr;
            if (text && text->get() == "none")
              c.solver.step_bound = "none";
            else if (bound)
              c.solver.step_bound = absolute + ":" + number_text(real_number(*bound, where, 0, false));
            else
              c.solver.step_bound = number_text(
                  real_number(node, where, 0, false, infinity, ", \"none\" or { absolute = a number greater than 0 }"));
          },
          [](const Case& c) {
            const std::string& bound = c.solver.step_bound;
            if (bound == "none") return in_quotes(bound);
            if (bound.rfind(absolute, 0) == 0) return "{ absolute = " + bound.substr(absolute.size() + 1) + " }";
            return bound;
          },
          [](const Case& c) { return label_safe("bound=" + c.solver.step_bound); },
          InName::unless_default};
}

Field scan_field() {
  return {"solver",
          "scan",
          [](Case& c, const toml::node& node, const Origin& where) {
            const std::string chunked = "chunked:";
            std::vector<std::string> words;
            for (const solvers::ScanName& scan : solvers::scan_names()) words.push_back(scan.name);
            const auto* text = node.as_string();
            if (text && text->get().rfind(chunked, 0) == 0) {
              const std::string digits = text->get().substr(chunked.size());
              const bool number = !digits.empty() && digits.size() < 10 && digits[0] != '0' &&
                                  digits.find_first_not_of("0123456789") == std::string::npos;
              if (!number)
                fail(where, "must be " + in_quotes("chunked:N") + " with N chunks, a whole number of at least 1, not " +
                                describe(node));
              c.solver.scan = text->get();
            } else {
              words.push_back("chunked:N");
              c.solver.scan = word(node, where, words);
              if (c.solver.scan == "chunked:N") fail(where, "write a number for N, as in \"chunked:16\"");
            }
          },
          [](const Case& c) { return in_quotes(c.solver.scan); },
          [](const Case& c) {
            std::string label = c.solver.scan;
            label.erase(std::remove(label.begin(), label.end(), ':'), label.end());
            return label;
          },
          InName::unless_default};
}

/// k of the scaled variants: the Jacobians times 1 − k.
Field damping_factor_field() {
  return {"solver",
          "damping_factor",
          [](Case& c, const toml::node& node, const Origin& where) {
            c.solver.damping_factor = real_number(node, where, 0, true, 1);
          },
          [](const Case& c) { return number_text(c.solver.damping_factor); },
          [](const Case& c) { return "k=" + number_text(c.solver.damping_factor); },
          InName::unless_default};
}

Field option_field(const systems::Option& option) {
  const auto text = [option](const Case& c) {
    const auto found = c.system_options.find(option.name);
    const double value = found != c.system_options.end() ? found->second : option.default_value;
    return option.integer ? std::to_string(static_cast<long>(value)) : number_text(value);
  };
  return {"system",
          option.name,
          [option](Case& c, const toml::node& node, const Origin& where) {
            // Checked as a number first: a system's bounds need not be whole or finite.
            const double number = real_number(node, where, option.minimum, true, option.maximum);
            if (option.integer && !node.is_integer())
              fail(where, "must be a whole number, not the float " + describe(node) + " (" + option.doc + ")");
            c.system_options[option.name] = number;
          },
          [text](const Case& c) { return text(c); },
          [option, text](const Case& c) { return label_safe(option.name + "=" + text(c)); },
          InName::unless_default};
}

template <class Registry>
std::vector<std::string> names_of(const Registry& registry) {
  std::vector<std::string> names;
  for (const auto& entry : registry) {
    if constexpr (std::is_same_v<std::decay_t<decltype(entry)>, systems::SystemInfo>)
      names.push_back(entry.kind);
    else
      names.push_back(entry.name);
  }
  return names;
}

}  // namespace

const std::vector<Field>& common_fields() {
  static const std::vector<Field> all = {
      kind_field(
          "system", "system", [](auto& c) -> auto& { return c.system; }, names_of(systems::infos())),
      size_field(
          "system", "state_dim", [](auto& c) -> auto& { return c.state_dim; }, "D"),
      source_field(
          "system", "weights", [](auto& c) -> auto& { return c.weights; }, {"random"}, "group", InName::when_needed),
      size_field(
          "problem", "length", [](auto& c) -> auto& { return c.length; }, "T"),
      count_field(
          "problem", "batch", [](auto& c) -> auto& { return c.batch; }, 1, "B", InName::always),
      count_field(
          "problem", "seed", [](auto& c) -> auto& { return c.seed; }, 0, "seed", InName::unless_default,
          std::numeric_limits<long>::max()),
      source_field(
          "problem", "drivers", [](auto& c) -> auto& { return c.drivers; }, {"random"}, "dataset", InName::when_needed),
      source_field(
          "problem", "initial_state", [](auto& c) -> auto& { return c.initial_state; }, {"zero", "random"}, "dataset",
          InName::when_needed),
      word_field<>(
          "measure", "precision", [](auto& c) -> auto& { return c.precision; },
          std::vector<std::pair<std::string, Precision>>{{"float32", Precision::float32},
                                                         {"float64", Precision::float64}},
          {"f32", "f64"}, InName::always),
      count_field(
          "parallel", "time_ranks", [](auto& c) -> auto& { return c.time_ranks; }, 1,
          "time_ranks=", InName::unless_default),
      count_field(
          "measure", "warmup", [](auto& c) -> auto& { return c.measure.warmup; }, 0, "warmup=", InName::when_needed),
      count_field(
          "measure", "repetitions.min", [](auto& c) -> auto& { return c.measure.min_repetitions; }, 1,
          "min=", InName::when_needed),
      count_field(
          "measure", "repetitions.max", [](auto& c) -> auto& { return c.measure.max_repetitions; }, 1,
          "max=", InName::when_needed),
      real_field(
          "measure", "ci_width", [](auto& c) -> auto& { return c.measure.ci_width; }, false,
          "ci=", InName::when_needed),
      real_field(
          "measure", "time_limit_s", [](auto& c) -> auto& { return c.measure.time_limit_s; }, false,
          "limit=", InName::when_needed),
      flag_field(
          "output", "history", [](auto& c) -> auto& { return c.history; }),
      flag_field(
          "output", "states", [](auto& c) -> auto& { return c.states; }),
      kind_field(
          "solver", "solver", [](auto& c) -> auto& { return c.solver.kind; }, names_of(solvers::kinds())),
      sigma2_field(),
      max_iterations_field(),
      real_field(
          "solver", "tolerance", [](auto& c) -> auto& { return c.solver.tolerance; }, true,
          "tol=", InName::when_needed),
      word_field<>(
          "solver", "stop", [](auto& c) -> auto& { return c.solver.stop; },
          std::vector<std::pair<std::string, Stop>>{
              {"residual", Stop::residual}, {"update", Stop::update}, {"iterations", Stop::iterations}},
          {"stop=residual", "stop=update", "stop=iterations"}, InName::unless_default),
      window_field(),
      step_bound_field(),
      scan_field(),
      word_field<>(
          "solver", "pass", [](auto& c) -> auto& { return c.solver.pass; },
          std::vector<std::pair<std::string, Pass>>{
              {"auto", Pass::automatic}, {"fused", Pass::fused}, {"separate", Pass::separate}},
          {"pass=auto", "pass=fused", "pass=separate"}, InName::unless_default),
      source_field(
          "solver", "guess", [](auto& c) -> auto& { return c.solver.guess; }, {"zero", "initial_state", "previous"},
          "dataset", InName::unless_default),
      word_field<>(
          "solver", "guard", [](auto& c) -> auto& { return c.solver.guard; },
          std::vector<std::pair<std::string, Guard>>{
              {"guess", Guard::guess}, {"zero", Guard::zero}, {"none", Guard::none}},
          {"guard=guess", "guard=zero", "guard=none"}, InName::unless_default),
      word_field<>(
          "solver", "damping", [](auto& c) -> auto& { return c.solver.smoother; },
          std::vector<std::pair<std::string, bool>>{{"filter", false}, {"smoother", true}}, {"filter", "smoother"},
          InName::unless_default),
      damping_factor_field(),
      flag_field(
          "solver", "clip_jacobians", [](auto& c) -> auto& { return c.solver.clip_jacobians; }, InName::unless_default),
  };
  return all;
}

std::vector<Field> fields_of(const systems::SystemInfo& system) {
  std::vector<Field> all;
  bool inserted = false;
  for (const Field& field : common_fields()) {
    if (!inserted && field.section != "system") {
      for (const systems::Option& option : system.options) all.push_back(option_field(option));
      inserted = true;
    }
    all.push_back(field);
  }
  return all;
}

const Field* find_common_field(const std::string& path) {
  for (const Field& field : common_fields())
    if (field.path() == path) return &field;
  return nullptr;
}

bool is_any_systems_option(const std::string& key) {
  for (const systems::SystemInfo& system : systems::infos())
    for (const systems::Option& option : system.options)
      if (option.name == key) return true;
  return false;
}

bool applies(const Field& field, const solvers::SolverKind& solver) {
  if (field.key == "kind") return true;
  if (field.key == "sigma2" || field.key == "damping") return solver.damping == solvers::Damping::trust_region;
  using solvers::Linearization;
  if (field.key == "damping_factor") return solver.linearization != Linearization::zero;
  if (field.key == "clip_jacobians")
    return solver.linearization == Linearization::diagonal || solver.linearization == Linearization::dense;
  return solver.iterative;
}

std::string data_file(const std::string& source) { return systems::parse_reference(source).file; }

std::string describe(const toml::node& node) {
  if (const auto* text = node.as_string()) {
    const std::string& value = text->get();
    return '"' + (value.size() > 60 ? value.substr(0, 57) + "..." : value) + '"';
  }
  if (const auto* integer = node.as_integer()) return std::to_string(integer->get());
  if (const auto* real = node.as_floating_point()) {
    const std::string number = number_text(real->get());
    return number.find_first_not_of("-0123456789") == std::string::npos ? number + ".0"
                                                                        : number;  // else 2.0 reads as 2
  }
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  if (node.is_table()) return "a table";
  if (node.is_array()) return "a list";
  return "a date or time";
}

}  // namespace elkhorn::deck
