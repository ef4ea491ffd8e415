/// Views between the ranks of a time line: straight from device memory where MPI reads that, through host memory elsewhere.
#pragma once

#include "core/kokkos.hpp"
#include "parallel/time_line.hpp"

namespace elkhorn::parallel {

/// Where MPI finds the numbers of a contiguous view.
template <class View>
class Mailbox {
 public:
  explicit Mailbox(const View& view) : view_(view) {
    if (!direct()) host_ = Kokkos::create_mirror_view(view);
  }
  auto* data() const { return direct() ? view_.data() : host_.data(); }
  std::size_t bytes() const { return view_.size() * sizeof(typename View::value_type); }
  /// What kernels have left in the view is on its way only after this.
  void fill() const {
    if (!direct()) Kokkos::deep_copy(Exec(), host_, view_);
    Exec().fence();
  }
  /// And what has arrived, there.
  void empty() const {
    if (direct()) return;
    Kokkos::deep_copy(Exec(), view_, host_);
    Exec().fence();
  }

 private:
  static bool direct() {
    static const bool device_memory = reads_device_memory();
    return exec_is_host || device_memory;
  }
  View view_;
  decltype(Kokkos::create_mirror_view(std::declval<const View&>())) host_;
};

/// A view's numbers on their way to the next rank, if there is one; the view is to stay as it is until they have left.
template <class View>
class Departure {
 public:
  Departure(const TimeLine& line, const View& view) : box_(view) {
    if (!line.has_next()) return;
    box_.fill();
    pending_ = line.start_sending(box_.data(), box_.bytes());
  }
  void wait() { pending_.wait(); }

 private:
  Mailbox<View> box_;
  Pending pending_;
};

/// What the previous rank sends, if there is one: in the view after `wait`.
template <class View>
class Arrival {
 public:
  Arrival(const TimeLine& line, const View& view)
      : box_(view), pending_(line.start_receiving(box_.data(), box_.bytes())), comes_(line.has_previous()) {}
  void wait() {
    pending_.wait();
    if (comes_) box_.empty();
  }

 private:
  Mailbox<View> box_;
  Pending pending_;
  bool comes_;
};

/// Sends one view to the next rank and receives another from the previous one.
template <class View>
void shift(const TimeLine& line, const View& sent, const View& received) {
  Arrival<View> arrival(line, received);
  Departure<View> departure(line, sent);
  departure.wait();
  arrival.wait();
}

}  // namespace elkhorn::parallel
