/// Feeds damaged decks and results files to the readers that users feed, millions of them in one process tree:
///
///     fuzz deck|results --executions N [--seconds S] [--seed N] [--retries N] [--findings DIR] CORPUS…
///     fuzz deck|results --replay FILE…
///
/// A worker is a forked child with bounded memory, a clock for each input, and a filter of system calls under which any
/// attempt to open a file for writing, or to make, rename or remove one, ends it. What ends a worker is a finding: the
/// input is saved and the next worker goes on behind it. The only outcomes allowed are a plan (which must load again
/// from its resolved deck) or an InputError of one line; for a results file, a list of problems or an InputError.
/// HDF5 itself crashes or hangs on some bytes. Where the innermost code is the library's, that is counted, not a finding:
/// the readers work in a child process for this reason, and of these inputs some are tried again through it.
/// Exit code: 0 no finding, 1 findings (named on stdout), 2 usage.
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "deck/deck.hpp"
#include "mutate.hpp"
#include "record/check.hpp"
#include "record/hdf5.hpp"
#include "record/results.hpp"
#include "structure.hpp"

namespace elkhorn::fuzz {
namespace {

constexpr std::size_t input_limit = 4 << 20;
// Of processor time for one input until HDF5 is interrupted: a sound results file of this size takes a few milliseconds,
// and HDF5 goes round in circles on one input in a hundred or so.
constexpr double deck_seconds = 1, results_seconds = 0.04;
[[maybe_unused]] constexpr rlim_t memory_limit = rlim_t{1} << 30;  // address space of a worker
constexpr int finding_code = 77, library_code = 78, heap_code = 79;
constexpr std::size_t most_findings = 25;

/// What a worker tells its parent, in shared memory: it may die at any moment.
struct Shared {
  std::uint64_t next;      ///< number of the input being tried
  std::uint64_t accepted;  ///< inputs read without an error
  std::size_t size;
  char reason[512];
  char refusal[512];  ///< of the last input that was refused
  char input[input_limit];
};

Shared* shared = nullptr;

[[noreturn]] void finding(const std::string& reason) {
  std::snprintf(shared->reason, sizeof shared->reason, "%s", reason.c_str());
  _exit(finding_code);
}

/// Ends this process with SIGSYS where it tries to change anything in the file system.
void forbid_changes() {
  constexpr std::uint32_t flags = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;
  std::vector<sock_filter> filter;
  const auto add = [&](sock_filter instruction) { filter.push_back(instruction); };
  add(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  // open*(…, flags): the low 32 bits of the argument, little-endian.
  const auto open_call = [&](std::uint32_t number, unsigned argument) {
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 6));
    // HDF5 looks whether a file has the name of one in memory; that name is told by where it lies.
    add(BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 static_cast<std::uint32_t>(offsetof(seccomp_data, args) + 8 * (argument - 1))));
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(in_memory)), 3,
                 0));
    add(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offsetof(seccomp_data, args) + 8 * argument)));
    add(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, flags, 0, 1));
    add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
    add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  };
  open_call(SYS_openat, 2);
#ifdef SYS_open
  open_call(SYS_open, 1);
#endif
  const std::vector<long> calls = {SYS_mkdirat,  SYS_unlinkat, SYS_renameat2, SYS_linkat, SYS_symlinkat,
                                   SYS_truncate, SYS_fchmodat, SYS_fchownat,  SYS_execve, SYS_socket,
#ifdef SYS_openat2
                                   SYS_openat2,
#endif
#ifdef SYS_renameat
                                   SYS_renameat,
#endif
#ifdef SYS_mkdir
                                   SYS_creat,    SYS_mkdir,    SYS_rmdir,     SYS_unlink, SYS_rename,
                                   SYS_link,     SYS_symlink,
#endif
                                   SYS_mknodat};
  for (const long number : calls) {
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1));
    add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  }
  add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    finding(std::string("no filter of system calls: ") + std::strerror(errno));
}

void bound_resources() {
  const rlimit none{0, 0};
#ifndef __SANITIZE_ADDRESS__  // whose shadow memory is address space too
  const rlimit memory{memory_limit, memory_limit};
  setrlimit(RLIMIT_AS, &memory);
#endif
  setrlimit(RLIMIT_CORE, &none);
}

double clock_seconds = 0, over_s = 0;
constexpr double own_seconds =
    10;  // for our own code, which has no circles to go round in; a debugger or a sanitizer is slow

/// SIGPROF after `seconds` of this process's own processor time: a loaded machine is no hang.
void set_timer(double seconds) {
  const auto whole = static_cast<long>(seconds);
  const itimerval limit{{0, 0}, {whole, static_cast<long>((seconds - static_cast<double>(whole)) * 1e6)}};
  setitimer(ITIMER_PROF, &limit, nullptr);
}

