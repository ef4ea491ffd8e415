#include "report/progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>

#include "core/counted.hpp"
#include "report/units.hpp"

namespace elkhorn::report {
namespace {

constexpr long bar_width = 20;
/// Seconds between two words on a solve: on a terminal and elsewhere.
constexpr double redraw_every_s = 0.2, tell_every_s = 60;

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string count_text(long done, long total) {
  const std::string all = std::to_string(total);
  return pad_left(std::to_string(done), all.size()) + "/" + all;
}

std::string settled_text(double share) { return share_text(std::min(share, 1.0)) + " settled"; }

}  // namespace

std::string case_line(const record::CaseResult& result, long done, long total) {
  std::string iterations;
  if (result.iterations >= 0 && result.solver != "sequential") iterations = counted(result.iterations, "iteration");
  return "[" + count_text(done, total) + "] " + pad_right(to_string(result.status), 13) + " " +
         pad_left(time_text(result.time_median_s), 8) + "  " + pad_left(iterations, 15) + "  " + result.name;
}

std::string bar_line(long done, long total, double elapsed_s, double eta_s, const std::string& name,
                     std::size_t columns, double share) {
  const long filled = total > 0 ? std::clamp(done * bar_width / total, 0L, bar_width) : bar_width;
  std::string bar = "[";
  for (long i = 0; i < bar_width; ++i) bar += i < filled ? "#" : "·";
  bar += "] " + count_text(done, total) + "  elapsed " + clock_text(elapsed_s);
  if (std::isfinite(eta_s)) bar += ", about " + clock_text(eta_s) + " left";
  if (share >= 0) bar += "  " + settled_text(share);
  if (!name.empty()) bar += "  " + name;
  return shorten(bar, columns);
}

double eta(long finished, long remaining, double elapsed_s) {
  if (finished <= 0) return record::not_a_number;
  return elapsed_s / static_cast<double>(finished) * static_cast<double>(remaining);
}

Progress::Progress(std::ostream& out, bool terminal, long total, long resumed, std::function<double()> clock)
    : out_(out),
      terminal_(terminal),
      total_(total),
      resumed_(resumed),
      clock_(clock ? std::move(clock) : steady_seconds),
      begin_(clock_()),
      told_(begin_) {}

Progress::~Progress() { clear(); }

void Progress::clear() {
  if (!drawn_) return;
  out_ << "\r\033[K" << std::flush;
  drawn_ = false;
}

void Progress::refresh() {
  if (!terminal_) return;
  const double elapsed = clock_() - begin_;
  const long done = resumed_ + finished_;
  // One column less than a narrow terminal has: a line that wraps cannot be redrawn in place.
  out_ << "\r\033[K" << bar_line(done, total_, elapsed, eta(finished_, total_ - done, elapsed), name_, 79, share_)
       << std::flush;
  drawn_ = true;
}

void Progress::start(const std::string& name) {
  name_ = name;
  share_ = -1;
  told_ = clock_();
  refresh();
}

void Progress::within(double share) {
  const double now = clock_();
  if (now - told_ < (terminal_ ? redraw_every_s : tell_every_s)) return;
  told_ = now;
  share_ = share;
  if (terminal_)
    refresh();
  else
    out_ << "[" << count_text(resumed_ + finished_, total_) << "] " << settled_text(share) << "  " << name_ << '\n'
         << std::flush;
}

void Progress::done(const record::CaseResult& result) {
  ++finished_;
  const long done = resumed_ + finished_;
  clear();
  out_ << case_line(result, done, total_);
  if (!terminal_ && done < total_)
    out_ << "  (about " << clock_text(eta(finished_, total_ - done, clock_() - begin_)) << " left)";
  out_ << '\n' << std::flush;
  name_.clear();
  share_ = -1;
}

bool stderr_is_terminal() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) != 0 && term != nullptr && std::string(term) != "dumb";
}

}  // namespace elkhorn::report
