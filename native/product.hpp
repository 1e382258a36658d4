// Products with a packed matrix: sums[row][n] = start[row][n] + values[row][0] * matrix[n][0] + ...
//
// The rows n of the matrix stand in panels as wide as a tile. Within a panel everything that meets one value stands
// together, so that a product reads the matrix once, from front to end.
#pragma once

#include <type_traits>

#include "kernels.hpp"
#include "vector.hpp"

namespace rnnkit::RNNKIT_LEVEL {

// The most registers of sums that leave some for the matrix and a value.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int panel_vectors = 4;  // 6 rows * 4 vectors of 32 registers
#else
constexpr int panel_vectors = 2;  // 6 rows * 2 vectors of 16 registers
#endif
constexpr int tile_rows = 6;

template <typename T>
struct Plain {
    using Word = T;
    using Value = T;
    using Sum = T;
    static constexpr int depth = 1;  // values that one word of the matrix meets
    RNNKIT_INLINE static Vector<Sum> add(Vector<Sum> sum, Vector<Word> words, const Value* values) {
        return sum + words * fill(*values);
    }
    RNNKIT_INLINE static Value value(Sum x) { return x; }
    using Weight = T;
    RNNKIT_INLINE static Weight weight(T x, float) { return x; }
};

RNNKIT_INLINE uint16_t round_to_bfloat16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;  // NaN
    return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;    // to the nearest, ties to even
}

RNNKIT_INLINE float from_bfloat16(uint16_t x) {
    uint32_t bits = uint32_t(x) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// A bfloat16 is the upper half of a float: a word holds two of them, which meet two values.
struct BriefWeights {
    using Word = uint32_t;
    using Value = float;
    using Sum = float;
    static constexpr int depth = 2;
    RNNKIT_INLINE static Vector<Sum> add(Vector<Sum> sum, Vector<Word> words, const Value* values) {
        sum = sum + (Vector<float>)(words << 16) * fill(values[0]);
        return sum + (Vector<float>)(words & 0xffff0000u) * fill(values[1]);
    }
    RNNKIT_INLINE static Value value(Sum x) { return x; }
    using Weight = uint16_t;
    RNNKIT_INLINE static Weight weight(float x, float) { return round_to_bfloat16(x); }
};

struct Brief {
    using Word = uint32_t;
    using Value = uint16_t;
    using Sum = float;
    static constexpr int depth = 2;
    RNNKIT_INLINE static Vector<Sum> add(Vector<Sum> sum, Vector<Word> words, const Value* values) {
#if defined(__AVX512BF16__)
        uint32_t pair;
        std::memcpy(&pair, values, sizeof pair);
        return (Vector<float>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)words, (__m512bh)fill(pair));
#else
        const float widened[2] = {from_bfloat16(values[0]), from_bfloat16(values[1])};
        return BriefWeights::add(sum, words, widened);
#endif
    }
    RNNKIT_INLINE static Value value(Sum x) { return round_to_bfloat16(x); }
    using Weight = uint16_t;
    RNNKIT_INLINE static Weight weight(float x, float) { return round_to_bfloat16(x); }
};

// Four bytes of the matrix meet four bytes from 0 to 255.
struct Bytes {
    using Word = uint32_t;
    using Value = uint8_t;
    using Sum = int32_t;
    static constexpr int depth = 4;
    RNNKIT_INLINE static Vector<Sum> add(Vector<Sum> sum, Vector<Word> words, const Value* values) {
#if defined(__AVX512VNNI__)
        uint32_t four;
        std::memcpy(&four, values, sizeof four);
        return (Vector<Sum>)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)fill(four), (__m512i)words);
#else
        for (int byte = 0; byte < 4; ++byte) {
            sum = sum + ((Vector<Sum>)(words << (24 - 8 * byte)) >> 24) * fill(int32_t(values[byte]));
        }
        return sum;
#endif
    }
    using Weight = int8_t;
    RNNKIT_INLINE static Weight weight(float x, float scale) { return int8_t(std::nearbyint(x / scale)); }
};

