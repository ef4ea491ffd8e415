#include "record/recorder.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "record/guard.hpp"
#include "record/hdf5_io.hpp"
#include "record/json.hpp"
#include "record/schema.hpp"

namespace elkhorn::record {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* journal_format = "elkhorn-journal";
constexpr const char* journal_version = "1.0";

/// Text with invalid UTF-8 (a system's error message, say) must not lose a result: it is replaced.
std::string one_line(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// One sentence on the first thing that differs between the plan of a file and the present one.
std::string difference(const Plan& then, const Plan& now) {
  const auto old_lines = lines_of(then.deck_text), new_lines = lines_of(now.deck_text);
  for (std::size_t i = 0; i < std::max(old_lines.size(), new_lines.size()); ++i) {
    const std::string was = i < old_lines.size() ? old_lines[i] : "(end of the deck)";
    const std::string is = i < new_lines.size() ? new_lines[i] : "(end of the deck)";
    if (was != is) return fmt::format("the resolved deck had \"{}\" and now has \"{}\"", was, is);
  }
  for (const auto& name : now.case_names)
    if (std::find(then.case_names.begin(), then.case_names.end(), name) == then.case_names.end())
      return "it has no case " + name;
  for (const auto& name : then.case_names)
    if (std::find(now.case_names.begin(), now.case_names.end(), name) == now.case_names.end())
      return "its case " + name + " is not in this plan";
  return then.case_names == now.case_names ? "" : "its cases are in another order";
}

void require_same_plan(const Plan& then, const Plan& now, const std::string& file, const Origin& origin) {
  const std::string what = difference(then, now);
  if (!what.empty())
    throw InputError(origin, "cannot resume " + file + ", it belongs to another plan: " + what +
                                 " (use another --out, or leave out --resume to start over)");
}

std::string system_reason() { return std::strerror(errno); }

/// A link is followed, so that the rename replaces the file and not the link.
std::string target_of(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_symlink(path, ignored)) return path;
  const auto target = fs::weakly_canonical(path, ignored);
  return ignored ? path : target.string();
}

}  // namespace

std::string fingerprint(const Plan& plan) {
  std::uint64_t hash = 14695981039346656037ULL;
  const auto add = [&](const std::string& text) {
    for (const char c : text + '\0') hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  };
  add(plan.deck_text);
  for (const auto& name : plan.case_names) add(name);
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  return digits;
}

void check_output(const std::string& path) {
  const Origin origin{"--out " + path, "", 0};
  if (path.empty()) throw InputError(Origin{"--out", "", 0}, "the file name is empty");
  std::error_code error;
  const fs::path target = fs::absolute(target_of(path));
  const fs::path folder = target.parent_path();
  if (target.filename().empty() || fs::is_directory(target, error))
    throw InputError(origin, "is a folder; name the results file itself, e.g. " + (target / "results.h5").string());
  if (fs::exists(target, error) && !fs::is_regular_file(target, error))
    throw InputError(origin, "exists and is not a regular file");
  if (!fs::is_directory(folder, error))
    throw InputError(origin, fs::exists(folder, error) ? folder.string() + " is not a folder"
                                                       : "there is no folder " + folder.string() + "; create it first");
  // Only trying tells: permissions say nothing on read-only or full file systems, nor to root.
  std::string probe = target.string() + ".probe-XXXXXX";
  const int descriptor = mkstemp(probe.data());
  if (descriptor < 0) throw InputError(origin, "cannot write to folder " + folder.string() + ": " + system_reason());
  close(descriptor);
  unlink(probe.c_str());
}

