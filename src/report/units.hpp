/// Numbers as people read them: three significant digits, units that adapt, "–" where there is nothing.
#pragma once

#include <cstddef>
#include <string>

namespace elkhorn::report {

/// What stands where a value was not measured.
inline constexpr const char* none = "–";

/// "831 ns", "1.07 ms", "2.50 s", "12.4 min".
std::string time_text(double seconds);
/// "1.07 ms [1.05, 1.09]", both in the unit of the median; without brackets where there is no interval.
std::string time_interval_text(double median_s, double low_s, double high_s);
/// "12.0 MiB".
std::string memory_text(double bytes);
/// "2.31×".
std::string ratio_text(double ratio);
/// "37 %", "8.1 %", "0.032 %".
std::string share_text(double share);
/// "3.1e-06"; "0" and "inf" as such.
std::string error_text(double value);
/// "0:42", "12:05", "1:02:03".
std::string clock_text(double seconds);
/// "1e6", "0.3", "300".
std::string parameter_text(double value);

/// Columns a UTF-8 text takes on a terminal (one a code point: no wide characters are used here).
std::size_t width(const std::string& text);
std::string pad_right(const std::string& text, std::size_t columns);
std::string pad_left(const std::string& text, std::size_t columns);
/// At most `columns` wide, the end cut off with "…".
std::string shorten(const std::string& text, std::size_t columns);

}  // namespace elkhorn::report
