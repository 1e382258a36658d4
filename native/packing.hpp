// Weights packed once, and memory that lives as long as what owns it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "levels.hpp"

namespace rnnkit {

class Packing {
  public:
    Packing(const Packing&) = delete;
    Packing& operator=(const Packing&) = delete;

  protected:
    explicit Packing(long rows) : level_(level_in_use()), most_(rows) {}

    const Level& level_;
    const long most_;  // rows

    static const float* pointer(uintptr_t address) { return reinterpret_cast<const float*>(address); }

    template <typename T>
    T* memory(long count) {
        void* found = operator new(std::max<size_t>(1, count * sizeof(T)), std::align_val_t(64));
        memory_.emplace_back(found);
        std::memset(found, 0, count * sizeof(T));
        return static_cast<T*>(found);
    }

    const float* copy(const float* from, long count) {
        float* const to = memory<float>(count);
        std::memcpy(to, from, count * sizeof(float));
        return to;
    }

    float* rows_of(long columns) { return memory<float>(most_ * spread(columns)); }

    Dense pack(Way way, const float* matrix, long rows, long columns, const float* bias) {
        Dense made;
        made.bias = bias;
        if (way == Way::int8) scale(made, matrix, rows, columns);
        const long bytes = level_.packed_bytes(way, rows, columns);
        auto* const packed = memory<uint8_t>(bytes);
        level_.pack(way, matrix, rows, columns, columns, 1, made.scales, packed);
        made.matrix = {packed, rows, columns};
        return made;
    }

  private:
    struct Free {
        void operator()(void* memory) const { operator delete(memory, std::align_val_t(64)); }
    };

    std::vector<std::unique_ptr<void, Free>> memory_;

    // Each row of an int8 matrix by its own scale, so that its largest number becomes 127.
    void scale(Dense& dense, const float* matrix, long rows, long columns) {
        float* const scales = memory<float>(rows);
        int32_t* const offsets = memory<int32_t>(rows);
        for (long n = 0; n < rows; ++n) {
            float largest = 1e-12f;
            for (long k = 0; k < columns; ++k) largest = std::max(largest, std::abs(matrix[n * columns + k]));
            scales[n] = largest / 127.0f;
            for (long k = 0; k < columns; ++k) {
                offsets[n] -= 128 * static_cast<int32_t>(std::nearbyint(matrix[n * columns + k] / scales[n]));
            }
        }
        dense.scales = scales;
        dense.offsets = offsets;
    }
};

}  // namespace rnnkit
