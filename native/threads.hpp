// Threads that share one recurrence meet at every step.
#pragma once

#include <omp.h>
#include <sched.h>

#include "vector.hpp"

namespace rnnkit::RNNKIT_LEVEL {

RNNKIT_INLINE void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// All threads wait for the last one: spinning at first, because a step takes microseconds.
class Barrier {
  public:
    void join(int threads) { threads_ = threads; }

    void wait() {
        if (threads_ < 2) return;
        const int round = __atomic_load_n(&round_, __ATOMIC_RELAXED);
        if (__atomic_add_fetch(&arrived_, 1, __ATOMIC_ACQ_REL) == threads_) {
            __atomic_store_n(&arrived_, 0, __ATOMIC_RELAXED);
            __atomic_store_n(&round_, round + 1, __ATOMIC_RELEASE);
            return;
        }
        for (int spins = 0; __atomic_load_n(&round_, __ATOMIC_ACQUIRE) == round; ++spins) {
            if (spins < 4000) pause();
            else sched_yield();
        }
    }

  private:
    int threads_ = 1;
    alignas(64) int arrived_ = 0;
    alignas(64) int round_ = 0;
};

}  // namespace rnnkit::RNNKIT_LEVEL
