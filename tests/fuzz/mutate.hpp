/// Damaged inputs for the fuzz driver, all from a seeded generator: one number reproduces an input.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace elkhorn::fuzz {

/// SplitMix64 behind the interface of the standard's generators; cheap to seed, as every input has a seed of its own.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }
  /// 0 … n − 1; 0 where n is 0.
  std::size_t below(std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>((*this)() % n); }
  bool one_in(std::size_t n) { return below(n) == 0; }
  template <class T>
  const T& pick(const std::vector<T>& all) {
    return all[below(all.size())];
  }

 private:
  std::uint64_t state_;
};

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

inline std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

/// Values that readers get wrong: limits of types, other types, nesting, quoting, escapes, code points, paths.
inline const std::vector<std::string>& difficult_values() {
  static const std::vector<std::string> all = {"0",
                                               "-1",
                                               "1e308",
                                               "-1e308",
                                               "1e-320",
                                               "-0.0",
                                               "nan",
                                               "-nan",
                                               "inf",
                                               "-inf",
                                               "9223372036854775807",
                                               "-9223372036854775808",
                                               "9223372036854775808",
                                               "18446744073709551615",
                                               "0x7fffffff",
                                               "0b1",
                                               "0o17",
                                               "1_000",
                                               "2147483648",
                                               "1e400",
                                               "true",
                                               "[]",
                                               "[[]]",
                                               "[1, [2]]",
                                               "{}",
                                               "{ min = 1 }",
                                               "{ min = 9, max = 1 }",
                                               "{ absolute = -1 }",
                                               "{ absolute = { absolute = 1 } }",
                                               "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]",
                                               "[1, 1, 1, 1, 1, 1, 1, 1]",
                                               "[\"deer\", \"elk\", 3]",
                                               "\"\"",
                                               "\"\\u0000\"",
                                               "\"\\uD800\"",
                                               "\"\\U0010FFFF\"",
                                               "\"adaptive\"",
                                               "\"auto\"",
                                               "\"full\"",
                                               "\"residual\"",
                                               "\"float64\"",
                                               "\"random\"",
                                               "\"none\"",
                                               "\"previous\"",
                                               "\"weights.h5:/\"",
                                               "\":/\"",
                                               "\"../../../etc/passwd:/x\"",
                                               "\"/dev/zero:/x\"",
                                               "\"/proc/self/mem:/x\"",
                                               "\"argru_weights.h5:/\"",
                                               "'''\n'''",
                                               "\"\"\"\n\"\"\"",
                                               "1979-05-27T07:32:00Z",
                                               "07:32:00",
                                               "1979-05-27",
                                               "\"(((((((((((((((((((((((((a*)*)*)*)*)*)*\"",
                                               "\"(\"",
                                               "\".*.*.*.*.*.*.*x\"",
                                               "\"[[:alpha:]\"",
                                               "\"a{1000}{1000}\""};
  return all;
}

