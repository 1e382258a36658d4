#include "levels.hpp"

#include <stdexcept>

namespace rnnkit {

namespace baseline { extern const Level level; }
#if defined(__x86_64__)
namespace avx2 { extern const Level level; }
namespace avx512 { extern const Level level; }
namespace avx512_bf16 { extern const Level level; }
#endif

namespace {

std::vector<const Level*> supported() {
    std::vector<const Level*> found = {&baseline::level};
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (avx2) found.push_back(&avx2::level);
    if (avx512) found.push_back(&avx512::level);
    if (avx512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16")) {
        found.push_back(&avx512_bf16::level);
    }
#endif
    return found;
}

const Level*& chosen() {
    static const Level* level = levels().back();
    return level;
}

}  // namespace

const std::vector<const Level*>& levels() {
    static const std::vector<const Level*> found = supported();
    return found;
}

const Level& level_in_use() { return *chosen(); }

void use_level(const std::string& name) {
    for (const Level* level : levels()) {
        if (name == level->name) {
            chosen() = level;
            return;
        }
    }
    throw std::invalid_argument("this machine has no level " + name);
}

}  // namespace rnnkit
