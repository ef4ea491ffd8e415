#include "parallel/comm.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <unordered_map>
#include <utility>

#if defined(OPEN_MPI) && OPEN_MPI
#include <mpi-ext.h>
#endif

namespace elkhorn::parallel {

namespace {

/// MPI counts are int: longer messages go in pieces of this many bytes.
constexpr std::size_t piece_bytes = std::size_t{1} << 30;
constexpr int gather_tag = 1, exchange_tag = 2;

template <class Send>
void in_pieces(void* data, std::size_t bytes, Send&& send) {
  char* at = static_cast<char*>(data);
  for (std::size_t done = 0; done < bytes; done += piece_bytes)
    send(at + done, static_cast<int>(std::min(piece_bytes, bytes - done)));
}

/// Whether the ranks of some host wait for each other on too few processors; see Session. The same on all ranks, for a
/// collective that blocks on one rank does not match its twin on another.
bool crowded = false;

/// Whether any host has more ranks than hardware threads that they may run on. Collective.
bool ranks_share_processors() {
  MPI_Comm host = MPI_COMM_NULL;
  check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host), "MPI_Comm_split_type");
  int ranks = 0, known = 0;
  check(MPI_Comm_size(host, &ranks), "MPI_Comm_size");
  std::array<unsigned char, 1024> allowed{};  // 8192 hardware threads
  known = sched_getaffinity(0, allowed.size(), reinterpret_cast<cpu_set_t*>(allowed.data())) == 0;
  check(MPI_Allreduce(MPI_IN_PLACE, &known, 1, MPI_INT, MPI_MIN, host), "MPI_Allreduce");
  check(MPI_Allreduce(MPI_IN_PLACE, allowed.data(), static_cast<int>(allowed.size()), MPI_BYTE, MPI_BOR, host),
        "MPI_Allreduce");
  check(MPI_Comm_free(&host), "MPI_Comm_free");
  int processors = 0;
  for (const unsigned char eight : allowed)
    for (int bit = 0; bit < 8; ++bit) processors += eight >> bit & 1;
  int too_few = known != 0 && ranks > processors;
  check(MPI_Allreduce(MPI_IN_PLACE, &too_few, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD), "MPI_Allreduce");
  return too_few != 0;
}

void wait_for(int count, MPI_Request* requests) {
  if (!crowded) return check(MPI_Waitall(count, requests, MPI_STATUSES_IGNORE), "MPI_Waitall");
  for (int done = 0;;) {
    check(MPI_Testall(count, requests, &done, MPI_STATUSES_IGNORE), "MPI_Testall");
    if (done) return;
    sched_yield();
  }
}

/// A collective operation, as its twin that does not block where waiting is to leave the processor to others.
template <class Collective, class Twin, class... Arguments>
void together(const char* name, Collective collective, Twin twin, MPI_Comm comm, Arguments... arguments) {
  if (!crowded) return check(collective(arguments..., comm), name);
  MPI_Request request = MPI_REQUEST_NULL;
  check(twin(arguments..., comm, &request), name);
  wait_for(1, &request);
}

template <class T>
void reduce(MPI_Comm comm, T* values, std::size_t count, MPI_Datatype type, MPI_Op op) {
  together("MPI_Allreduce", MPI_Allreduce, MPI_Iallreduce, comm, MPI_IN_PLACE, values, static_cast<int>(count), type,
           op);
}
template <class T>
T reduce(MPI_Comm comm, T value, MPI_Datatype type, MPI_Op op) {
  reduce(comm, &value, 1, type, op);
  return value;
}

/// Adds the time of its life to what a rank spends on communication.
class Clock {
 public:
  explicit Clock(Traffic& traffic) : traffic_(traffic) {}
  ~Clock() { traffic_.seconds += std::chrono::duration<double>(Now::now() - since_).count(); }
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;

 private:
  using Now = std::chrono::steady_clock;
  Traffic& traffic_;
  Now::time_point since_ = Now::now();
};

}  // namespace

