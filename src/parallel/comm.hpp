/// One MPI communicator for the suite: RAII, errors as exceptions, and the collectives the suite needs.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace elkhorn::parallel {

/// MPI itself reported an error. What the other ranks are doing is then unknown, so `agree` ends the job on it.
class MpiError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// An error that every rank knows of and throws at the same point, with the same text; see Comm::agree_or_throw.
class AgreedError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The run is to end early: no error, and thrown by every rank at the same point, so it passes through `agree`.
/// What() is who asked for it.
class AgreedStop : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What a rank has asked a communicator to move: a message it sends counts with its bytes, a reduction as one message of
/// its numbers. What MPI makes of that underneath (trees, acknowledgements) is its own affair.
struct Traffic {
  long messages = 0;
  long bytes = 0;
  double seconds = 0;  ///< that this rank spent on them, waiting for other ranks included
};
inline Traffic operator+(const Traffic& a, const Traffic& b) {
  return {a.messages + b.messages, a.bytes + b.bytes, a.seconds + b.seconds};
}
inline Traffic operator-(const Traffic& a, const Traffic& b) {
  return {a.messages - b.messages, a.bytes - b.bytes, a.seconds - b.seconds};
}

/// Throws MpiError naming `call` unless `code` is MPI_SUCCESS.
void check(int code, const char* call);

/// Initialises MPI with MPI_THREAD_FUNNELED (the thread that made the Session makes all MPI calls) and
/// finalises it. Does neither where MPI is initialised already. Kokkos is to be initialised after it and
/// finalised before it. Throws MpiError where the library offers less than MPI_THREAD_FUNNELED.
///
/// Finds out whether any host has more ranks than hardware threads that they may run on. Ranks of such a job leave the
/// processor to others while they wait in a Comm: not every MPI does (MPICH polls until its time slice ends).
class Session {
 public:
  Session(int& argc, char**& argv);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

 private:
  bool owner_ = false;
};

/// Whether this MPI reads and writes memory of GPUs itself. The environment's ELKHORN_GPU_AWARE_MPI = 0 or 1 decides where it
/// is set; otherwise the library is asked (MPIX_Query_cuda_support and the like), and one that cannot tell is taken not to.
bool reads_device_memory();

class Comm;

/// What a rank asked a communicator to move, in order: the same can be done again with nothing between (Comm::replay).
class Tape {
 public:
  enum class What : int { send, receive, wait, max, sum };
  struct Event {
    What what;
    int peer;
    std::size_t size;  ///< bytes of a message, numbers of a reduction
    long pending;      ///< which Pending a message belongs to
  };
  /// Longer ones are not kept: they would take memory that the measured program does not have.
  static constexpr std::size_t longest = std::size_t{1} << 20;

  void start() {
    events_.clear();
    runs_ = true;
  }
  void stop() { runs_ = false; }
  void add(const Event& event) {
    if (runs_ && events_.size() <= longest) events_.push_back(event);
  }
  bool complete() const { return events_.size() <= longest; }
  const std::vector<Event>& events() const { return events_; }

 private:
  std::vector<Event> events_;
  bool runs_ = false;
};

/// Messages on their way; their memory is to be left alone until `wait` has returned. Without it they are given up.
class Pending {
 public:
  Pending() = default;
  explicit Pending(const Comm& comm);
  Pending(Pending&& other) noexcept { *this = std::move(other); }
  Pending& operator=(Pending&& other) noexcept;
  ~Pending() { give_up(); }
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;

  void wait();

 private:
  friend class Comm;
  void give_up() noexcept;
  const Comm* comm_ = nullptr;
  long number_ = 0;  ///< of its communicator's
  std::vector<MPI_Request> requests_;
};

/// A communicator of the suite's own. "Collective" below means: every rank of it calls, in the same order.
/// Must be destroyed before MPI_Finalize (after it, nothing is freed).
class Comm {
 public:
  /// Duplicates `parent`. Collective over it.
  explicit Comm(MPI_Comm parent = MPI_COMM_WORLD);
  ~Comm();
  Comm(Comm&& other) noexcept;
  Comm& operator=(Comm&& other) noexcept;
  Comm(const Comm&) = delete;
  Comm& operator=(const Comm&) = delete;

  MPI_Comm handle() const { return handle_; }
  int rank() const { return rank_; }
  int size() const { return size_; }
  bool is_root() const { return rank_ == 0; }

  /// The ranks with the same `colour`, ordered by their rank here. Collective.
  Comm split(int colour) const;
  /// The ranks that share memory with this one. Collective.
  Comm split_by_node() const;

  void barrier() const;

  /// `value` of rank `root`, on every rank. Collective.
  template <class T>
  T broadcast(T value, int root = 0) const {
    static_assert(std::is_trivially_copyable_v<T>);
    broadcast_bytes(&value, sizeof(T), root);
    return value;
  }
  template <class T>
  std::vector<T> broadcast(std::vector<T> values, int root = 0) const {
    static_assert(std::is_trivially_copyable_v<T>);
    values.resize(broadcast(values.size(), root));
    broadcast_bytes(values.data(), values.size() * sizeof(T), root);
    return values;
  }
  std::string broadcast(std::string text, int root = 0) const;
  /// In place; any number of bytes, which all ranks must agree on. Collective.
  void broadcast_bytes(void* data, std::size_t bytes, int root = 0) const;

