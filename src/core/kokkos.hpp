/// The only place that knows which Kokkos this is: spaces, view types, lane width, version differences.
#pragma once

#include <Kokkos_Core.hpp>

#include <string>
#include <type_traits>

#include "core/pack.hpp"

/// Kokkos before 4.0 calls `join` of reducers and scans with volatile arguments, later ones with plain ones.
#if KOKKOS_VERSION < 30700
#define ELKHORN_JOIN_QUALIFIER volatile
#else
#define ELKHORN_JOIN_QUALIFIER
#endif

namespace elkhorn {

/// Where solvers run and where their arrays live.
using Exec = Kokkos::DefaultExecutionSpace;
using Memory = Exec::memory_space;
using HostExec = Kokkos::DefaultHostExecutionSpace;

inline constexpr bool exec_is_host = std::is_same_v<Memory, Kokkos::HostSpace>;

/// Lanes stored next to each other in a Panel. On hosts a pack of them is one or two vector registers; on GPUs
/// neighbouring threads take neighbouring lanes, so that loads coalesce.
inline constexpr int lane_width = exec_is_host ? 8 : 32;

/// What one work item of a lane-parallel kernel computes with: all lanes of a group on hosts, one lane on GPUs.
template <class Real>
using LanePack = std::conditional_t<exec_is_host, Pack<Real, lane_width>, Real>;

/// Two packs of lanes side by side, and whether they fill a register of 64 bytes or two of 32: kernels then take two steps,
/// or two components, at a time.
template <class Real>
using LanePackPair = Pack<Real, 2 * lane_width>;
template <class Real>
inline constexpr bool lane_packs_pair = exec_is_host && sizeof(Real) * 2 * lane_width == 64;

/// Work items that share one group of lanes: 1 on hosts, lane_width on GPUs.
inline constexpr int items_per_group = exec_is_host ? 1 : lane_width;

/// Kokkos::parallel_for on `Exec` over items of about `each` numbers. Where all of them are few, threads would take longer to
/// start than to finish: on hosts the calling thread takes these items.
template <class Functor>
void for_items(const char* name, long items, long each, const Functor& functor) {
  if constexpr (exec_is_host) {
    constexpr long few = 2048;
    if (items <= 1 || items * each <= few) {
      Exec().fence();
      for (long item = 0; item < items; ++item) functor(item);
      return;
    }
  }
  Kokkos::parallel_for(name, Kokkos::RangePolicy<Exec>(0, items), functor);
}

/// Time-major arrays as users see them: (time, batch, component).
template <class Real>
using Rows = Kokkos::View<Real***, Kokkos::LayoutRight, Memory>;
template <class Real>
using ConstRows = Kokkos::View<const Real***, Kokkos::LayoutRight, Memory>;
template <class Real>
using Matrix = Kokkos::View<Real**, Kokkos::LayoutRight, Memory>;
template <class Real>
using Vector = Kokkos::View<Real*, Kokkos::LayoutRight, Memory>;

/// An uninitialised view: first touched by the kernel that fills it, so that its pages land near their threads.
template <class View, class... Extents>
View make_view(const std::string& label, Extents... extents) {
  return View(Kokkos::view_alloc(Kokkos::WithoutInitializing, label), static_cast<size_t>(extents)...);
}

/// Memory of an array whose extents change from time to time: used again where it suffices, so that it is touched first once.
template <class Real>
class Reserve {
 public:
  /// An uninitialised array of that many numbers, laid out as `View`; the one before it is gone.
  template <class View, class... Extents>
  View view(const std::string& label, Extents... extents) {
    hold(label, (static_cast<size_t>(extents) * ...));
    return View(memory_.data(), static_cast<size_t>(extents)...);
  }
  /// Makes room for so many numbers without giving up what is there, if that suffices.
  void hold(const std::string& label, size_t numbers) {
    if (memory_.size() >= numbers) return;
    memory_ = Vector<Real>();  // first, so that both never exist at once
    memory_ = make_view<Vector<Real>>(label, numbers);
  }

 private:
  Vector<Real> memory_;
};

}  // namespace elkhorn
