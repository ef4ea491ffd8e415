/// Windows in time: which steps of each sequence a solve works on at a time (deck key `window`).
///
/// Convergence moves from left to right: once the states up to a front are settled, no later iteration changes them. A
/// window of W steps starts at the front of its sequence and slides with it, so memory is O(W) and steps far ahead of the
/// front, whose states are nothing yet to build on, cost nothing. Every sequence has a front of its own, and its
/// decisions depend on nothing but itself, so that answers do not depend on how sequences are spread over ranks.
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
  bool full = true;           ///< all steps at once; nothing below matters then
  long start = 0;
  long smallest = 0;
  long largest = 0;           ///< smallest = start = largest: a fixed width
  double overhead = 0;        ///< cost of an iteration besides its steps, in steps
  double move_cost = 0.25;    ///< cost of moving a window, in iterations of it
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

  struct Change {
    bool reframe = false;         ///< the slots or the frame's width changed: everything is to be packed anew
    std::vector<char> moving;     ///< slots whose window moves (all but finished ones where `reframe`)
    std::vector<Slot> next;       ///< the slots after the change
    bool any() const;
  };
  /// What is worth changing before the next iteration. `apply` makes it so.
  Change plan() const;
  /// Whether the states ahead of a slot's front are to start from the guess again, as what a stall left there is harmful.
  bool restarts(const Slot& slot) const;
  void apply(const Change& change);

 private:
  /// The search for the best width of a sequence, and what its window wastes.
  struct Progress {
    long width = 0, best = 0;
    double best_cost = 0;     ///< a step of progress with the best width; 0: not known yet
    bool growing = true;
    long since = 0;           ///< where the front was when the width was set
    long iterations = 0;      ///< with this width
    long front = 0;           ///< settled steps of the sequence
    double lowest = 0;        ///< residual of the window with this width; 0: not known yet
    int stuck = 0;            ///< iterations since it fell
    int wholes = 0, moves = 0;  ///< windows of this width that settled as a whole, and how often one moved
    double wasted = 0;        ///< iterations' worth of settled steps since the window was last moved
    bool resized = false;
    bool restart = false;     ///< the window stalled: states ahead of the front are worth less than the guess
    int measured = 0;         ///< how often the best width was measured again
    int finished = 0;         ///< iterations since the sequence finished; its last residual is still to be looked at after one
  };
  void resize(Progress& p, long width) const;
  void search(Progress& p) const;
  Slot next_slot(const Slot& slot) const;

  WindowModel model_;
  long length_, batch_, width_ = 0;
  std::vector<Slot> slots_;
  std::vector<Progress> progress_;  ///< of sequences
  double idle_ = 0;                 ///< iterations' worth of finished slots since the last reframe
};

}  // namespace elkhorn::solvers
