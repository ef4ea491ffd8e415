#include "measure/interrupt.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <limits>
#include <optional>
#include <regex>

namespace elkhorn::measure {

namespace {

constexpr std::array<int, 3> signals{SIGINT, SIGTERM, SIGUSR1};
/// What the ranks agree on: the number of a signal, or this.
constexpr long out_of_time = 1000;

// A handler may touch these: lock-free atomics, whatever thread it runs on.
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<long long>::is_always_lock_free);
std::atomic<int> caught_signal{0};
std::atomic<long long> caught_at_ns{0};

std::array<struct sigaction, signals.size()> before;          // the actions that Interruptible replaced
double deadline_s = std::numeric_limits<double>::infinity();  // of now_s()
double reserve_s = 0;

long long now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);  // async-signal-safe (POSIX), as std::chrono's clocks are not said to be
  return 1'000'000'000LL * time.tv_sec + time.tv_nsec;
}
double now_s() { return 1e-9 * static_cast<double>(now_ns()); }

extern "C" void take_signal(int number) {
  const int error = errno;
  int none = 0;
  if (caught_signal.compare_exchange_strong(none, number)) {
    caught_at_ns = now_ns();
  } else if (const long long first = caught_at_ns; first > 0 && now_ns() - first > 1'000'000'000LL) {
    std::signal(number, SIG_DFL);
    raise(number);  // takes effect when this handler returns
  }
  errno = error;
}

const char* name_of(long number) {
  switch (number) {
    case SIGINT: return "SIGINT";
    case SIGTERM: return "SIGTERM";
    case SIGUSR1: return "SIGUSR1";
    default: return "the time limit";
  }
}

/// What the scheduler that started this job leaves it from now on.
std::optional<double> scheduler_limit() {
  const auto number = [](const char* variable) -> std::optional<double> {
    const char* text = std::getenv(variable);
    if (!text) return std::nullopt;
    char* end = nullptr;
    const double value = std::strtod(text, &end);
    if (end == text || *end != '\0' || !std::isfinite(value) || value <= 0) return std::nullopt;
    return value;
  };
  if (const auto end = number("SLURM_JOB_END_TIME"))
    return std::max(0.0, *end - static_cast<double>(std::time(nullptr)));
  return number("PBS_WALLTIME");  // of the whole job: what ran in it before this program is not known
}

}  // namespace

double seconds_of(const std::string& text, const Origin& origin) {
  static const std::regex plain("([0-9]*\\.?[0-9]+)([smh]?)"), clock("(?:([0-9]+):)?([0-9]+):([0-5][0-9])");
  std::smatch match;
  double seconds = 0;
  if (std::regex_match(text, match, plain)) {
    const std::string unit = match[2];
    seconds = std::strtod(match[1].str().c_str(), nullptr) * (unit == "h" ? 3600 : unit == "m" ? 60 : 1);
  } else if (std::regex_match(text, match, clock)) {
    seconds = 3600 * std::strtod(match[1].str().c_str(), nullptr) + 60 * std::strtod(match[2].str().c_str(), nullptr) +
              std::strtod(match[3].str().c_str(), nullptr);
  }
  if (!(seconds > 0) || !std::isfinite(seconds))
    throw InputError(
        origin, fmt::format("must be a time above 0 such as 90, 90s, 15m, 2h or 1:30:00, or none, not \"{}\"", text));
  return seconds;
}

Interruptible::Interruptible(const std::string& time_limit) {
  std::optional<double> limit;
  if (time_limit.empty())
    limit = scheduler_limit();
  else if (time_limit != "none")
    limit = seconds_of(time_limit, Origin{"--time-limit", "", 0});
  if (limit) {
    deadline_s = now_s() + *limit;
    reserve_s = std::min(60.0, 0.05 * *limit);
  }
  struct sigaction action {};
  action.sa_handler = take_signal;
  action.sa_flags = SA_RESTART;  // no library underneath is to see EINTR
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], &action, &before[i]);
}

Interruptible::~Interruptible() {
  for (std::size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], &before[i], nullptr);
  caught_signal = 0;
  caught_at_ns = 0;
  deadline_s = std::numeric_limits<double>::infinity();
  reserve_s = 0;
}

void stop_if_asked(const parallel::Comm& comm, double needed_s) {
  long mine = caught_signal;
  if (mine == 0 && comm.is_root() && now_s() + needed_s + reserve_s > deadline_s) mine = out_of_time;
  const long reason = comm.max(mine);
  if (reason != 0) throw parallel::AgreedStop(name_of(reason));
}

}  // namespace elkhorn::measure
