// Memory for the length of a call, kept by its thread for the next one: fresh memory costs more than a small product.
#pragma once

#include <memory>
#include <new>
#include <vector>

#include "vector.hpp"

namespace rnnkit::RNNKIT_LEVEL {

class Workspace {
    struct Free {
        void operator()(char* memory) const { operator delete(memory, std::align_val_t(64)); }
    };
    struct Kept {
        std::unique_ptr<char, Free> memory;
        size_t size = 0, used = 0;
    };

    static Kept& kept() {
        static thread_local Kept of_this_thread;
        return of_this_thread;
    }

    const size_t before_;
    size_t taken_ = 0;
    std::vector<std::unique_ptr<char, Free>> more_;  // what the kept memory had no room for

  public:
    Workspace() : before_(kept().used) {}
    ~Workspace() {
        Kept& own = kept();
        own.used = before_;
        if (more_.empty() || before_) return;
        own.memory.reset();  // before the larger one is there
        own.size = 0;
        own.memory.reset(static_cast<char*>(operator new(taken_, std::align_val_t(64), std::nothrow)));
        own.size = own.memory ? taken_ : 0;
    }
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;

    // Uninitialised, at the edge of a cache line.
    template <typename T>
    T* take(long count) {
        Kept& own = kept();
        const size_t bytes = (count * sizeof(T) + 63) / 64 * 64;
        taken_ += bytes;
        if (own.used + bytes <= own.size) {
            char* const found = own.memory.get() + own.used;
            own.used += bytes;
            return reinterpret_cast<T*>(found);
        }
        more_.emplace_back(static_cast<char*>(operator new(bytes, std::align_val_t(64))));
        return reinterpret_cast<T*>(more_.back().get());
    }
};

}  // namespace rnnkit::RNNKIT_LEVEL
