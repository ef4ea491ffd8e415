#include "report/units.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace elkhorn::report {
namespace {

struct Unit {
  const char* name;
  double size;
};

constexpr std::array<Unit, 5> time_units = {{{"ns", 1e-9}, {"µs", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"min", 60}}};
constexpr std::array<Unit, 5> memory_units = {
    {{"B", 1}, {"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"TiB", 1099511627776.0}}};

/// Three significant digits without an exponent: 1.07, 10.7, 107.
std::string digits(double value) {
  const double size = std::abs(value);
  const int decimals = size < 9.995 ? 2 : size < 99.95 ? 1 : 0;
  char text[48];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

/// The largest unit the value fills, allowing for rounding: 999.6 µs is 1.00 ms.
template <class Units>
const Unit& unit_of(double value, const Units& units, double full) {
  const Unit* unit = units.data();
  for (const Unit& larger : units)
    if (value >= larger.size * full) unit = &larger;
  return *unit;
}

/// Minutes only from 10 on: 90.0 s says more than 1.50 min.
const Unit& time_unit(double seconds) {
  return seconds >= 600 ? time_units.back() : unit_of(std::min(seconds, 9.0), time_units, 0.9995);
}

}  // namespace

std::string time_text(double seconds) {
  if (!std::isfinite(seconds)) return none;
  const Unit& unit = time_unit(seconds);
  return digits(seconds / unit.size) + " " + unit.name;
}

std::string time_interval_text(double median_s, double low_s, double high_s) {
  if (!std::isfinite(median_s)) return none;
  std::string text = time_text(median_s);
  const double size = time_unit(median_s).size;
  if (std::isfinite(low_s) && std::isfinite(high_s))
    text += " [" + digits(low_s / size) + ", " + digits(high_s / size) + "]";
  return text;
}

std::string memory_text(double bytes) {
  if (!std::isfinite(bytes) || bytes < 0) return none;
  const Unit& unit = unit_of(bytes, memory_units, 0.9995);
  if (unit.size == 1) return std::to_string(static_cast<long>(std::lround(bytes))) + " B";
  return digits(bytes / unit.size) + " " + unit.name;
}

std::string ratio_text(double ratio) {
  if (!std::isfinite(ratio)) return none;
  if (ratio >= 0.01) return digits(ratio) + "×";
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", ratio);
  return std::string(text) + "×";
}

std::string share_text(double share) {
  if (!std::isfinite(share)) return none;
  char text[48];
  std::snprintf(text, sizeof text, share >= 0.0995 ? "%.0f %%" : "%.2g %%", 100 * share);
  return text;
}

std::string error_text(double value) {
  if (std::isnan(value)) return none;
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  if (value == 0) return "0";
  char text[32];
  std::snprintf(text, sizeof text, "%.1e", value);
  return text;
}

std::string clock_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return none;
  const long total = std::lround(seconds);
  char text[48];
  if (total >= 3600)
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", total / 3600, total / 60 % 60, total % 60);
  else
    std::snprintf(text, sizeof text, "%ld:%02ld", total / 60, total % 60);
  return text;
}

std::string parameter_text(double value) {
  if (!std::isfinite(value)) return none;
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  const double magnitude = std::log10(std::abs(value));
  const double rounded = std::round(magnitude);
  // Powers of ten from 1e4 on, and below 1e-3, as decks write them.
  if (value > 0 && (rounded >= 4 || rounded <= -4) && std::abs(value / std::pow(10, rounded) - 1) < 1e-12)
    return "1e" + std::to_string(static_cast<long>(rounded));
  return text;
}

std::size_t width(const std::string& text) {
  std::size_t columns = 0;
  for (const char c : text)
    if ((static_cast<unsigned char>(c) & 0xC0U) != 0x80U) ++columns;
  return columns;
}

std::string pad_right(const std::string& text, std::size_t columns) {
  const std::size_t now = width(text);
  return now < columns ? text + std::string(columns - now, ' ') : text;
}

std::string pad_left(const std::string& text, std::size_t columns) {
  const std::size_t now = width(text);
  return now < columns ? std::string(columns - now, ' ') + text : text;
}

std::string shorten(const std::string& text, std::size_t columns) {
  if (width(text) <= columns) return text;
  std::string out;
  std::size_t taken = 0;
  for (const char c : text) {
    const bool starts = (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
    if (starts && ++taken >= columns) break;
    out += c;
  }
  return columns == 0 ? "" : out + "…";
}

}  // namespace elkhorn::report