void check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
  throw MpiError(std::string(call) + " failed: " +
                 (length > 0 ? std::string(text, static_cast<std::size_t>(length)) : "error " + std::to_string(code)));
}

Session::Session(int& argc, char**& argv) {
  int initialised = 0;
  check(MPI_Initialized(&initialised), "MPI_Initialized");
  int provided = MPI_THREAD_SINGLE;
  if (initialised) {
    check(MPI_Query_thread(&provided), "MPI_Query_thread");
  } else {
    check(MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    owner_ = true;
  }
  if (provided < MPI_THREAD_FUNNELED) {
    if (owner_) MPI_Finalize();
    throw MpiError("this MPI library offers no MPI_THREAD_FUNNELED, which threads inside a rank need");
  }
  crowded = ranks_share_processors();
}

Session::~Session() {
  int finalised = 0;
  MPI_Finalized(&finalised);
  if (owner_ && !finalised) MPI_Finalize();
}

bool reads_device_memory() {
  if (const char* said = std::getenv("ELKHORN_GPU_AWARE_MPI")) return std::string(said) == "1";
#if defined(MPIX_CUDA_AWARE_SUPPORT)  // Open MPI
  return MPIX_Query_cuda_support() == 1;
#elif defined(MPIX_GPU_SUPPORT_CUDA)  // MPICH since 4.0
  int supported = 0;
  for (const int kind : {MPIX_GPU_SUPPORT_CUDA, MPIX_GPU_SUPPORT_HIP}) {
    int here = 0;
    if (MPIX_GPU_query_support(kind, &here) == MPI_SUCCESS) supported |= here;
  }
  return supported != 0;
#else
  const char* cray = std::getenv("MPICH_GPU_SUPPORT_ENABLED");
  return cray && std::string(cray) == "1";
#endif
}

Comm::Comm(MPI_Comm parent) {
  MPI_Comm own = MPI_COMM_NULL;
  check(MPI_Comm_dup(parent, &own), "MPI_Comm_dup");
  *this = Comm(own, Adopt{});
}

Comm::Comm(MPI_Comm own, Adopt) : handle_(own) {
  try {
    check(MPI_Comm_set_errhandler(handle_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    check(MPI_Comm_rank(handle_, &rank_), "MPI_Comm_rank");
    check(MPI_Comm_size(handle_, &size_), "MPI_Comm_size");
  } catch (...) {
    release();
    throw;
  }
}

Comm::~Comm() { release(); }

void Comm::release() noexcept {
  if (handle_ == MPI_COMM_NULL) return;
  int finalised = 0;
  MPI_Finalized(&finalised);
  if (!finalised) MPI_Comm_free(&handle_);
  handle_ = MPI_COMM_NULL;
}

Comm::Comm(Comm&& other) noexcept
    : handle_(std::exchange(other.handle_, MPI_COMM_NULL)),
      rank_(other.rank_),
      size_(other.size_),
      traffic_(other.traffic_),
      tape_(std::move(other.tape_)),
      pendings_(other.pendings_) {}

Comm& Comm::operator=(Comm&& other) noexcept {
  if (this != &other) {
    release();
    handle_ = std::exchange(other.handle_, MPI_COMM_NULL);
    rank_ = other.rank_;
    size_ = other.size_;
    traffic_ = other.traffic_;
    tape_ = std::move(other.tape_);
    pendings_ = other.pendings_;
  }
  return *this;
}

Comm Comm::split(int colour) const {
  MPI_Comm part = MPI_COMM_NULL;
  check(MPI_Comm_split(handle_, colour, rank_, &part), "MPI_Comm_split");
  return Comm(part, Adopt{});
}

Comm Comm::split_by_node() const {
  MPI_Comm part = MPI_COMM_NULL;
  check(MPI_Comm_split_type(handle_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &part), "MPI_Comm_split_type");
  return Comm(part, Adopt{});
}

void Comm::barrier() const { together("MPI_Barrier", MPI_Barrier, MPI_Ibarrier, handle_); }

void Comm::broadcast_bytes(void* data, std::size_t bytes, int root) const {
  in_pieces(data, bytes, [&](void* piece, int count) {
    together("MPI_Bcast", MPI_Bcast, MPI_Ibcast, handle_, piece, count, MPI_BYTE, root);
  });
}

std::string Comm::broadcast(std::string text, int root) const {
  text.resize(broadcast(text.size(), root));
  broadcast_bytes(text.data(), text.size(), root);
  return text;
}

std::vector<double> Comm::max(const std::vector<double>& values) const {
  const Clock clock(traffic_);
  tape_.add({Tape::What::max, -1, values.size(), 0});
  // Second half: 1 where NaN, so that NaN survives whatever MPI_MAX does with it.
  const std::size_t n = values.size();
  std::vector<double> both(2 * n);
  for (std::size_t i = 0; i < n; ++i) {
    const bool nan = std::isnan(values[i]);
    both[i] = nan ? -std::numeric_limits<double>::infinity() : values[i];
    both[n + i] = nan ? 1 : 0;
  }
  reduce(handle_, both.data(), 2 * n, MPI_DOUBLE, MPI_MAX);
  ++traffic_.messages;
  traffic_.bytes += static_cast<long>(2 * n * sizeof(double));
  for (std::size_t i = 0; i < n; ++i)
    if (both[n + i] > 0) both[i] = std::numeric_limits<double>::quiet_NaN();
  both.resize(n);
  return both;
}

std::vector<double> Comm::sum(const std::vector<double>& values) const {
  const Clock clock(traffic_);
  tape_.add({Tape::What::sum, -1, values.size(), 0});
  std::vector<double> out = values;
  reduce(handle_, out.data(), out.size(), MPI_DOUBLE, MPI_SUM);
  ++traffic_.messages;
  traffic_.bytes += static_cast<long>(out.size() * sizeof(double));
  return out;
}

double Comm::max(double value) const { return max(std::vector<double>{value})[0]; }
double Comm::min(double value) const { return -max(-value); }
double Comm::sum(double value) const { return reduce(handle_, value, MPI_DOUBLE, MPI_SUM); }
long Comm::max(long value) const { return reduce(handle_, value, MPI_LONG, MPI_MAX); }
long Comm::min(long value) const { return reduce(handle_, value, MPI_LONG, MPI_MIN); }
long Comm::sum(long value) const { return reduce(handle_, value, MPI_LONG, MPI_SUM); }

void Comm::add_send(Pending& pending, const void* data, std::size_t bytes, int to) const {
  const Clock clock(traffic_);
  tape_.add({Tape::What::send, to, bytes, pending.number_});
  in_pieces(const_cast<void*>(data), bytes, [&](void* piece, int count) {
    check(MPI_Isend(piece, count, MPI_BYTE, to, exchange_tag, handle_, &pending.requests_.emplace_back()), "MPI_Isend");
  });
  ++traffic_.messages;
  traffic_.bytes += static_cast<long>(bytes);
}

void Comm::add_receive(Pending& pending, void* incoming, std::size_t bytes, int from) const {
  const Clock clock(traffic_);
  tape_.add({Tape::What::receive, from, bytes, pending.number_});
  in_pieces(incoming, bytes, [&](void* piece, int count) {
    check(MPI_Irecv(piece, count, MPI_BYTE, from, exchange_tag, handle_, &pending.requests_.emplace_back()),
          "MPI_Irecv");
  });
}

void Comm::exchange_bytes(const void* data, std::size_t bytes, int to, void* incoming, std::size_t incoming_bytes,
                          int from) const {
  // All at once, and the longest wait last: nobody's send waits for a receive that comes later.
  Pending pending(*this);
  if (from >= 0) add_receive(pending, incoming, incoming_bytes, from);
  if (to >= 0) add_send(pending, data, bytes, to);
  pending.wait();
}

void Comm::exchange_all(const void* data, const std::vector<std::size_t>& bytes, void* incoming,
                        const std::vector<std::size_t>& incoming_bytes) const {
  Pending pending(*this);
  char* to = static_cast<char*>(incoming);
  for (int rank = 0; rank < size_; ++rank) {
    const std::size_t count = incoming_bytes[static_cast<std::size_t>(rank)];
    add_receive(pending, to, count, rank);
    to += count;
  }
  const char* from = static_cast<const char*>(data);
  for (int rank = 0; rank < size_; ++rank) {
    const std::size_t count = bytes[static_cast<std::size_t>(rank)];
    if (count > 0) add_send(pending, from, count, rank);
    from += count;
  }
  if (bytes[static_cast<std::size_t>(rank_)] > 0) {
    traffic_.messages -= 1;
    traffic_.bytes -= static_cast<long>(bytes[static_cast<std::size_t>(rank_)]);
  }
  pending.wait();
}

Pending Comm::start_sending(const void* data, std::size_t bytes, int to) const {
  Pending pending(*this);
  add_send(pending, data, bytes, to);
  return pending;
}

Pending Comm::start_receiving(void* incoming, std::size_t bytes, int from) const {
  Pending pending(*this);
  add_receive(pending, incoming, bytes, from);
  return pending;
}

double Comm::replay() const {
  tape_.stop();
  const long worth = max(tape_.complete() ? long{!tape_.events().empty()} : 2);
  if (worth != 1) return worth == 0 ? 0 : std::numeric_limits<double>::quiet_NaN();
  struct Again {
    Pending pending;
    std::vector<std::vector<char>> arrived;  // each message its own memory, as MPI wants it
  };
  std::unordered_map<long, Again> under_way;
  std::size_t longest = 0;
  for (const Tape::Event& event : tape_.events())
    if (event.what == Tape::What::send) longest = std::max(longest, event.size);
  const std::vector<char> sent(longest);
  const Traffic before = traffic_;
  barrier();
  const auto start = std::chrono::steady_clock::now();
  for (const Tape::Event& event : tape_.events()) {
    const auto again = [&]() -> Again& {
      return under_way.try_emplace(event.pending, Again{Pending(*this), {}}).first->second;
    };
    switch (event.what) {
      case Tape::What::max: max(std::vector<double>(event.size)); break;
      case Tape::What::sum: sum(std::vector<double>(event.size)); break;
      case Tape::What::send: add_send(again().pending, sent.data(), event.size, event.peer); break;
      case Tape::What::receive: {
        Again& mine = again();
        mine.arrived.emplace_back(event.size);
        add_receive(mine.pending, mine.arrived.back().data(), event.size, event.peer);
        break;
      }
      case Tape::What::wait:
        again().pending.wait();
        under_way.erase(event.pending);
        break;
    }
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double slowest = max(seconds);
  traffic_ = before;
  return slowest;
}

Pending::Pending(const Comm& comm) : comm_(&comm), number_(comm.pendings_++) {}

Pending& Pending::operator=(Pending&& other) noexcept {
  if (this != &other) {
    give_up();
    comm_ = std::exchange(other.comm_, nullptr);
    number_ = other.number_;
    requests_ = std::exchange(other.requests_, {});
  }
  return *this;
}

void Pending::wait() {
  if (requests_.empty()) return;
  const Clock clock(comm_->traffic_);
  comm_->tape_.add({Tape::What::wait, -1, 0, number_});
  wait_for(static_cast<int>(requests_.size()), requests_.data());
  requests_.clear();
}

/// After an error: whoever waits for these messages is told otherwise.
void Pending::give_up() noexcept {
  for (MPI_Request& request : requests_)
    if (request != MPI_REQUEST_NULL) MPI_Request_free(&request);
  requests_.clear();
}

void Comm::allgather_bytes(const void* value, void* all, std::size_t bytes) const {
  const int count = static_cast<int>(bytes);
  together("MPI_Allgather", MPI_Allgather, MPI_Iallgather, handle_, value, count, MPI_BYTE, all, count, MPI_BYTE);
}

void Comm::gather_bytes(const void* mine, const std::vector<std::size_t>& bytes, void* all) const {
  // Point to point rather than MPI_Gatherv, whose displacements are int as well.
  if (!is_root()) {
    // MPI-3 takes const buffers; in_pieces is shared with the broadcast, which writes.
    in_pieces(const_cast<void*>(mine), bytes[static_cast<std::size_t>(rank_)], [&](void* piece, int count) {
      MPI_Request request = MPI_REQUEST_NULL;
      check(MPI_Isend(piece, count, MPI_BYTE, 0, gather_tag, handle_, &request), "MPI_Isend");
      wait_for(1, &request);
    });
    return;
  }
  char* at = static_cast<char*>(all);
  if (bytes[0] > 0) std::copy_n(static_cast<const char*>(mine), bytes[0], at);
  at += bytes[0];
  for (int from = 1; from < size_; ++from) {
    const std::size_t length = bytes[static_cast<std::size_t>(from)];
    in_pieces(at, length, [&](void* piece, int count) {
      MPI_Request request = MPI_REQUEST_NULL;
      check(MPI_Irecv(piece, count, MPI_BYTE, from, gather_tag, handle_, &request), "MPI_Irecv");
      wait_for(1, &request);
    });
    at += length;
  }
}

std::vector<std::string> Comm::gather(const std::string& text) const {
  const std::vector<std::size_t> lengths = allgather(text.size());
  const std::vector<char> all = gather(std::vector<char>(text.begin(), text.end()));
  std::vector<std::string> texts;
  if (!is_root()) return texts;
  std::size_t at = 0;
  for (const std::size_t length : lengths) {
    texts.emplace_back(all.data() + at, length);
    at += length;
  }
  return texts;
}

void Comm::abort(const std::string& message, int code) const {
  const std::string who = size_ > 1 ? "elkhorn: rank " + std::to_string(rank_) + ": " : "elkhorn: ";
  std::fflush(stdout);
  std::fprintf(stderr, "%s%s\n", who.c_str(), message.c_str());
  std::fflush(stderr);
  MPI_Abort(MPI_COMM_WORLD, code == 0 ? 1 : code);
  std::_Exit(code == 0 ? 1 : code);  // MPI_Abort may return
}

std::optional<std::string> Comm::agree(const std::string* local_error, bool has_prefix) const {
  const int first = reduce(handle_, local_error ? rank_ : size_, MPI_INT, MPI_MIN);
  if (first == size_) return std::nullopt;
  std::string message;
  if (local_error && first == rank_) {
    if (size_ > 1 && !has_prefix) message = "rank " + std::to_string(rank_) + ": ";
    message += *local_error;
  }
  return broadcast(std::move(message), first);
}

std::optional<std::string> Comm::agree(const std::optional<std::string>& local_error) const {
  return agree(local_error ? &*local_error : nullptr, false);
}

std::optional<std::string> Comm::agree(const std::exception_ptr& local_error) const {
  if (!local_error) return agree(nullptr, false);
  bool has_prefix = false;
  try {
    std::rethrow_exception(local_error);
  } catch (const MpiError& error) {
    abort(error.what());
  } catch (const AgreedStop&) {
    throw;
  } catch (const AgreedError&) {
    has_prefix = true;
  } catch (...) {
  }
  const std::string message = message_of(local_error);
  return agree(&message, has_prefix);
}

void Comm::agree_or_throw(const std::exception_ptr& local_error) const {
  if (const std::optional<std::string> message = agree(local_error)) throw AgreedError(*message);
}

std::optional<std::string> Comm::attempt(const std::function<void()>& section) const { return agree(caught(section)); }

void Comm::or_abort(const std::function<void()>& section) const {
  if (const std::exception_ptr error = caught(section)) abort(message_of(error));
}

std::string message_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& known) {
    return known.what();
  } catch (...) {
    return "an error that is no std::exception";
  }
}

}  // namespace elkhorn::parallel