Recorder::Recorder(const std::string& path, Plan plan, bool resume)
    : path_(target_of(path)),
      journal_(path_ + ".journal.jsonl"),
      incomplete_(path_ + ".incomplete"),
      states_(path_ + ".states"),
      plan_(std::move(plan)) {
  for (const auto& name : plan_.case_names)
    if (!positions_.emplace(name, static_cast<long>(positions_.size())).second)
      throw InputError("two cases of the plan have the name " + name);
  const Origin origin{"--resume", "", 0};
  bool keep_journal = false;
  if (resume) {
    keep_journal = load_journal(origin);
    std::error_code ignored;
    if (!keep_journal && fs::exists(path_, ignored)) load_results_file(origin);
    if (!results_.empty())
      notice_ = "resuming " + path + ": " + std::to_string(results_.size()) + " of " +
                std::to_string(plan_.case_names.size()) + " cases are finished";
  }
  // A complete results file needs no journal, and one lying read-only in an archive can still be "resumed".
  if (resume && based_on_results_ && !keep_journal && results_.size() == plan_.case_names.size()) {
    std::error_code ignored;  // a kill while the run before cleaned up
    fs::remove(incomplete_, ignored);
    fs::remove_all(states_, ignored);
    return;
  }
  check_output(path);
  open_journal(origin, keep_journal);
}

Recorder::~Recorder() {
  if (descriptor_ >= 0) close(descriptor_);
}

bool Recorder::has(const std::string& name) const {
  return std::any_of(results_.begin(), results_.end(), [&](const CaseResult& r) { return r.name == name; });
}

long Recorder::position(const std::string& name) const {
  const auto found = positions_.find(name);
  if (found == positions_.end()) throw std::logic_error("case " + name + " is not in the plan");
  return found->second;
}

std::string Recorder::states_file(const std::string& name) const {
  return (fs::path(states_) / (group_name(position(name)) + ".h5")).string();
}

void Recorder::insert(CaseResult result) {
  result.index = position(result.name);
  const auto place = std::lower_bound(results_.begin(), results_.end(), result.index,
                                      [](const CaseResult& r, long index) { return r.index < index; });
  if (place != results_.end() && place->index == result.index)
    *place = std::move(result);
  else
    results_.insert(place, std::move(result));
}

void Recorder::load_results_file(const Origin& origin) {
  require_harmless(path_, origin);
  Results file = read_results(path_, origin);
  Plan then{file.deck_text, {}};
  for (const CaseResult& result : file.cases) then.case_names.push_back(result.name);
  require_same_plan(then, plan_, path_, origin);
  based_on_results_ = true;
  for (CaseResult& result : file.cases) {
    if (result.status == Status::failed) continue;
    const std::string dataset = "/cases/" + group_name(result.index) + "/states";
    if (exists(path_, dataset)) locations_[result.name] = {path_, dataset};
    insert(std::move(result));
  }
}

bool Recorder::load_journal(const Origin& origin) {
  std::ifstream stream(journal_, std::ios::binary);
  if (!stream) {
    std::error_code ignored;
    if (fs::exists(journal_, ignored)) throw InputError(origin, "cannot read " + journal_ + ": " + system_reason());
    return false;
  }
  std::string line;
  const auto next = [&] {  // a line without its newline was torn by a kill
    return static_cast<bool>(std::getline(stream, line)) && !stream.eof();
  };
  if (!next()) return false;
  try {
    const Json header = Json::parse(line);
    if (header.at("format").get<std::string>() != journal_format) throw std::runtime_error("its format differs");
    if (header.at("version").get<std::string>() != journal_version)
      throw std::runtime_error("its version is " + header.at("version").get<std::string>());
    const Plan then{header.at("deck").get<std::string>(), header.at("cases").get<std::vector<std::string>>()};
    require_same_plan(then, plan_, journal_, origin);
    if (header.at("based_on_results").get<bool>()) load_results_file(origin);
  } catch (const InputError&) {
    throw;
  } catch (const std::exception& error) {
    throw InputError(origin, journal_ + " line 1 is not the header of an Elkhorn journal: " + error.what());
  }
  journal_bytes_ = static_cast<long>(line.size()) + 1;
  for (long number = 2; next(); ++number) {
    try {
      const Json json = Json::parse(line);
      CaseResult result = from_json(json);
      require_consistent(result);
      const std::string name = result.name;
      position(name);
      if (result.status == Status::failed) {
        results_.erase(
            std::remove_if(results_.begin(), results_.end(), [&](const CaseResult& r) { return r.name == name; }),
            results_.end());
      } else {
        if (json.at("states").get<bool>()) {
          if (!exists(states_file(name), "/states"))
            throw std::runtime_error("the states it names are not in " + states_file(name));
          locations_[name] = {states_file(name), "/states"};
        }
        insert(std::move(result));
      }
    } catch (const std::exception& error) {
      throw InputError(origin, journal_ + " line " + std::to_string(number) + " is damaged: " + error.what() +
                                   " (delete the line to run its case again)");
    }
    journal_bytes_ += static_cast<long>(line.size()) + 1;
  }
  return true;
}

