#include "solvers/windows.hpp"

#include <algorithm>

namespace elkhorn::solvers {

namespace {

// A width is measured over this many widths of progress; a wider one must be better by this factor to be kept; a width
// that costs this many times what the best did has stalled.
// Where whole windows settle, a wider one saves iterations and may cost a little more.
constexpr double measured_widths = 2, better = 0.97, no_worse = 1.05, stalled = 2.5;
/// Before anything is known, a front that has not crossed a quarter of its window in so many iterations has stalled, unless
/// that is as fast as a step an iteration, which exact prefixes alone give.
constexpr long patience = 48;
/// A window whose largest residual has not fallen by `falls` in so many iterations does not settle as a whole.
constexpr int stuck_after = 6;
constexpr double falls = 0.8;
/// Wider windows are tried again after so many measurements of the best width.
constexpr int content = 16;

}  // namespace

Windows::Windows(const WindowModel& model, long length, long batch) : model_(model), length_(length), batch_(batch) {
  if (model_.full) model_.start = model_.smallest = model_.largest = length;
  for (long* width : {&model_.start, &model_.smallest, &model_.largest}) *width = std::clamp(*width, 1L, std::max(1L, length));
  restart();
}

void Windows::restart() {
  Progress fresh;
  fresh.width = fresh.best = model_.start;
  progress_.assign(static_cast<std::size_t>(batch_), fresh);
  slots_.clear();
  for (long b = 0; b < batch_; ++b) slots_.push_back({b, 0, std::min(model_.start, length_)});
  width_ = std::min(model_.start, length_);
  idle_ = 0;
}

void Windows::resize(Progress& p, long width) const {
  width = std::clamp(width, model_.smallest, model_.largest);
  p.resized = p.resized || width != p.width;
  p.width = width;
  p.since = p.front;
  p.iterations = 0;
  p.lowest = 0;
  p.stuck = 0;
  p.wholes = p.moves = 0;
}

/// Hill-climbs the cost a step of progress over widths, by factors of two; of a fixed width it only notices stalls.
void Windows::search(Progress& p) const {
  const double advance = double(p.front - p.since);
  const double cost = double(p.iterations) * (double(p.width) + model_.overhead) / std::max(advance, 1.0);
  if (p.best_cost == 0 && p.iterations >= std::max(patience, p.width / 4) && advance < double(p.width) / 4) {
    p.restart = true;
    return resize(p, p.width / 2);
  }
  if (p.best_cost > 0 && p.iterations >= 8 && p.stuck >= stuck_after && cost > stalled * p.best_cost) {
    // Where a trial stalls the search ends; where the best itself does, the system has become harder.
    p.growing = false;
    p.restart = true;
    if (p.width <= p.best) {
      p.best = p.width / 2;
      p.best_cost = 0;
    }
    return resize(p, p.best);
  }
  if (advance < measured_widths * double(p.width)) return;
  // A front that creeps within its window gains nothing from steps further ahead, unless iterations themselves cost more.
  const bool mostly_whole = 2 * p.wholes > p.moves;
  const bool worth_growing = mostly_whole || model_.overhead > double(p.width);
  if (p.best_cost == 0 || cost < (mostly_whole ? no_worse : better) * p.best_cost) {
    p.best = p.width;
    p.best_cost = cost;
    return resize(p, p.growing && worth_growing ? 2 * p.width : p.width);
  }
  if (p.width != p.best) {
    p.growing = false;
    return resize(p, p.best);
  }
  p.best_cost = cost;
  p.growing = p.growing || ++p.measured % content == 0;
  resize(p, p.growing && worth_growing ? 2 * p.width : p.width);
}

void Windows::observe(std::size_t slot, long front, double residual, bool finished) {
  const Slot& s = slots_[slot];
  Progress& p = progress_[static_cast<std::size_t>(s.sequence)];
  if (p.finished > 0 || finished) {
    if (++p.finished > 1) idle_ += 1.0 / double(slots_.size());
    return;
  }
  if (model_.full) return;
  ++p.iterations;
  p.front = s.begin + front;
  p.wholes += front == s.length;
  ++p.stuck;
  if (p.lowest == 0 || residual < falls * p.lowest) {
    p.lowest = residual;
    p.stuck = 0;
  }
  p.wasted += double(front) / double(std::max(1L, s.length));
  search(p);
}

void Windows::passed(std::size_t slot, long front) {
  const Slot& s = slots_[slot];
  Progress& p = progress_[static_cast<std::size_t>(s.sequence)];
  p.front = s.begin + front;
  p.wasted = model_.move_cost;
  ++p.wholes;
  search(p);
}

Windows::Slot Windows::next_slot(const Slot& slot) const {
  const Progress& p = progress_[static_cast<std::size_t>(slot.sequence)];
  const long begin = std::max(slot.begin, p.front);
  return {slot.sequence, begin, std::min(p.width, length_ - begin)};
}

Windows::Change Windows::plan() const {
  Change change;
  long width = 1;
  bool any_left = false;
  for (const Slot& slot : slots_) {
    const Progress& p = progress_[static_cast<std::size_t>(slot.sequence)];
    if (p.finished > 1) continue;
    any_left = true;
    width = std::max(width, p.width);
  }
  width = std::min(width, std::max(1L, length_));
  if (any_left && (width != width_ || idle_ >= model_.move_cost)) {
    change.reframe = true;
    for (const Slot& slot : slots_)
      if (progress_[static_cast<std::size_t>(slot.sequence)].finished < 2)
        change.next.push_back(model_.full ? slot : next_slot(slot));
    change.moving.assign(change.next.size(), 1);
    return change;
  }
  change.next = slots_;
  change.moving.assign(slots_.size(), 0);
  if (model_.full) return change;
  for (std::size_t j = 0; j < slots_.size(); ++j) {
    const Progress& p = progress_[static_cast<std::size_t>(slots_[j].sequence)];
    const Slot next = next_slot(slots_[j]);
    if (p.finished > 0 || (p.wasted < model_.move_cost && !p.resized && !p.restart)) continue;
    if (next.begin == slots_[j].begin && next.length == slots_[j].length && !p.restart) continue;
    change.moving[j] = 1;
    change.next[j] = next;
  }
  return change;
}

bool Windows::restarts(const Slot& slot) const { return progress_[static_cast<std::size_t>(slot.sequence)].restart; }

bool Windows::Change::any() const {
  return reframe || std::find(moving.begin(), moving.end(), 1) != moving.end();
}

void Windows::apply(const Change& change) {
  for (std::size_t j = 0; j < change.next.size(); ++j)
    if (change.moving[j]) {
      Progress& p = progress_[static_cast<std::size_t>(change.next[j].sequence)];
      p.wasted = 0;
      ++p.moves;
      p.resized = p.restart = false;
    }
  slots_ = change.next;
  if (!change.reframe) return;
  idle_ = 0;
  width_ = 1;
  for (const Slot& slot : slots_)
    width_ = std::max(width_, progress_[static_cast<std::size_t>(slot.sequence)].width);
  width_ = std::min(width_, std::max(1L, length_));
}

}  // namespace elkhorn::solvers