  /// Reductions to every rank, element by element for vectors (which must have one length everywhere).
  /// NaN on any rank gives NaN: MPI's own MAX and MIN may lose it, and a diverged rank with it.
  /// The order of `sum` depends on the number of ranks; results that must not are gathered instead.
  double max(double value) const;
  double min(double value) const;
  double sum(double value) const;
  long max(long value) const;
  long min(long value) const;
  long sum(long value) const;
  std::vector<double> max(const std::vector<double>& values) const;
  std::vector<double> sum(const std::vector<double>& values) const;

  /// Sends to rank `to` and receives from rank `from` at once, any number of bytes; no partner where that is negative.
  /// Each side must know how many bytes come.
  void exchange_bytes(const void* data, std::size_t bytes, int to, void* incoming, std::size_t incoming_bytes,
                      int from) const;

  /// Starts to send to rank `to`, to receive from rank `from`. Messages of one pair of ranks arrive in the order they were
  /// sent in, those of `exchange_bytes` included.
  Pending start_sending(const void* data, std::size_t bytes, int to) const;
  Pending start_receiving(void* incoming, std::size_t bytes, int from) const;

  /// To every rank its part of `data`, from every rank its part of `incoming`; `bytes` by rank, the parts one after the other.
  /// Each pair of ranks must agree on their bytes; none means no message. What a rank gives itself is not counted.
  void exchange_all(const void* data, const std::vector<std::size_t>& bytes, void* incoming,
                    const std::vector<std::size_t>& incoming_bytes) const;

  /// Of the reductions over vectors, of `exchange_bytes`, `exchange_all` and of messages that were started, since this
  /// communicator was made.
  Traffic traffic() const { return traffic_; }

  /// From here on, what `traffic` counts is remembered, instead of what was before.
  void record() const { tape_.start(); }
  /// Ends that and does the same again, each rank its part, with nothing between: seconds until the last rank is through,
  /// 0 where none has anything to do, NaN where some rank's part is longer than Tape::longest. Traffic does not count it.
  /// Collective; all ranks must have recorded the same stretch, in which every message that was started arrived.
  double replay() const;

  /// One value of every rank, in rank order, on every rank. Collective.
  template <class T>
  std::vector<T> allgather(const T& value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    std::vector<T> all(static_cast<std::size_t>(size_));
    allgather_bytes(&value, all.data(), sizeof(T));
    return all;
  }
  /// The vectors of all ranks, one after the other in rank order, on rank 0; empty elsewhere. Lengths may
  /// differ, be 0, and exceed what an MPI count can say. Collective.
  template <class T>
  std::vector<T> gather(const std::vector<T>& values) const {
    static_assert(std::is_trivially_copyable_v<T> && !std::is_same_v<T, bool>);
    const std::vector<std::size_t> counts = allgather(values.size());
    std::size_t total = 0;
    std::vector<std::size_t> bytes;
    for (const std::size_t count : counts) {
      total += count;
      bytes.push_back(count * sizeof(T));
    }
    std::vector<T> all(is_root() ? total : 0);
    gather_bytes(values.data(), bytes, all.data());
    return all;
  }
  /// One string of every rank, in rank order, on rank 0; empty elsewhere. Collective.
  std::vector<std::string> gather(const std::string& text) const;

  /// Prints `message` on stderr and ends the whole job, other ranks included, with exit code `code` (1 where
  /// 0 is given). Works from any rank at any time, also while others wait in communication.
  [[noreturn]] void abort(const std::string& message, int code = 1) const;

  /// Collective: whether any rank has an error. Every rank gets nothing, or the message of the lowest rank
  /// that has one, with "rank k: " in front where there is more than one rank. So a case that throws on one
  /// rank is recorded `failed` by all, and all go on with the next one in step.
  ///
  /// Limit: the section before must hold no communication that others wait in while this rank has left it
  /// by an exception; they would wait for ever. Such sections go through `or_abort`. For the same reason an
  /// MpiError given here ends the job.
  std::optional<std::string> agree(const std::optional<std::string>& local_error) const;
  std::optional<std::string> agree(const std::exception_ptr& local_error) const;
  /// As `agree`, but throws AgreedError, on every rank, where any rank has an error. An outer `agree` on such
  /// an exception keeps its text.
  void agree_or_throw(const std::exception_ptr& local_error) const;

  /// Runs `section`, which holds no communication of its own, and agrees on what it threw. Collective.
  std::optional<std::string> attempt(const std::function<void()>& section) const;
  /// Runs `section`, which communicates; an exception on any rank ends the job with its message.
  void or_abort(const std::function<void()>& section) const;

 private:
  friend class Pending;
  struct Adopt {};
  Comm(MPI_Comm own, Adopt);
  void release() noexcept;
  std::optional<std::string> agree(const std::string* local_error, bool has_prefix) const;
  void allgather_bytes(const void* value, void* all, std::size_t bytes) const;
  void gather_bytes(const void* mine, const std::vector<std::size_t>& bytes, void* all) const;
  void add_send(Pending& pending, const void* data, std::size_t bytes, int to) const;
  void add_receive(Pending& pending, void* incoming, std::size_t bytes, int from) const;

  MPI_Comm handle_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
  mutable Traffic traffic_;
  mutable Tape tape_;
  mutable long pendings_ = 0;  ///< so many Pending were made
};

/// What() of a std::exception, a fixed sentence for anything else. `error` must not be null.
std::string message_of(const std::exception_ptr& error);

/// Runs `section` and gives what it threw, or null.
template <class Section>
std::exception_ptr caught(Section&& section) {
  try {
    section();
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

}  // namespace elkhorn::parallel
