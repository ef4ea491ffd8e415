/// What a person sees while cases run, on stderr of rank 0.
#pragma once

#include <functional>
#include <ostream>
#include <string>

#include "record/result.hpp"

namespace elkhorn::report {

/// "[ 3/12] ok             1.07 ms   4 iterations  name", without newline.
std::string case_line(const record::CaseResult& result, long done, long total);

/// "[#####·····]  5/20  elapsed 0:42, about 2:06 left  name", at most `columns` wide. `eta_s` NaN: not known yet.
/// `share` of the present solve's steps is settled (the name's "37 %"); negative: not said.
std::string bar_line(long done, long total, double elapsed_s, double eta_s, const std::string& name,
                     std::size_t columns = 110, double share = -1);

/// Seconds the rest will take, were each remaining case as long as the finished ones were on average; NaN
/// where nothing has finished.
double eta(long finished, long remaining, double elapsed_s);

/// On a terminal a bar, redrawn in place, below one line a finished case; elsewhere the finished lines only,
/// with an ETA each. Make one on rank 0 only.
class Progress {
 public:
  /// `resumed` cases of `total` are finished already and say nothing about the speed of this run. `clock`
  /// gives seconds from any origin (default: a steady clock); tests pass their own.
  Progress(std::ostream& out, bool terminal, long total, long resumed = 0, std::function<double()> clock = {});
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// A case begins.
  void start(const std::string& name);
  /// Redraws the bar (a terminal only); cheap enough to call after every sample.
  void refresh();
  /// How much of the present solve is done, 0 to 1. Costs next to nothing, so that solvers may say so every iteration: a
  /// bar is redrawn five times a second at most; elsewhere a solve of minutes gets a line a minute.
  void within(double share);
  /// A case has a verdict.
  void done(const record::CaseResult& result);
  /// Clears the bar, so that other lines can be written; the next call draws it again.
  void clear();

 private:
  std::ostream& out_;
  bool terminal_;
  long total_, resumed_, finished_ = 0;
  std::function<double()> clock_;
  double begin_;
  double told_;        ///< when a share was last shown
  double share_ = -1;  ///< of the present solve; negative: nothing is known of it
  std::string name_;
  bool drawn_ = false;
};

/// True where stderr is a terminal that can redraw a line.
bool stderr_is_terminal();

}  // namespace elkhorn::report
