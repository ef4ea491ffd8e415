/// RAII around hwloc.
#pragma once

#include <hwloc.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace elkhorn::measure {

struct FreeTopology {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
};
using Topology = std::unique_ptr<std::remove_pointer_t<hwloc_topology_t>, FreeTopology>;

struct FreeBitmap {
  void operator()(hwloc_bitmap_t bitmap) const { hwloc_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<std::remove_pointer_t<hwloc_bitmap_t>, FreeBitmap>;

/// The machine this process is on, processors it may not use included. Throws std::runtime_error.
inline Topology load_topology() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) throw std::runtime_error("hwloc could not be initialised");
  Topology topology(raw);
  if (hwloc_topology_set_flags(raw, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) != 0 || hwloc_topology_load(raw) != 0)
    throw std::runtime_error("hwloc could not read the topology of this machine");
  return topology;
}

/// Empty. Throws std::bad_alloc.
inline Bitmap make_bitmap() {
  Bitmap bitmap(hwloc_bitmap_alloc());
  if (!bitmap) throw std::bad_alloc();
  return bitmap;
}

/// "0-3,8"; empty for the empty set.
inline std::string list_of(const Bitmap& bitmap) {
  char* raw = nullptr;
  if (hwloc_bitmap_list_asprintf(&raw, bitmap.get()) < 0 || raw == nullptr) throw std::bad_alloc();
  const std::unique_ptr<char, decltype(&std::free)> text(raw, &std::free);
  return text.get();
}

}  // namespace elkhorn::measure
