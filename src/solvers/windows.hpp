/// Windows in time: which steps of each sequence a solve works on at a time (deck key `window`).
///
/// Convergence moves from left to right: once the states up to a front are settled, no later iteration changes them. A
/// window of W steps starts at the front of its sequence and slides with it, so memory is O(W) and steps far ahead of the
/// front, whose states are nothing yet to build on, cost nothing. Every sequence has a front of its own; `auto` chooses one
/// width for the sequences of a rank together, so that their counts, not their answers, depend on each other a little.
///
/// Host-side bookkeeping only; solvers/frame.hpp moves the numbers.
#pragma once

#include <vector>

namespace elkhorn::solvers {

/// How windows are sized: `start` steps at first, then between `smallest` and `largest` by trial.
///
/// An iteration of a window of W steps costs W + overhead, in steps, and moves the front by v steps: what counts is the
/// cost a step of progress, (W + overhead) / v. Where the whole window settles at once (contracting systems) v grows with
/// W and so do windows, up to `largest`, which memory or a cache bounds; where the front creeps (chaotic and marginally
/// stable systems) W beyond its reach is wasted work.
struct WindowModel {
  bool full = true;  ///< all steps at once; of the rest only move_cost matters
  long start = 0;
  long smallest = 0;
  long largest = 0;         ///< smallest = start = largest: a fixed width
  double overhead = 0;      ///< cost of an iteration besides its steps, in steps
  double tolerance = 0;     ///< residuals of settled steps
  double waits = 0;         ///< windows whose residuals fall by this factor an iteration wait for their last steps
  bool eager = false;       ///< a wider window is tried wherever it may cost less; otherwise where it clearly does
  double move_cost = 0.25;  ///< cost of moving a window, in iterations of it
  /// Steps of the windows in which threads march through a frame on their own (hosts); 0: they do not.
  long march = 0;
};

class Windows {
 public:
  struct Slot {
    long sequence;
    long begin;   ///< steps before the window
    long length;  ///< steps in it
  };

  /// `length` steps of each of `batch` sequences.
  Windows(const WindowModel& model, long length, long batch);

  void restart();  ///< all sequences from their first step
  const std::vector<Slot>& slots() const { return slots_; }
  long width() const { return width_; }  ///< steps of the widest window now

  /// Tells how far slot `j` is settled after another iteration (`front` steps of its window), its largest residual then,
  /// and whether its sequence is finished: by its front having passed the last step, or by any other verdict.
  void observe(std::size_t slot, long front, double residual, bool finished);

  /// Tells that the window of a slot is settled as it is, without another iteration.
  void passed(std::size_t slot, long front);
  /// After `passed` of all slots that are not finished.
  void all_passed();

  /// Whether threads are to march through the frame. They are from the start on; where marches stall, windows of searched
  /// widths take over for longer and longer.
  bool marches() const { return search_.marching; }
  bool may_march() const { return model_.march > 0; }
  long march_width() const { return model_.march; }
  /// Updates a step of progress at which a march has stalled: the first step of a window settles in an iteration, so an
  /// undamped solver needs fewer.
  double march_patience() const { return double(model_.march) + 1; }
  /// Tells how far a march has come, in place of `observe`; after those of all slots comes `marched`.
  void marched(std::size_t slot, long front, bool finished);
  void marched(bool stalled);

  struct Change {
    bool reframe = false;      ///< the slots or the frame's width changed: everything is to be packed anew
    std::vector<char> moving;  ///< slots whose window moves (all but finished ones where `reframe`)
    std::vector<Slot> next;    ///< the slots after the change
    bool any() const;
  };
  /// What is worth changing before the next iteration. `apply` makes it so.
  Change plan() const;
  /// Whether the states ahead of a slot's front are to start from the guess again, as what a stall left there is harmful.
  bool restarts(const Slot& slot) const;
  void apply(const Change& change);

 private:
  /// The search for the best width, by the progress of all sequences together: the frame is as wide as its widest window.
  struct Search {
    long width = 0, best = 0;
    double best_cost = 0;  ///< a step of progress with the best width; 0: not known yet
    double lowest = 0;     ///< of the costs that the best width ever had
    bool growing = true;
    bool whole = false;  ///< whether the last width's windows settled as a whole, in few iterations: measure longer
    int measured = 0;    ///< how often the best width was measured again
    bool marching = false;
    int stalls = 0;  ///< of marches so far
    int wait = 0;    ///< widths to be measured before the next march
    int steady = 0;  ///< how often in turn wider windows settled as a whole and cost no more
    // with this width, over all sequences:
    double iterations = 0, advance = 0;
    long wholes = 0, moves = 0;  ///< windows that settled as a whole, and how often one moved
  };
  /// What the window of one sequence does.
  struct Progress {
    long width = 0;       ///< of its window at most, less than the frame's after a stall
    long front = 0;       ///< settled steps
    long since = 0;       ///< where the front was when the width was set
    long iterations = 0;  ///< with this width
    double lowest = 0;    ///< residual of the window since then; 0: not known yet
    int stuck = 0;        ///< iterations since it fell
    double wasted = 0;    ///< iterations' worth of settled steps since the window was last moved
    double last = 0;      ///< residual of the window an iteration ago; 0: it has moved since
    bool waits = false;   ///< all of the window is about to settle
    bool resized = false;
    bool restart = false;  ///< the window stalled: states ahead of the front are worth less than the guess
    int finished = 0;  ///< iterations since the sequence finished; its last residual is still to be looked at after one
  };
  void measure(long width);
  void search();
  bool leaps() const;
  void stop_stalls(Progress& p);
  void resize(Progress& p, long width) const;
  double iterations_left(double residual, double before) const;
  long common_end() const;
  Slot next_slot(const Slot& slot, long common_end) const;
  long widest() const;

  WindowModel model_;
  long length_, batch_, width_ = 0;
  std::vector<Slot> slots_;
  Search search_;
  std::vector<Progress> progress_;  ///< of sequences
  double idle_ = 0;                 ///< iterations' worth of finished slots since the last reframe
};

}  // namespace elkhorn::solvers