void Recorder::set_aside() {
  std::ifstream stream(journal_, std::ios::binary);
  long lines = 0;
  for (std::string line; std::getline(stream, line) && !stream.eof();) ++lines;
  std::error_code error;
  fs::remove_all(states_ + ".old", error);
  fs::remove(incomplete_, error);
  if (lines < 2) {  // no finished case is lost
    fs::remove_all(states_, error);
    return;
  }
  fs::rename(journal_, journal_ + ".old");
  if (fs::exists(states_, error)) fs::rename(states_, states_ + ".old");
  notice_ = "an interrupted run left " + std::to_string(lines - 1) +
            " finished cases; without --resume this run starts over, " + "its journal was moved to " + journal_ +
            ".old";
}

void Recorder::open_journal(const Origin& origin, bool keep) {
  const std::string doing = "cannot write " + journal_ + ": ";
  const auto open_locked = [&] {
    descriptor_ = open(journal_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor_ < 0) throw InputError(Origin{"--out " + path_, "", 0}, doing + system_reason());
    // File systems without locks are let pass: the lock only guards against a slip.
    if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      close(std::exchange(descriptor_, -1));
      throw InputError(keep ? origin : Origin{"--out " + path_, "", 0},
                       "another run is writing " + journal_ + "; wait for it or use another file");
    }
  };
  open_locked();
  if (!keep) {
    try {
      set_aside();
    } catch (const std::exception& error) {
      throw InputError(Origin{"--out " + path_, "", 0}, doing + error.what());
    }
    close(std::exchange(descriptor_, -1));
    open_locked();
    journal_bytes_ = 0;
  }
  if (ftruncate(descriptor_, journal_bytes_) != 0 || lseek(descriptor_, 0, SEEK_END) < 0)
    throw InputError(Origin{"--out " + path_, "", 0}, doing + system_reason());
  if (keep) return;
  Json header;
  header["format"] = journal_format;
  header["version"] = journal_version;
  header["plan"] = fingerprint(plan_);
  header["based_on_results"] = based_on_results_;
  header["cases"] = plan_.case_names;
  header["deck"] = plan_.deck_text;
  try {
    append(one_line(header));
    sync_parent(journal_);
  } catch (const std::exception& error) {
    throw InputError(Origin{"--out " + path_, "", 0}, error.what());
  }
}

/// A journal that was only deleted is no other run's: this one can end well without it.
void Recorder::require_own_journal() const {
  struct stat mine {};
  struct stat there {};
  if (fstat(descriptor_, &mine) != 0)
    throw std::runtime_error("cannot write " + journal_ + ": " + system_reason() +
                             "; the cases before are kept, continue with --resume once this is mended");
  const bool exists = stat(journal_.c_str(), &there) == 0;
  const bool replaced = exists && (there.st_dev != mine.st_dev || there.st_ino != mine.st_ino);
  if (replaced || mine.st_size != journal_bytes_)
    throw std::runtime_error(
        "cannot write " + journal_ +
        ": another run writes it too, so its lock was lost, or this file system has none; what " +
        "both have finished is kept, use another --out, or continue with --resume once the other " + "has ended");
}

