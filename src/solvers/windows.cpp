#include "solvers/windows.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace elkhorn::solvers {

namespace {

// A width is measured over this many widths of progress; a wider one must be better by this factor to be kept; a width
// that costs this many times what the best did has stalled.
// Where whole windows settle, a wider one saves iterations and may cost a little more (costs are coarse there: a window
// takes four iterations or five); one that is much better is widened at once by twice as much.
constexpr double measured_widths = 2, much_better = 0.8, better = 0.97, no_worse = 1.15, stalled = 2.5;
/// Where whole windows of so many widths in turn have settled at the price of the narrowest, the next one is up to `leap`
/// times as wide, but no wider than `reach` times what is settled: should it fail, it has cost a few passes of that at most.
constexpr int steady = 2;
constexpr long leap = 64, reach = 8;
/// Before anything is known, a front that has not crossed a quarter of its window in so many iterations has stalled, unless
/// that is as fast as a step an iteration, which exact prefixes alone give.
constexpr long patience = 48;
/// Windows whose residuals fall fast wait until they are settled as a whole if that is to take `soon` iterations and to cost
/// `patient` iterations of their settled steps at most: a front within a window is settled an iteration later than the
/// window would be.
constexpr double patient = 1.5, soon = 6;
/// A window whose largest residual has not fallen by `falls` in so many iterations does not settle as a whole.
constexpr int stuck_after = 6;
constexpr double falls = 0.8;
/// Wider windows are tried again once the best width has done worse than before so many times.
constexpr int content = 16;
/// After the n-th march that stalled no other begins for 2^n measurements, n up to this.
constexpr int longest_wait = 10;

}  // namespace

Windows::Windows(const WindowModel& model, long length, long batch) : model_(model), length_(length), batch_(batch) {
  if (model_.full) model_.start = model_.smallest = model_.largest = length;
  for (long* width : {&model_.start, &model_.smallest, &model_.largest})
    *width = std::clamp(*width, 1L, std::max(1L, length));
  restart();
}

void Windows::restart() {
  search_ = Search{};
  search_.marching = model_.march > 0;
  search_.best = model_.start;
  search_.width = search_.marching ? model_.largest : model_.start;  // a march costs the same in frames of any width
  Progress fresh;
  fresh.width = search_.width;
  progress_.assign(static_cast<std::size_t>(batch_), fresh);
  width_ = std::min(search_.width, length_);
  slots_.clear();
  for (long b = 0; b < batch_; ++b) slots_.push_back({b, 0, width_});
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
}

/// Starts to measure a width for all sequences that iterate.
void Windows::measure(long width) {
  search_.width = std::clamp(width, model_.smallest, model_.largest);
  search_.iterations = search_.advance = 0;
  search_.wholes = search_.moves = 0;
  for (Progress& p : progress_)
    if (p.finished == 0) resize(p, search_.width);
}

/// Notices a window that neither moves nor improves: it starts again from the guess, narrower.
void Windows::stop_stalls(Progress& p) {
  const double advance = double(p.front - p.since);
  const double cost = double(p.iterations) * (double(p.width) + model_.overhead) / std::max(advance, 1.0);
  const bool unknown = search_.best_cost == 0;
  const bool stalls = unknown ? p.iterations >= std::max(patience, p.width / 4) && advance < double(p.width) / 4
                              : p.iterations >= 8 && p.stuck >= stuck_after && cost > stalled * search_.best_cost;
  const double best_iterations =  // a width of progress
      search_.best_cost * double(search_.best) / (double(search_.best) + model_.overhead);
  const bool fails = leaps() && search_.width > search_.best && cost > stalled * search_.best_cost &&
                     double(p.iterations) > stalled * best_iterations;
  if (!stalls && !fails) return;
  p.restart = true;
  if (search_.width > search_.best) {  // a trial stalls: it ends for all
    search_.growing = false;
    search_.steady = 0;
    measure(search_.best);
  } else {
    resize(p, p.width / 2);
  }
}

bool Windows::leaps() const { return search_.marching || search_.steady >= steady; }

