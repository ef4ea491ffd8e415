/// The results file: written in one go, read back whole (docs/results.md).
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/error.hpp"
#include "record/hdf5.hpp"
#include "record/result.hpp"
#include "record/schema.hpp"

namespace elkhorn::record {

/// Provenance: attributes of /meta.
using Meta = std::map<std::string, std::variant<std::string, long, double>>;

/// Where the states of a case lie when they are not in memory: a dataset [length, batch, state_dim].
struct StatesLocation {
  std::string file, dataset;
};
/// What the machine can do at most, measured in the same job: attributes and datasets of /roofs. Both empty: no such group.
struct Roofs {
  std::map<std::string, double> attributes;
  std::map<std::string, std::vector<double>> arrays;
};
/// Tells where the states of a case lie; nullopt: in CaseResult::states, or there are none.
using FindStates = std::function<std::optional<StatesLocation>(const CaseResult&)>;

/// Writes `path`.part, syncs it to disk and renames it to `path`: at no time is there a partial file under
/// the final name. Cases become /cases/000000, 000001, … in the order given. Throws Hdf5Error (disk full,
/// …, the .part file removed) or std::logic_error (arrays that do not fit their attributes).
void write_results(const std::string& path, const std::vector<CaseResult>& cases, const Meta& meta,
                   const std::string& deck_text, const FindStates& find_states = {}, const Roofs& roofs = {});

struct Results {
  std::string version;  ///< format_version
  std::string created;  ///< UTC, ISO 8601
  Meta meta;
  std::string deck_text;
  Roofs roofs;
  std::vector<CaseResult> cases;  ///< index is the position in the file
};

/// Reads a results file; states only where asked. InputError where it is not a complete results file.
Results read_results(const std::string& path, const Origin& origin, bool with_states = false);

// Pieces shared with the journal, the recorder and `check`.

/// std::logic_error where an array of the case does not have the size its attributes say.
void require_consistent(const CaseResult& result);
/// A dataset `path` of `location` for the states of a case; 32 bits where the precision is float32.
Dataset create_states(hid_t location, const std::string& path, const CaseResult& result);
/// The states that a case holds, there.
void write_states(hid_t location, const std::string& path, const CaseResult& result);
/// The attributes of /meta that are single values.
Meta read_meta(hid_t group);
/// Of a file of that format version: attributes that came later keep their defaults.
void read_case_attributes(hid_t group, CaseResult& result, const std::string& version = format_version);
/// Arrays but states; the attributes must have been read.
void read_case_arrays(hid_t group, CaseResult& result);
/// /summary, for comparing with the attributes: read once, for HDF5 takes long to pick a column out of a table this wide.
class Summary {
 public:
  /// Hdf5Error where it is no table of numbers and fixed-length text.
  explicit Summary(hid_t file);
  /// A column in row order: as text, or as numbers (flags are 0 and 1). Hdf5Error where there is none of the kind.
  void column(const std::string& name, std::vector<std::string>& values) const;
  void column(const std::string& name, std::vector<double>& values) const;

 private:
  unsigned member(const std::string& name) const;
  /// The values of a member, each at the start of `width` bytes.
  std::vector<char> values_of(unsigned member, std::size_t width) const;

  Dataset dataset_;
  Datatype row_;
  std::vector<char> bytes_;  ///< the rows as they lie in the file
};
/// More bytes than the states of a case take on disk.
double states_size_bound(const CaseResult& result);
/// Reserves room for a file about to be written (created if need be, its size unchanged); throws
/// std::runtime_error where there is none. HDF5 1.10 can crash when a write fails half-way, and the reason would
/// be lost; so a full disk is found before HDF5 begins.
void reserve(const std::string& path, double bytes);
/// "000042"
std::string group_name(long index);
/// Writes what the kernel still buffers of `path` to disk; throws std::runtime_error.
void sync_file(const std::string& path);
/// The same for the directory entry of `path` after a rename or removal.
void sync_parent(const std::string& path);

}  // namespace elkhorn::record