/// One damage to a text, small or large.
inline void damage_text(std::string& text, const std::vector<std::string>& corpus, Random& random) {
  const auto position = [&] { return random.below(text.size() + 1); };
  std::vector<std::string> lines;
  switch (random.below(14)) {
    case 0:  // a byte
      if (!text.empty()) text[random.below(text.size())] = static_cast<char>(random());
      break;
    case 1:  // some bytes more
      text.insert(position(), std::string(1 + random.below(random.one_in(50) ? 5000 : 4), static_cast<char>(random())));
      break;
    case 2: {  // some less
      const std::size_t at = position();
      text.erase(at, random.below(random.one_in(4) ? text.size() : 8));
      break;
    }
    case 3: {  // a piece twice, often many times
      const std::size_t at = position(), size = random.below(std::min<std::size_t>(text.size() - at, 64) + 1);
      const std::string piece = text.substr(at, size);
      for (std::size_t i = random.one_in(20) ? random.below(200) : 1; i > 0; --i) text.insert(at, piece);
      break;
    }
    case 4: {  // a piece of another deck
      const std::string& other = random.pick(corpus);
      const std::size_t at = random.below(other.size());
      text.insert(position(), other.substr(at, random.below(200)));
      break;
    }
    case 5: {  // structure characters
      static const std::string marks = "[]{}=\"'#,.\n\\\t -+_";
      text.insert(position(), 1, marks[random.below(marks.size())]);
      break;
    }
    case 6:
    case 7:
    case 8: {  // another value for a key
      lines = lines_of(text);
      std::string& line = lines[random.below(lines.size())];
      const std::size_t equals = line.find('=');
      if (equals != std::string::npos) line = line.substr(0, equals + 1) + " " + random.pick(difficult_values());
      text = joined(lines);
      break;
    }
    case 9: {  // a line twice, or elsewhere
      lines = lines_of(text);
      const std::string line = random.pick(lines);
      lines.insert(lines.begin() + static_cast<long>(random.below(lines.size() + 1)), line);
      text = joined(lines);
      break;
    }
    case 10:  // a line less
      lines = lines_of(text);
      lines.erase(lines.begin() + static_cast<long>(random.below(lines.size())));
      text = joined(lines);
      break;
    case 11: {  // a line of another deck
      lines = lines_of(text);
      lines.insert(lines.begin() + static_cast<long>(random.below(lines.size() + 1)),
                   random.pick(lines_of(random.pick(corpus))));
      text = joined(lines);
      break;
    }
    case 12: {  // two lines change places
      lines = lines_of(text);
      std::swap(lines[random.below(lines.size())], lines[random.below(lines.size())]);
      text = joined(lines);
      break;
    }
    default: {  // deep nesting
      static const std::vector<std::string> brackets = {"[", "{ a = ", "(", "a.", "[[", "\""};
      const std::string& open = random.pick(brackets);
      std::string nest;
      for (std::size_t i = random.below(random.one_in(100) ? 20000 : 50); i > 0; --i) nest += open;
      text.insert(position(), nest);
    }
  }
}

/// `text` after one to eight damages; most inputs stay close to something a reader accepts.
inline std::string damaged_text(std::string text, const std::vector<std::string>& corpus, Random& random) {
  std::size_t damages = 1;
  while (damages < 8 && !random.one_in(2)) ++damages;
  for (; damages > 0; --damages) damage_text(text, corpus, random);
  return text;
}

/// Damage to the bytes of a binary file: bits, words set to limits, pieces moved, the end cut off.
inline std::string damaged_bytes(std::string bytes, Random& random) {
  std::size_t damages = 1;
  while (damages < 16 && !random.one_in(3)) ++damages;
  for (; damages > 0 && !bytes.empty(); --damages) {
    const std::size_t at = random.below(bytes.size());
    switch (random.below(6)) {
      case 0: bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8))); break;
      case 1: bytes[at] = static_cast<char>(random()); break;
      case 2: {  // a size or an address
        static const std::vector<std::uint64_t> limits = {
            0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, 0xffffffffffffffff};
        const std::uint64_t value = random.pick(limits);
        const std::size_t width = std::size_t{1} << random.below(4);
        for (std::size_t i = 0; i < width && at + i < bytes.size(); ++i)
          bytes[at + i] = static_cast<char>(value >> (8 * i));
        break;
      }
      case 3: {  // a piece from elsewhere
        const std::size_t from = random.below(bytes.size()), size = random.below(64);
        for (std::size_t i = 0; i < size && at + i < bytes.size() && from + i < bytes.size(); ++i)
          bytes[at + i] = bytes[from + i];
        break;
      }
      case 4:
        for (std::size_t i = 0, size = random.below(64); i < size && at + i < bytes.size(); ++i) bytes[at + i] = 0;
        break;
      default:
        if (random.one_in(8)) bytes.resize(at);
    }
  }
  return bytes;
}

}  // namespace elkhorn::fuzz