/// Hill-climbs the cost a step of progress over widths; of a fixed width there is nothing to search.
void Windows::search() {
  double live = 0;
  long behind = length_;  // of all fronts
  for (const Slot& slot : slots_) {
    const Progress& p = progress_[static_cast<std::size_t>(slot.sequence)];
    if (p.finished > 0) continue;
    live += 1;
    behind = std::min(behind, p.front);
  }
  const double widths = leaps() ? 1 : (search_.whole ? 2 : 1) * measured_widths;
  if (live == 0 || search_.advance < widths * double(search_.width) * live) return;
  const double cost = search_.iterations * (double(search_.width) + model_.overhead) / search_.advance;
  // A front that creeps within its window gains nothing from steps further ahead, unless iterations themselves cost more.
  // Windows that settle as a whole, or are a third behind their front whenever they move.
  const bool mostly_whole =
      2 * search_.wholes > search_.moves || 3 * search_.advance > double(search_.width) * double(search_.moves);
  search_.whole = mostly_whole && !model_.eager;
  if (model_.march > 0 && --search_.wait < 0) {
    search_.marching = true;
    return measure(model_.largest);
  }
  const bool worth_growing = model_.eager || mostly_whole || model_.overhead > double(search_.width);
  const bool pays = mostly_whole && search_.best_cost > 0 && cost < much_better * search_.best_cost;
  const auto wider = [&] {
    if (!search_.growing || !worth_growing) return search_.width;
    const long at_once = (pays ? 4 : 2) * search_.width;
    const long far = leaps() ? std::max(at_once, std::min(leap * search_.width, reach * behind)) : at_once;
    return std::min(far, length_ - behind);
  };
  if (search_.best_cost == 0 || cost < (mostly_whole ? no_worse : better) * search_.best_cost) {
    search_.steady = mostly_whole && search_.best_cost > 0 ? search_.steady + (search_.width > search_.best) : 0;
    search_.lowest = search_.width != search_.best || search_.lowest == 0 ? cost : std::min(cost, search_.lowest);
    search_.best = search_.width;
    search_.best_cost = cost;
    return measure(wider());
  }
  search_.steady = 0;
  if (search_.width != search_.best) {
    search_.growing = false;
    return measure(search_.best);
  }
  if (cost > stalled * search_.lowest && search_.best > model_.smallest) {  // what was best is so no more
    search_.best = std::max(model_.smallest, search_.best / 2);
    search_.best_cost = search_.lowest = 0;
    search_.growing = false;
    return measure(search_.best);
  }
  search_.best_cost = cost;
  search_.growing = search_.growing || ++search_.measured % content == 0;
  measure(wider());
}

/// Iterations until all of a window is within the tolerance, if residuals keep falling as they did last.
double Windows::iterations_left(double residual, double before) const {
  if (residual <= model_.tolerance) return 0;
  const double rate = before > 0 ? residual / before : 1;
  return rate < model_.waits ? std::log(residual / model_.tolerance) / -std::log(rate)
                             : std::numeric_limits<double>::infinity();
}

void Windows::observe(std::size_t slot, long front, double residual, bool finished) {
  const Slot& s = slots_[slot];
  Progress& p = progress_[static_cast<std::size_t>(s.sequence)];
  const bool last_slot = slot + 1 == slots_.size();
  if (p.finished > 0 || finished) {
    if (++p.finished > 1) idle_ += 1.0 / double(slots_.size());
  } else {
    const long before = p.front;
    p.front = s.begin + front;
    if (!model_.full) {
      ++p.iterations;
      search_.iterations += 1;
      search_.advance += double(p.front - before);
      search_.wholes += front == s.length;
      const double share = double(front) / double(std::max(1L, s.length));
      p.wasted += share;
      const double left = iterations_left(residual, p.last);
      p.waits = front < s.length && left <= soon && p.wasted + share * left <= patient;
      p.last = residual;
      ++p.stuck;
      if (p.lowest == 0 || residual < falls * p.lowest) {
        p.lowest = residual;
        p.stuck = 0;
      }
      stop_stalls(p);
    }
  }
  if (last_slot && !model_.full) search();
}

void Windows::passed(std::size_t slot, long front) {
  const Slot& s = slots_[slot];
  Progress& p = progress_[static_cast<std::size_t>(s.sequence)];
  search_.advance += double(s.begin + front - p.front);
  p.front = s.begin + front;
  p.wasted = model_.move_cost;
  p.waits = false;
  ++search_.wholes;
}

