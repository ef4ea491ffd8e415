#include "deck/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace elkhorn::deck {
namespace {

std::string one_line(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return text;
}

/// Levenshtein distance, ignoring case, and `-` for `_`.
size_t distance(const std::string& a, const std::string& b) {
  const auto fold = [](char c) { return c == '-' ? '_' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (fold(a[i - 1]) == fold(b[j - 1]) ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

}  // namespace

void fail(const Origin& where, const std::string& sentence) {
  throw InputError(Origin{one_line(where.file), one_line(where.key), where.line}, one_line(sentence));
}

std::string number_text(double value) {
  std::string plain = fmt::format("{}", value);
  std::string scientific;
  for (int digits = 0; digits < 17; ++digits) {
    scientific = fmt::format("{:.{}e}", value, digits);
    if (std::strtod(scientific.c_str(), nullptr) == value) break;
  }
  // "1e+06" → "1e6", "1e-04" → "1e-4"; NaN and the infinities have no exponent and stay as they are.
  const size_t e = scientific.find('e');
  if (e == std::string::npos) return plain;
  std::string exponent = scientific.substr(e + 1);
  const bool negative = exponent[0] == '-';
  exponent.erase(0, exponent.find_first_not_of("+-0"));
  if (exponent.empty()) return plain;
  scientific = scientific.substr(0, e) + (negative ? "e-" : "e") + exponent;
  return scientific.size() < plain.size() ? scientific : plain;
}

std::string in_quotes(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string alternatives(const std::vector<std::string>& words) {
  std::string out;
  for (size_t i = 0; i < words.size(); ++i)
    out += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + in_quotes(words[i]);
  return out;
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  std::string best;
  // A third of the letters may be wrong: "lenght" is a mistyped key, "foo" is something else altogether.
  size_t best_distance = std::max<size_t>(word.size() / 3, 1) + 1;
  for (const std::string& candidate : candidates) {
    const size_t d = distance(word, candidate);
    if (d < best_distance) {
      best_distance = d;
      best = candidate;
    }
  }
  return best;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string best = nearest(word, candidates);
  return best.empty() ? "" : " (did you mean " + in_quotes(best) + "?)";
}

}  // namespace elkhorn::deck
