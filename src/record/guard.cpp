#include "record/guard.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "record/results.hpp"

namespace elkhorn::record {
namespace {

constexpr char line_mark = 'L', input_error_mark = 'I', error_mark = 'E', end_mark = '.';

void send(int pipe, char mark, const std::string& text) {
  std::string message = mark + text + '\0';
  std::replace(message.begin(), message.end() - 1, '\0', ' ');
  for (std::size_t sent = 0; sent < message.size();) {
    const ssize_t n = write(pipe, message.data() + sent, message.size() - sent);
    if (n < 0 && errno != EINTR) _exit(1);
    if (n > 0) sent += static_cast<std::size_t>(n);
  }
}

[[noreturn]] void run_child(int pipe, double cpu_seconds, double memory_bytes,
                            const std::function<std::vector<std::string>()>& work) {
  // Handlers of the parent (MPI's, a debugger's) would print a stack trace for what is a damaged file.
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU}) std::signal(signal, SIG_DFL);
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  const auto seconds = static_cast<rlim_t>(std::ceil(cpu_seconds));
  const rlimit time{seconds, seconds};
  setrlimit(RLIMIT_CPU, &time);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // whose shadow memory is address space too
  // RLIMIT_DATA: what is mapped for device memory and libraries does not count.
  const rlimit memory{static_cast<rlim_t>(memory_bytes), static_cast<rlim_t>(memory_bytes)};
  setrlimit(RLIMIT_DATA, &memory);
#else
  static_cast<void>(memory_bytes);
#endif
  try {
    for (const std::string& line : work()) send(pipe, line_mark, line);
    send(pipe, end_mark, "");
  } catch (const InputError& error) {
    send(pipe, input_error_mark, error.what());
  } catch (const std::exception& error) {
    send(pipe, error_mark, error.what());
  }
  _exit(0);  // no destructors: MPI and Kokkos belong to the parent
}

/// Data segment and private mappings of this process, which a child inherits, in bytes.
double data_bytes() {
  long pages[6] = {};
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    const int read =
        std::fscanf(file, "%ld %ld %ld %ld %ld %ld", pages, pages + 1, pages + 2, pages + 3, pages + 4, pages + 5);
    std::fclose(file);
    if (read < 6) pages[5] = 0;
  }
  return static_cast<double>(pages[5]) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

std::string ending(int status) {
  if (WIFEXITED(status)) return "ended with code " + std::to_string(WEXITSTATUS(status));
  const int signal = WTERMSIG(status);
  if (signal == SIGXCPU || signal == SIGKILL) return "did not end in the time it was given";
  return std::string("crashed: ") + strsignal(signal);
}

}  // namespace

Guarded in_child(double cpu_seconds, double memory_bytes, const std::function<std::vector<std::string>()>& work) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error(std::string("cannot make a pipe: ") + std::strerror(errno));
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) {
    const int reason = errno;
    close(ends[0]);
    close(ends[1]);
    throw std::runtime_error(std::string("cannot start a process: ") + std::strerror(reason));
  }
  if (child == 0) {
    close(ends[0]);
    run_child(ends[1], cpu_seconds, data_bytes() + memory_bytes, work);
  }
  close(ends[1]);
  std::string bytes;
  char buffer[65536];
  for (ssize_t n = 1; n != 0;) {
    n = read(ends[0], buffer, sizeof buffer);
    if (n < 0 && errno != EINTR) break;
    if (n > 0) bytes.append(buffer, static_cast<std::size_t>(n));
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }

  Guarded result;
  for (std::size_t begin = 0; begin < bytes.size();) {
    const std::size_t end = bytes.find('\0', begin);
    if (end == std::string::npos) break;
    const char mark = bytes[begin];
    const std::string text = bytes.substr(begin + 1, end - begin - 1);
    begin = end + 1;
    if (mark == input_error_mark) throw InputError(text);
    if (mark == error_mark) throw std::runtime_error(text);
    if (mark == end_mark) return result;
    result.lines.push_back(text);
  }
  result.broken_off = ending(status);
  return result;
}

Guarded in_child_reading(const std::string& file, const std::function<std::vector<std::string>()>& work) {
  std::error_code ignored;
  const auto size = static_cast<double>(std::filesystem::file_size(file, ignored));
  // Sound files take a second for some hundred megabytes. Compressed numbers may take a thousand times their size; the
  // states of a case, the one large thing, are read in pieces.
  const double bytes = std::isfinite(size) && size < 1e15 ? size : 0;
  return in_child(2 + bytes / 2e6, 1e9 + 20 * bytes, work);
}

void require_harmless(const std::string& path, const Origin& origin) {
  const Guarded done = in_child_reading(path, [&]() -> std::vector<std::string> {
    read_results(path, origin);
    return {};
  });
  if (!done.broken_off.empty())
    throw InputError(origin, path + " is damaged: HDF5 " + done.broken_off + " while it was read");
}

}  // namespace elkhorn::record
