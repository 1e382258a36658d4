// The levels of the instruction set that this machine can run, and the one in use.
#pragma once

#include <string>
#include <vector>

#include "kernels.hpp"

namespace rnnkit {

const std::vector<const Level*>& levels();  // the best one last
const Level& level_in_use();
void use_level(const std::string& name);  // throws std::invalid_argument

}  // namespace rnnkit