void start_clock(double seconds) {
  clock_seconds = seconds;
  over_s = 0;
  set_timer(seconds);
}

enum class Culprit { hdf5, heap, ours };

/// Whose code was interrupted: the innermost frame that is neither the C library's nor this handler's. The C library ends
/// a program that finds its heap damaged, wherever that is noticed: `heap`.
Culprit culprit(int signal) {
  void* frames[64];
  const int count = backtrace(frames, 64);
  const auto is = [](const Dl_info& place, const char* name) { return std::strstr(place.dli_fname, name) != nullptr; };
  bool interrupted = false;  // behind the frame of the signal, which lies in the C library
  for (int i = 0; i < count; ++i) {
    Dl_info place{};
    if (dladdr(frames[i], &place) == 0 || place.dli_fname == nullptr) continue;
    const bool in_c = is(place, "libc.so") || is(place, "ld-linux");
    if (is(place, "libhdf5") || is(place, "libz.so")) return Culprit::hdf5;
    if (interrupted && !in_c) return signal == SIGABRT && !is(place, "libstdc++") ? Culprit::heap : Culprit::ours;
    interrupted = interrupted || in_c;
  }
  return Culprit::ours;
}

/// Ends the worker: with a code where HDF5 was running or the heap is damaged, else as the signal would have.
void on_signal(int signal) {
  static volatile std::sig_atomic_t looking = 0;
  if (looking++ > 0) _exit(heap_code);  // a stack that cannot even be walked
  const Culprit whose = culprit(signal);
  if (whose != Culprit::ours) _exit(whose == Culprit::hdf5 ? library_code : heap_code);
  std::signal(signal, SIG_DFL);
  raise(signal);
}

/// The time of an input is over. Where HDF5 runs, so is its turn; our own code gets longer.
void on_clock(int signal) {
  if (culprit(signal) == Culprit::hdf5) _exit(library_code);
  over_s += clock_seconds;
  if (over_s < own_seconds) return set_timer(clock_seconds);
  std::signal(signal, SIG_DFL);
  raise(signal);
}

/// On a stack of its own: the other one may be what overflowed.
void watch_signals() {
  static char stack[1 << 18];
  void* frame = nullptr;
  backtrace(&frame, 1);  // loads what it needs now
  const stack_t own{stack, 0, sizeof stack};
  sigaltstack(&own, nullptr);
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_ONSTACK | SA_RESETHAND | SA_NODEFER;
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGABRT}) sigaction(signal, &action, nullptr);
  action.sa_handler = on_clock;
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  sigaction(SIGPROF, &action, nullptr);
}

void require_one_line(const char* message) {
  if (std::strpbrk(message, "\n\r") != nullptr) finding(std::string("a message of several lines: ") + message);
}

/// False; the reason is kept for who asks why.
bool refused(const std::string& reason) {
  std::snprintf(shared->refusal, sizeof shared->refusal, "%s", reason.c_str());
  return false;
}

// ---- the targets --------------------------------------------------------------------------------------

/// True where the deck was accepted.
bool try_deck(const std::string& text, const std::string& deck_file) {
  deck::Plan plan;
  try {
    plan = deck::plan_from_text(text, deck_file);
  } catch (const InputError& error) {
    require_one_line(error.what());
    return refused(error.what());
  }
  if (plan.cases.size() > 64) return true;
  try {
    const deck::Plan again = deck::plan_from_text(plan.resolved_text, deck_file);
    if (again.cases.size() != plan.cases.size()) finding("the resolved deck has another number of cases");
    for (std::size_t i = 0; i < plan.cases.size(); ++i)
      if (again.cases[i].name != plan.cases[i].name)
        finding("the resolved deck has other cases: " + again.cases[i].name);
  } catch (const InputError& error) {
    finding(std::string("the resolved deck is refused: ") + error.what());
  }
  return true;
}

bool try_results(const std::string& file) {
  const std::vector<std::string> problems = record::check_results_here(file);
  for (const std::string& problem : problems) require_one_line(problem.c_str());
  try {
    record::read_results(file, {}, true);
  } catch (const InputError& error) {
    require_one_line(error.what());
    if (problems.empty()) finding(std::string("check finds it sound, but it cannot be read: ") + error.what());
    return refused(error.what());
  }
  return problems.empty() || refused(problems[0]);
}

struct Target {
  bool is_deck = true;
  std::vector<std::string> corpus;
  std::vector<std::string> files;  ///< of the corpus; a deck's data files are looked for beside it
  std::string path;                ///< results files are read by path …
  int file = -1;                   ///< … and written through what was opened before the filter

