// h = decay * h + drive: every unit of every sequence on its own, one vector of units after the other.
#pragma once

#include "threads.hpp"
#include "vector.hpp"
#include "kernels.hpp"

namespace rnnkit::RNNKIT_LEVEL {

// Units that one thread takes at a time: their running sums stay in registers over all steps, and each step reads
// whole cache lines.
template <typename T>
constexpr long band = 4 * lanes<T>;

template <typename T, typename Work>
void for_bands(const DiagonalScan& call, Work work) {
    const long bands = (call.size + band<T> - 1) / band<T>;
#pragma omp parallel for num_threads(call.threads) if (call.threads > 1) schedule(static)
    for (long at = 0; at < call.sequences * bands; ++at) {
        const FlushDenormals flush;
        const long sequence = at / bands, begin = at % bands * band<T>;
        const long end = begin + band<T> < call.size ? begin + band<T> : call.size;
        work(sequence * call.steps * call.size, sequence * call.size, begin, end);
    }
}

template <typename T>
void diagonal_scan(const DiagonalScan& call) {
    const long steps = call.steps, size = call.size;
    for_bands<T>(call, [&](long place, long sequence, long begin, long end) {
        const T* const decay = static_cast<const T*>(call.decay) + place;
        const T* const drive = static_cast<const T*>(call.drive) + place;
        T* const hidden = static_cast<T*>(call.hidden) + place;
        const T* before = static_cast<const T*>(call.initial) + sequence;
        for (long step = 0; step < steps; ++step) {
            const long row = step * size;
            for_vectors<T>(begin, end, [&](long unit, auto part) {
                const Vector<T> h = load(decay + row + unit, part) * load(before + unit, part);
                store(hidden + row + unit, h + load(drive + row + unit, part), part);
            });
            before = hidden + row;
        }
    });
}

template <typename T>
void diagonal_scan_backward(const DiagonalScanBackward& back) {
    const DiagonalScan& call = back.forward;
    const long steps = call.steps, size = call.size;
    for_bands<T>(call, [&](long place, long sequence, long begin, long end) {
        const T* const decay = static_cast<const T*>(call.decay) + place;
        const T* const hidden = static_cast<const T*>(call.hidden) + place;
        const T* const outputs = static_cast<const T*>(back.outputs) + place;
        T* const by_decay = static_cast<T*>(back.decay) + place;
        T* const by_drive = static_cast<T*>(back.drive) + place;
        T* const flow = static_cast<T*>(back.initial) + sequence;  // 0 at first
        for (long step = steps - 1; step >= 0; --step) {
            const long row = step * size;
            const T* const before = step ? hidden + row - size : static_cast<const T*>(call.initial) + sequence;
            for_vectors<T>(begin, end, [&](long unit, auto part) {
                const Vector<T> gradient = load(outputs + row + unit, part) + load(flow + unit, part);
                store(by_drive + row + unit, gradient, part);
                store(by_decay + row + unit, gradient * load(before + unit, part), part);
                store(flow + unit, gradient * load(decay + row + unit, part), part);
            });
        }
    });
}

}  // namespace rnnkit::RNNKIT_LEVEL