template <class Way>
constexpr int panel_columns = panel_vectors* lanes<typename Way::Sum>;

template <class Way>
RNNKIT_INLINE long padded(long columns) {
    return (columns + Way::depth - 1) / Way::depth;  // in words
}

template <class Way>
RNNKIT_INLINE long panels(long rows) {
    return (rows + panel_columns<Way> - 1) / panel_columns<Way>;
}

// Longer sums are summed in parts, which rounds less, and leaves the part of a panel in the cache for the next tile.
constexpr long longest_sum = 256;

// Rows of values and the matrix that they meet. Products of several operands are added up.
template <class Way>
struct Operand {
    const Packed& matrix;
    const typename Way::Value* values;
    long stride;
};

// A stretch of an operand: some words of one panel, and the values that meet them.
template <class Way>
struct Stretch {
    const typename Way::Word* panel;
    const typename Way::Value* values;
    long stride, words;
};

// One tile: `rows` rows of values on one panel. Where so few sums would wait for one another, there are two of each.
template <class Way, int rows, int stretches>
RNNKIT_INLINE void multiply_tile(const Stretch<Way> (&parts)[stretches], long first, const typename Way::Sum* start,
                                 long start_stride, typename Way::Sum* sums, long sum_stride, long columns) {
    using Sum = typename Way::Sum;
    constexpr int width = lanes<Sum>;
    constexpr int chains = rows <= 2 ? 2 : 1;
    Vector<Sum> sum[chains][rows][panel_vectors] = {};
    if (chains == 1 && start) {  // of a step long ago, far from the cache: on its way while the product runs
#pragma GCC unroll 6
        for (int row = 0; row < rows; ++row) {
#pragma GCC unroll 4
            for (int v = 0; v < panel_vectors; ++v) fetch(start + (first + row) * start_stride + v * width);
        }
    }
#pragma GCC unroll 2
    for (int part = 0; part < stretches; ++part) {
        const auto [panel, all_values, stride, words] = parts[part];
        const typename Way::Value* const values = all_values + first * stride;
        auto step = [&](int chain, long word) __attribute__((always_inline)) {
            Vector<typename Way::Word> matrix[panel_vectors];
#pragma GCC unroll 4
            for (int v = 0; v < panel_vectors; ++v) matrix[v] = load(panel + (word * panel_vectors + v) * width);
#pragma GCC unroll 6
            for (int row = 0; row < rows; ++row) {
#pragma GCC unroll 4
                for (int v = 0; v < panel_vectors; ++v) {
                    sum[chain][row][v] =
                        Way::add(sum[chain][row][v], matrix[v], values + row * stride + word * Way::depth);
                }
            }
        };
        long word = 0;
        for (; word + chains <= words; word += chains) {
            step(0, word);
            if constexpr (chains == 2) step(1, word + 1);
        }
        if (chains == 2 && word < words) step(0, word);
    }
#pragma GCC unroll 6
    for (int row = 0; row < rows; ++row) {
#pragma GCC unroll 4
        for (int v = 0; v < panel_vectors; ++v) {
            const long left = columns - v * width;
            if (left <= 0) break;
            Vector<Sum> total = sum[0][row][v];
            if constexpr (chains == 2) total = total + sum[1][row][v];
            const Sum* const from = start + (first + row) * start_stride + v * width;
            Sum* const to = sums + (first + row) * sum_stride + v * width;
            if (left >= width) {
                store(to, start ? total + load(from) : total);
            } else {
                store(to, start ? total + load(from, Part{left}) : total, Part{left});
            }
        }
    }
}

// Call `run` with a number from 1 to tile_rows that the compiler knows.
template <typename Run>
RNNKIT_INLINE void with_rows(long rows, Run run) {
    switch (rows) {
        case 1: return run(std::integral_constant<int, 1>{});
        case 2: return run(std::integral_constant<int, 2>{});
        case 3: return run(std::integral_constant<int, 3>{});
        case 4: return run(std::integral_constant<int, 4>{});
        case 5: return run(std::integral_constant<int, 5>{});
        case 6: return run(std::integral_constant<int, 6>{});
    }
}

