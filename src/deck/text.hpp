/// Small text helpers of the deck reader: one-line messages, numbers as people write them, suggestions.
#pragma once

#include <string>
#include <vector>

#include "core/error.hpp"

namespace elkhorn::deck {

/// Throws an InputError whose message is one line whatever the user's text holds.
[[noreturn]] void fail(const Origin& where, const std::string& sentence);

/// The shortest decimal text that reads back as the same double: 1e6, 0.05, 300.
std::string number_text(double value);

/// A TOML basic string, quoted and escaped.
std::string in_quotes(const std::string& text);

/// `"a", "b" or "c"`.
std::string alternatives(const std::vector<std::string>& words);

/// The candidate nearest to a mistyped word, or "" where none is near enough to suggest.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

/// ` (did you mean "x"?)`, or "" where nothing is near.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace elkhorn::deck
