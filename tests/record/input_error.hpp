#pragma once

#include <gtest/gtest.h>

#include <string>

#include "core/error.hpp"

namespace elkhorn::record {

/// The message of the InputError that `action` throws.
template <class Action>
std::string input_error(Action&& action) {
  try {
    action();
  } catch (const InputError& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.find('\n'), std::string::npos) << "more than one line: " << text;
    return text;
  }
  ADD_FAILURE() << "no InputError was thrown";
  return "";
}

}  // namespace elkhorn::record