// All rows of values on a panel, in tiles as even as can be.
template <class Way, int stretches>
void multiply_panel(const Stretch<Way> (&parts)[stretches], long rows, const typename Way::Sum* start,
                    long start_stride, typename Way::Sum* sums, long sum_stride, long columns) {
    const long tiles = (rows + tile_rows - 1) / tile_rows;
    for (long tile = 0; tile < tiles; ++tile) {
        const long row = rows * tile / tiles, next = rows * (tile + 1) / tiles;
        auto run = [&](auto count) {
            multiply_tile<Way, decltype(count)::value>(parts, row, start, start_stride, sums, sum_stride, columns);
        };
        with_rows(next - row, run);
    }
}

// One row of values on a matrix as it is: along its rows, four at a time; or along its columns.
template <typename T>
void multiply_as_it_is(const Packed& matrix, long begin, long end, const T* values, const T* start, T* sums) {
    const T* const data = static_cast<const T*>(matrix.data);
    const long columns = matrix.columns, stride = matrix.stride;
    if (matrix.transposed) {
        constexpr int block = 8;  // vectors of sums
        long at = begin;
        for (; at + block * lanes<T> <= end; at += block * lanes<T>) {
            Vector<T> sum[block] = {};
            for (long k = 0; k < columns; ++k) {
                const T* const from = data + k * stride + at;
#pragma GCC unroll 8
                for (int v = 0; v < block; ++v) sum[v] = sum[v] + load(from + v * lanes<T>) * fill(values[k]);
            }
#pragma GCC unroll 8
            for (int v = 0; v < block; ++v) {
                const long unit = at + v * lanes<T>;
                store(sums + unit, start ? load(start + unit) + sum[v] : sum[v]);
            }
        }
        for_vectors<T>(at, end, [&](long unit, auto part) {
            Vector<T> sum{};
            for (long k = 0; k < columns; ++k) sum = sum + load(data + k * stride + unit, part) * fill(values[k]);
            store(sums + unit, start ? load(start + unit, part) + sum : sum, part);
        });
        return;
    }
    for (long n = begin; n < end; n += 4) {
        const long rows = end - n < 4 ? end - n : 4;
        const T* from[4];
        for (long row = 0; row < 4; ++row) from[row] = data + (n + (row < rows ? row : 0)) * stride;
        Vector<T> sum[4] = {};
        for_vectors<T>(0, columns, [&](long k, auto part) {
            const Vector<T> value = load(values + k, part);
#pragma GCC unroll 4
            for (int row = 0; row < 4; ++row) sum[row] = sum[row] + load(from[row] + k, part) * value;
        });
        for (long row = 0; row < rows; ++row) sums[n + row] = (start ? start[n + row] : T(0)) + sum_of<T>(sum[row]);
    }
}