void Recorder::append(const std::string& line) {
  require_own_journal();
  std::size_t written = 0;
  while (written < line.size()) {
    const ssize_t n = write(descriptor_, line.data() + written, line.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    written += static_cast<std::size_t>(n);
  }
  if (written == line.size() && fsync(descriptor_) == 0) {
    journal_bytes_ += static_cast<long>(line.size());
    return;
  }
  const std::string reason = system_reason();
  // Back to whole lines; where even that fails, the torn line is dropped on resuming.
  static_cast<void>(ftruncate(descriptor_, journal_bytes_) == 0 && lseek(descriptor_, 0, SEEK_END) >= 0);
  throw std::runtime_error("cannot write " + journal_ + ": " + reason +
                           "; the cases before are kept, make room and continue with --resume");
}

StatesFile::StatesFile(const std::string& path, const CaseResult& result)
    : path_(path), case_(result.name), length_(result.length), row_(result.batch * result.state_dim) {
  keep([&] {
    fs::create_directories(fs::path(path).parent_path());
    reserve(path, states_size_bound(result));
    file_ = create_file(path);
    reserve(path, states_size_bound(result));
    dataset_ = create_states(file_.id(), "states", result);
  });
}

void StatesFile::write(const std::vector<double>& rows) {
  keep([&] { write_rows(dataset_, written_, rows); });
  written_ += static_cast<long>(rows.size()) / std::max(1L, row_);
}

void StatesFile::close() {
  if (written_ != length_)
    throw std::logic_error("case " + case_ + ": " + std::to_string(written_) + " of " + std::to_string(length_) +
                           " steps of its states were written");
  keep([&] {
    dataset_.close("write " + path_);
    file_.close("write " + path_);
    fs::resize_file(path_, fs::file_size(path_));  // gives back what was reserved
    sync_file(path_);
    sync_parent(path_);
  });
}

void StatesFile::keep(const std::function<void()>& section) const {
  try {
    section();
  } catch (const std::exception& error) {
    throw std::runtime_error("cannot keep the states of case " + case_ + ": " + error.what() +
                             "; the cases before are kept, make room and continue with --resume");
  }
}

std::unique_ptr<StatesFile> Recorder::keep_states(const CaseResult& result) {
  if (descriptor_ >= 0) require_own_journal();
  return std::make_unique<StatesFile>(states_file(result.name), result);
}

void Recorder::add(CaseResult result, std::unique_ptr<StatesFile> states) {
  require_consistent(result);
  position(result.name);
  if (descriptor_ < 0) throw std::logic_error("case " + result.name + " was added to a complete results file");
  if (!states && !result.states.empty()) {
    states = keep_states(result);
    states->write(result.states);
    std::vector<double>().swap(result.states);
  }
  const bool has_states = states != nullptr;
  if (has_states) {
    states->close();
    states.reset();
    locations_[result.name] = {states_file(result.name), "/states"};
  } else {
    locations_.erase(result.name);
  }
  Json json = to_json(result);
  json["states"] = has_states;
  append(one_line(json));
  insert(std::move(result));
}

void Recorder::finish(const Meta& meta, const Roofs& roofs) {
  if (descriptor_ < 0) return;
  require_own_journal();
  try {
    write_results(
        path_, results_, meta, plan_.deck_text,
        [&](const CaseResult& result) {
          const auto found = locations_.find(result.name);
          return found == locations_.end() ? std::nullopt : std::optional<StatesLocation>(found->second);
        },
        roofs);
  } catch (const std::exception& error) {
    throw std::runtime_error("cannot write " + path_ + ": " + error.what() +
                             "; every finished case is kept, continue with --resume once this is mended");
  }
  std::error_code ignored;
  fs::remove(journal_, ignored);
  fs::remove(incomplete_, ignored);
  fs::remove_all(states_, ignored);
  close(std::exchange(descriptor_, -1));
}

void Recorder::amend(const std::function<void(CaseResult&)>& change) {
  for (CaseResult& result : results_) change(result);
}

void Recorder::suspend(const Meta& meta, const Roofs& roofs) {
  if (results_.empty()) return;
  if (descriptor_ >= 0) require_own_journal();
  try {
    write_results(incomplete_, results_, meta, plan_.deck_text, {}, roofs);
  } catch (const std::exception& error) {
    throw std::runtime_error("cannot write " + incomplete_ + ": " + error.what() +
                             "; every finished case is kept, continue with --resume once this is mended");
  }
}

}  // namespace elkhorn::record
