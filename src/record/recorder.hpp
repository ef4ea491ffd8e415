/// What a run writes while it goes: a journal that survives a kill, and at the end the results file.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "record/result.hpp"
#include "record/results.hpp"

namespace elkhorn::record {

/// What a run is about to do. A journal or results file of another plan is not resumed.
struct Plan {
  std::string deck_text;                ///< the resolved deck
  std::vector<std::string> case_names;  ///< in plan order, unique
};

/// Sixteen hexadecimal digits (FNV-1a of 64 bits) that change with the deck and the names.
std::string fingerprint(const Plan& plan);

/// InputError where a results file cannot come to stand at `path`: no such folder, no permission, a folder or
/// something else that is not a regular file. Leaves nothing behind. An existing file is fine: it is replaced,
/// in one rename, when the run is complete.
void check_output(const std::string& path);

/// The states of a case on their way to disk, in pieces of steps in time order, so that they need not be in memory at once.
/// Throws std::runtime_error where writing fails.
class StatesFile {
 public:
  StatesFile(const std::string& path, const CaseResult& result);
  /// The next steps, (steps, batch, state_dim) row by row.
  void write(const std::vector<double>& rows);
  /// After all steps: when this returns a kill cannot lose them.
  void close();

 private:
  void keep(const std::function<void()>& section) const;

  const Writing writing_;  // outlives the handles
  std::string path_, case_;
  long length_, row_, written_ = 0;
  File file_;
  Dataset dataset_;
};

/// Keeps the results of a run, on MPI rank 0 only:
///
///     FILE.h5.journal.jsonl   header, then one line a finished case, each synced to disk
///     FILE.h5.states/         states of finished cases, one HDF5 file each, synced before the journal's line
///     FILE.h5.part            the results file while finish() writes it
///     FILE.h5.incomplete      finished cases without their states, written by suspend() for reading meanwhile
///     FILE.h5                 the results; the journal and the folder are removed once it stands
///
/// With `resume` the journal is read (else, where there is none, FILE.h5 itself): its cases are finished,
/// except failed ones, which run again. A last line torn by a kill is dropped. Without `resume` a journal with
/// finished cases is moved to `FILE.h5.journal.jsonl.old` (states to `FILE.h5.states.old`), see notice().
///
/// The journal is locked. Where locks do not exist or get lost, two runs may still come to have one file; whichever finds the
/// journal changed by the other stops there, so that neither destroys what the other has finished.
class Recorder {
 public:
  /// Throws InputError: `path` cannot be written, the journal or results to resume belong to another plan or
  /// are damaged, or another run has the journal open.
  Recorder(const std::string& path, Plan plan, bool resume);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  /// Results so far, in plan order; right after construction those a resumed run need not run again. Without
  /// their states, which are on disk.
  const std::vector<CaseResult>& finished() const { return results_; }
  /// True where a case of this name need not run (again).
  bool has(const std::string& name) const;
  /// A sentence for the user on stderr, or empty: what was resumed, or where an older journal was moved to.
  const std::string& notice() const { return notice_; }

  /// A file for the states of a case that is about to be added, with room for all of them. Throws like `add`.
  std::unique_ptr<StatesFile> keep_states(const CaseResult& result);

  /// Puts one result on disk; when this returns a kill cannot lose it. Throws std::runtime_error where writing
  /// fails (disk full, …) or the journal has become another run's: up to the case before it is intact, so the run can be
  /// resumed.
  /// @param states  from `keep_states`, all of them written; otherwise those that the result holds, if any, are kept
  void add(CaseResult result, std::unique_ptr<StatesFile> states = {});

  /// Writes the results file and removes the journal. Where nothing was added to a results file that is
  /// already complete, that file is left as it is. Throws std::runtime_error where writing fails: the journal
  /// is kept.
  void finish(const Meta& meta, const Roofs& roofs = {});

  /// For a run that ends early: writes what is finished so far, but states, to FILE.h5.incomplete, a results file like
  /// any other. The journal stays, so the run can be resumed. Throws std::runtime_error where writing fails.
  void suspend(const Meta& meta, const Roofs& roofs = {});

  /// Changes results before finish() or suspend() writes them, by what follows from all of them together (ratios between
  /// cases). The journal is not touched: after a kill it happens again.
  void amend(const std::function<void(CaseResult&)>& change);

 private:
  void load_results_file(const Origin& origin);
  bool load_journal(const Origin& origin);  ///< false: there is none worth reading
  void open_journal(const Origin& origin, bool keep);
  void append(const std::string& line);
  void require_own_journal() const;
  void set_aside();
  void insert(CaseResult result);
  std::string states_file(const std::string& name) const;
  long position(const std::string& name) const;

  std::string path_, journal_, incomplete_, states_;
  Plan plan_;
  std::map<std::string, long> positions_;            ///< case name → plan position
  std::vector<CaseResult> results_;                  ///< in plan order
  std::map<std::string, StatesLocation> locations_;  ///< case name → where its states lie
  bool based_on_results_ = false;                    ///< the finished cases include those of FILE.h5
  long journal_bytes_ = 0;                           ///< whole lines of the journal
  int descriptor_ = -1;
  std::string notice_;
};

}  // namespace elkhorn::record