void Windows::all_passed() {
  if (leaps()) search();  // an iteration of the next window would be in the frame of this one
}

void Windows::marched(std::size_t slot, long front, bool finished) {
  passed(slot, front);
  if (!finished) return;
  progress_[static_cast<std::size_t>(slots_[slot].sequence)].finished = 2;  // nothing is left to be seen
  idle_ += 1.0 / double(slots_.size());
}

void Windows::marched(bool stalled) {
  if (!stalled) return measure(model_.largest);
  search_.marching = false;
  search_.wait = 1 << std::min(++search_.stalls, longest_wait);
  measure(search_.best);
  for (Progress& p : progress_) p.restart = p.finished == 0;
}

/// Where windows that settle at once had better end together: sequences whose windows hold the same steps are copied by whole
/// rows. 0: anywhere.
long Windows::common_end() const {
  if (!leaps()) return 0;
  long end = length_;
  for (const Slot& slot : slots_) {
    const Progress& p = progress_[static_cast<std::size_t>(slot.sequence)];
    if (p.finished == 0) end = std::min(end, p.front + p.width);
  }
  return end;
}

Windows::Slot Windows::next_slot(const Slot& slot, long common_end) const {
  const Progress& p = progress_[static_cast<std::size_t>(slot.sequence)];
  if (model_.full) return slot;
  const long begin = std::max(slot.begin, p.front), length = std::min(p.width, length_ - begin);
  const long aligned = common_end - begin;
  return {slot.sequence, begin, aligned <= length && aligned > length - length / 4 ? aligned : length};
}

/// Steps of the widest window that is needed next; 0: none is. Somewhat more where the frame has them.
long Windows::widest() const {
  long width = 0;
  for (const Slot& slot : slots_) {
    const Progress& p = progress_[static_cast<std::size_t>(slot.sequence)];
    if (p.finished > 1) continue;
    const long begin = std::max(slot.begin, p.front);
    const long left = std::max(1L, length_ - begin);
    width = std::max(width, model_.full ? slot.length : 2 * left <= width_ ? std::min(p.width, left) : p.width);
  }
  return std::min(width, std::max(1L, length_));
}

Windows::Change Windows::plan() const {
  Change change;
  const long width = widest(), end = common_end();
  const bool any_left = width > 0;
  if (any_left && (width != width_ || idle_ >= model_.move_cost)) {
    change.reframe = true;
    for (const Slot& slot : slots_)
      if (progress_[static_cast<std::size_t>(slot.sequence)].finished < 2) change.next.push_back(next_slot(slot, end));
    change.moving.assign(change.next.size(), 1);
    return change;
  }
  change.next = slots_;
  change.moving.assign(slots_.size(), 0);
  if (model_.full) return change;
  for (std::size_t j = 0; j < slots_.size(); ++j) {
    const Progress& p = progress_[static_cast<std::size_t>(slots_[j].sequence)];
    const Slot next = next_slot(slots_[j], end);
    const bool waits = p.waits || p.wasted < model_.move_cost;
    if (p.finished > 0 || (waits && !p.resized && !p.restart)) continue;
    if (next.begin == slots_[j].begin && next.length == slots_[j].length && !p.restart) continue;
    change.moving[j] = 1;
    change.next[j] = next;
  }
  return change;
}

bool Windows::restarts(const Slot& slot) const { return progress_[static_cast<std::size_t>(slot.sequence)].restart; }

bool Windows::Change::any() const { return reframe || std::find(moving.begin(), moving.end(), 1) != moving.end(); }

void Windows::apply(const Change& change) {
  for (std::size_t j = 0; j < change.next.size(); ++j)
    if (change.moving[j]) {
      Progress& p = progress_[static_cast<std::size_t>(change.next[j].sequence)];
      p.wasted = p.last = 0;
      p.waits = false;
      ++search_.moves;
      p.resized = p.restart = false;
    }
  slots_ = change.next;
  if (!change.reframe) return;
  idle_ = 0;
  width_ = widest();
}

}  // namespace elkhorn::solvers
