// What this machine can do at most: products of what stands in registers, and reading memory and no more.
#pragma once

#include "product.hpp"

namespace rnnkit::RNNKIT_LEVEL {

// Keep the compiler from leaving out what gave the values.
template <typename T, int count>
RNNKIT_INLINE void use(const Vector<T> (&values)[count]) {
    Vector<T> total{};
    for (const Vector<T>& value : values) total = total + value;
    T memory[lanes<T>];
    store(memory, total);
    asm volatile("" : : "r"(memory) : "memory");
}

// `rounds` products of a whole tile, whose panel never leaves the registers.
template <class Way>
void only_multiply(long rounds, int threads) {
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        const typename Way::Value values[tile_rows * Way::depth] = {};
        const typename Way::Word panel[panel_columns<Way>] = {};
        const auto* at = values;
        const auto* from = panel;
        asm volatile("" : "+r"(from));  // as if it were not all zeros
        Vector<typename Way::Word> words[panel_vectors];
        for (int v = 0; v < panel_vectors; ++v) words[v] = load(from + v * lanes<typename Way::Word>);
        Vector<typename Way::Sum> sum[tile_rows][panel_vectors] = {};
        for (long round = 0; round < rounds; ++round) {
            asm volatile("" : "+r"(at));  // as if the values had changed, for the products to be done again
#pragma GCC unroll 6
            for (int row = 0; row < tile_rows; ++row) {
#pragma GCC unroll 4
                for (int v = 0; v < panel_vectors; ++v) {
                    sum[row][v] = Way::add(sum[row][v], words[v], at + row * Way::depth);
                }
            }
        }
        for (const auto& row : sum) use<typename Way::Sum>(row);
    }
}

template <class Way>
constexpr long products_of_a_round = tile_rows * panel_columns<Way> * Way::depth;

// Read `bytes` of memory `rounds` times; each thread its own part of them.
inline void only_read(const void* memory, long bytes, long rounds, int threads) {
    constexpr int block = 8;  // vectors
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        const Slice part(bytes / sizeof(float), block * lanes<float>, omp_get_thread_num(), omp_get_num_threads());
        const float* const from = static_cast<const float*>(memory);
        Vector<float> sum[block] = {};
        for (long round = 0; round < rounds; ++round) {
            for (long at = part.begin; at + block * lanes<float> <= part.end; at += block * lanes<float>) {
#pragma GCC unroll 8
                for (int v = 0; v < block; ++v) sum[v] = sum[v] + load(from + at + v * lanes<float>);
            }
            asm volatile("" : : : "memory");
        }
        use<float>(sum);
    }
}

}  // namespace rnnkit::RNNKIT_LEVEL