// Rows [0, rows) of values on the rows [begin, end) of their matrices; begin stands at the edge of a panel.
template <class Way, int operands>
void multiply(const Operand<Way> (&given)[operands], long begin, long end, long rows, const typename Way::Sum* start,
              long start_stride, typename Way::Sum* sums, long sum_stride) {
    constexpr long width = panel_columns<Way>;
    long all_words = 0;
    for (const auto& operand : given) all_words += padded<Way>(operand.matrix.columns);
    for (long column = begin; column < end; column += width) {
        const long columns = end - column < width ? end - column : width;
        auto stretch = [&](const Operand<Way>& operand, long word, long words) {
            const long height = padded<Way>(operand.matrix.columns);
            const auto* const panels = static_cast<const typename Way::Word*>(operand.matrix.data);
            return Stretch<Way>{panels + column * height + word * width, operand.values + word * Way::depth,
                                operand.stride, words};
        };
        typename Way::Sum* const to = sums + column;
        if (operands == 2 && all_words <= longest_sum) {
            const Stretch<Way> both[2] = {stretch(given[0], 0, padded<Way>(given[0].matrix.columns)),
                                          stretch(given[operands - 1], 0, padded<Way>(given[operands - 1].matrix.columns))};
            multiply_panel<Way>(both, rows, start ? start + column : nullptr, start_stride, to, sum_stride, columns);
            continue;
        }
        bool begun = false;
        for (const auto& operand : given) {
            const long words = padded<Way>(operand.matrix.columns);
            for (long word = 0; word < words; word += longest_sum) {
                const Stretch<Way> one[1] = {stretch(operand, word, words - word < longest_sum ? words - word : longest_sum)};
                if (begun) {
                    multiply_panel<Way>(one, rows, to, sum_stride, to, sum_stride, columns);
                } else {
                    multiply_panel<Way>(one, rows, start ? start + column : nullptr, start_stride, to, sum_stride, columns);
                }
                begun = true;
            }
        }
    }
}

// The same of one matrix, which may also lie as it is.
template <class Way>
void multiply(const Packed& matrix, long begin, long end, const typename Way::Value* values, long value_stride,
              long rows, const typename Way::Sum* start, long start_stride, typename Way::Sum* sums, long sum_stride) {
    if constexpr (Way::depth == 1) {
        for (long row = 0; row < rows && matrix.stride; ++row) {
            multiply_as_it_is(matrix, begin, end, values + row * value_stride,
                              start ? start + row * start_stride : nullptr, sums + row * sum_stride);
        }
        if (matrix.stride) return;
    }
    const Operand<Way> operands[1] = {{matrix, values, value_stride}};
    multiply<Way>(operands, begin, end, rows, start, start_stride, sums, sum_stride);
}

// Lay out a matrix in panels; what is beyond its rows and columns is 0.
template <class Way, typename Element>
void pack(const Element* matrix, long rows, long columns, long row_stride, long column_stride, const float* scales,
          void* packed) {
    using Weight = typename Way::Weight;
    constexpr long width = panel_columns<Way>, depth = Way::depth, block = 16;  // of columns: a cache line of float32
    const long words = padded<Way>(columns);
    std::memset(packed, 0, panels<Way>(rows) * words * width * sizeof(typename Way::Word));
    for (long first = 0; first < rows; first += width) {
        auto* const panel = static_cast<Weight*>(packed) + first * words * depth;
        const long last = rows - first < width ? rows : first + width;
        for (long start = 0; start < columns; start += block) {
            const long end = columns - start < block ? columns : start + block;
            for (long n = first; n < last; ++n) {
                const Element* const from = matrix + n * row_stride;
                Weight* const to = panel + (n - first) * depth;
                for (long k = start; k < end; ++k) {
                    to[k / depth * width * depth + k % depth] = Way::weight(from[k * column_stride], scales ? scales[n] : 1);
                }
            }
        }
    }
}

RNNKIT_INLINE long least(long a, long b) { return a < b ? a : b; }

// [begin, end) of the part of `count` that falls to a thread, cut at multiples of `unit`.
struct Slice {
    long begin, end;
    Slice(long from, long to) : begin(from), end(to) {}
    Slice(long count, long unit, long part, long parts) {
        const long units = (count + unit - 1) / unit;
        begin = least(count, units * part / parts * unit);
        end = least(count, units * (part + 1) / parts * unit);
    }
};

// A thread's share of the packing: whole panels.
template <class Way, typename Element>
void pack_slice(const Element* matrix, const Slice& rows, long columns, long row_stride, long column_stride,
                void* packed) {
    if (rows.begin == rows.end) return;
    pack<Way>(matrix + rows.begin * row_stride, rows.end - rows.begin, columns, row_stride, column_stride, nullptr,
              static_cast<typename Way::Word*>(packed) + rows.begin * padded<Way>(columns));
}

}  // namespace rnnkit::RNNKIT_LEVEL