  double seconds() const { return is_deck ? deck_seconds : results_seconds; }
  /// A damaged copy of input `i` of the corpus.
  std::string input(std::size_t i, Random& random) const {
    if (is_deck) return damaged_text(corpus[i], corpus, random);
    return random.one_in(2) ? damaged_bytes(corpus[i], random) : restructured(corpus[i], random);
  }
  bool run(const std::string& bytes, std::size_t i) const {
    if (is_deck) return try_deck(bytes, files[i]);
    if (ftruncate(file, 0) != 0 || pwrite(file, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
      finding("the fuzz driver cannot write its file");
    return try_results(path);
  }
  void guarded_run(const std::string& bytes, std::size_t i) const {
    try {
      if (run(bytes, i)) ++shared->accepted;
    } catch (const std::bad_alloc&) {
      finding("out of memory");
    } catch (const std::exception& error) {
      finding(std::string("an exception that is no InputError: ") + error.what());
    }
  }
};

// ---- workers ------------------------------------------------------------------------------------------

constexpr const char* in_library = "HDF5";
constexpr const char* in_heap = "the heap or the stack is damaged";

/// Runs `work` in a child; how it ended in words, "" where well, `in_library` where HDF5 crashed or hung,
/// `in_heap` where somebody has written where nothing of his lies.
template <class Work>
std::string in_worker(const Work& work) {
  shared->reason[0] = '\0';
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("cannot fork");
  if (child == 0) {
    bound_resources();
    watch_signals();
    forbid_changes();
    work();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return "";
  if (WIFEXITED(status) && WEXITSTATUS(status) == finding_code) return shared->reason;
  if (WIFEXITED(status) && WEXITSTATUS(status) == library_code) return in_library;
  if (WIFEXITED(status) && WEXITSTATUS(status) == heap_code) return in_heap;
  if (!WIFSIGNALED(status)) return "ended with code " + std::to_string(WEXITSTATUS(status));
  const int signal = WTERMSIG(status);
  if (signal == SIGPROF) return "hang: the limit of processor time was reached";
  if (signal == SIGSYS) return "tried to change the file system, to open a socket or to start a program";
  return std::string("crash: ") + strsignal(signal);
}

std::string read_bytes(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

/// Removes a file at the end.
struct Removed {
  std::string path;
  ~Removed() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
};

struct Options {
  std::uint64_t executions = 10000, seed = 1;
  std::uint64_t retries = 20;  ///< of inputs on which HDF5 crashed, through the guard; each takes seconds
  double seconds = 1e9;
  std::string findings = "findings";
  std::vector<std::string> files;
  bool replay = false;
};

/// Whether check_results comes back from the input on which HDF5 crashed or took its time in this process.
bool contained(const Target& target) {
  const std::string bytes(shared->input, shared->size);
  if (ftruncate(target.file, 0) != 0 ||
      pwrite(target.file, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return false;
  try {
    const std::vector<std::string> problems = record::check_results(target.path);
    return std::none_of(problems.begin(), problems.end(),
                        [](const std::string& problem) { return problem.find('\n') != std::string::npos; });
  } catch (const InputError&) {
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

int fuzz(const Target& target, const Options& options) {
  constexpr std::uint64_t worker_share = 4000;  // a new worker now and then: leaks of libraries are no finding
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  std::size_t found = 0, library = 0, retried = 0, heap = 0, unrepeated = 0;
  double shown = 0;
  const auto report = [&](const std::string& reason, const std::string& kind = "finding") {
    const std::string path = options.findings + "/" + kind + "-" + std::to_string(options.seed) + "-" +
                             std::to_string(shared->next) + (target.is_deck ? ".toml" : ".h5");
    std::filesystem::create_directories(options.findings);
    std::ofstream(path, std::ios::binary).write(shared->input, static_cast<std::streamsize>(shared->size));
    std::printf("%s: %s: %s\n", kind.c_str(), path.c_str(), reason.c_str());
  };
  for (shared->next = 0; shared->next < options.executions && elapsed() < options.seconds;) {
    const std::uint64_t end = std::min(options.executions, shared->next + worker_share);
    std::string reason = in_worker([&] {
      for (; shared->next < end; ++shared->next) {
        Random random(options.seed * 0x100000001b3U + shared->next);
        const std::size_t i = random.below(target.corpus.size());
        std::string bytes = target.input(i, random);
        bytes.resize(std::min(bytes.size(), input_limit));
        std::memcpy(shared->input, bytes.data(), bytes.size());
        shared->size = bytes.size();
        start_clock(target.seconds());
        target.guarded_run(bytes, i);
      }
    });
    // What looks like ours may be what an earlier input made HDF5 do to the heap: what counts is the input on its own.
    if (!reason.empty() && reason != in_library) {
      const std::string bytes(shared->input, shared->size);
      const std::size_t i = Random(options.seed * 0x100000001b3U + shared->next).below(target.corpus.size());
      const std::string first = std::exchange(reason, in_worker([&] {
                                                start_clock(target.seconds());
                                                target.guarded_run(bytes, i);
                                              }));
      if (reason.empty()) {
        report(first, "unrepeated");
        ++unrepeated, ++shared->next;
        continue;
      }
    }
    if (reason == in_library) {
      if (++library <= options.retries) {
        ++retried;
        if (!contained(target)) {
          report("HDF5 crashes or hangs, and the guard of check_results does not hold");
          if (++found == most_findings) break;
        }
      }
      ++shared->next;
    } else if (reason == in_heap && !target.is_deck) {
      report(reason, "heap");
      ++heap, ++shared->next;
    } else if (!reason.empty()) {
      report(reason);
      if (++found == most_findings) break;
      ++shared->next;
    }
    if (elapsed() - shown > 60) {
      shown = elapsed();
      std::fprintf(stderr, "%llu executions, %.0f s\n", static_cast<unsigned long long>(shared->next), shown);
    }
  }
  std::printf("%s: %llu executions in %.0f s, %llu accepted, %zu findings\n", target.is_deck ? "deck" : "results",
              static_cast<unsigned long long>(shared->next), elapsed(),
              static_cast<unsigned long long>(shared->accepted), found);
  if (library > 0)
    std::printf(
        "HDF5 itself crashed, or took more than %g s, on %zu of them; check_results was tried on %zu of these\n",
        results_seconds, library, retried);
  if (heap > 0)
    std::printf(
        "heap or stack was damaged by %zu of them; whether by HDF5, a build with -fsanitize=address tells that "
        "replays them\n",
        heap);
  if (unrepeated > 0)
    std::printf("%zu findings did not happen again with their input alone: an earlier one had damaged the heap\n",
                unrepeated);
  return found == 0 ? 0 : 1;
}

int replay(const Target& target, const Options& options) {
  int code = 0;
  for (std::size_t i = 0; i < options.files.size(); ++i) {
    const std::string &file = options.files[i], bytes = read_bytes(file);
    const std::string reason = in_worker([&] {
      start_clock(target.seconds());
      target.guarded_run(bytes, i);
    });
    std::printf("%s: %s\n", file.c_str(), reason.empty() ? "no finding" : reason.c_str());
    if (!reason.empty()) code = 1;
  }
  return code;
}

int run(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  Options options;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool more = i + 1 < words.size();
    if (word == "--replay")
      options.replay = true;
    else if (word == "--executions" && more)
      options.executions = std::stoull(words[++i]);
    else if (word == "--seconds" && more)
      options.seconds = std::stod(words[++i]);
    else if (word == "--seed" && more)
      options.seed = std::stoull(words[++i]);
    else if (word == "--retries" && more)
      options.retries = std::stoull(words[++i]);
    else if (word == "--findings" && more)
      options.findings = words[++i];
    else
      options.files.push_back(word);
  }
  const bool known = !words.empty() && (words[0] == "deck" || words[0] == "results");
  if (!known || options.files.empty() || (options.files[0].rfind("--", 0) == 0)) {
    std::fprintf(
        stderr,
        "usage: fuzz deck|results [--executions N] [--seconds S] [--seed N] [--retries N] [--findings DIR] CORPUS…\n"
        "       fuzz deck|results --replay FILE…\n");
    return 2;
  }
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no shared memory");
  shared = new (memory) Shared;
  Target target;
  target.is_deck = words[0] == "deck";
  target.files = options.files;
  // In memory where the system has such a folder; HDF5 wants a real path.
  const std::string folder = std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : ".";
  target.path = folder + "/elkhorn-fuzz-" + std::to_string(getpid()) + ".h5";
  target.file = open(target.path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (target.file < 0) throw std::runtime_error("cannot make " + target.path);
  const Removed removed{target.path};
  record::silence_hdf5();
  if (options.replay) return replay(target, options);
  for (const std::string& file : options.files) {
    target.corpus.push_back(read_bytes(file));
    // An input that is refused as it is would hide what lies behind the refusal.
    const std::string reason = in_worker([&] {
      const std::uint64_t before = shared->accepted;
      target.guarded_run(target.corpus.back(), target.corpus.size() - 1);
      if (shared->accepted == before) finding(std::string("this input of the corpus is refused: ") + shared->refusal);
    });
    shared->accepted = 0;
    if (!reason.empty()) throw std::runtime_error(file + ": " + reason);
  }
  return fuzz(target, options);
}

}  // namespace
}  // namespace elkhorn::fuzz

int main(int argc, char** argv) {
  try {
    return elkhorn::fuzz::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fuzz: %s\n", error.what());
    return 2;
  }
}
