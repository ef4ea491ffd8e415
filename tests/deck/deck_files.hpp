/// Decks and data files in a folder that goes when the test does.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

namespace elkhorn::deck {

class DeckFiles {
 public:
  DeckFiles() {
    std::string pattern = (std::filesystem::temp_directory_path() / "elkhorn-deck-XXXXXX").string();
    if (!mkdtemp(pattern.data())) throw std::runtime_error("no temporary folder: " + pattern);
    folder_ = pattern;
  }
  ~DeckFiles() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  DeckFiles(const DeckFiles&) = delete;
  DeckFiles& operator=(const DeckFiles&) = delete;

  /// Writes a file, with the folders it needs, and returns its path.
  std::string write(const std::string& name, const std::string& text) const {
    const std::filesystem::path path = folder_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    return path.string();
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

 private:
  std::filesystem::path folder_;
};

}  // namespace elkhorn::deck
