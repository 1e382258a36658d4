// Products of whole buffers: all steps of a sequence with one matrix, and the sum over all steps that a weight's gradient
// is.
#pragma once

#include "product.hpp"
#include "scratch.hpp"
#include "threads.hpp"

namespace rnnkit::RNNKIT_LEVEL {

constexpr long block_rows = 16 * tile_rows;  // of values that stay in the cache while they meet the matrix

template <typename T>
void dense_product(const DenseProduct& call) {
    using Way = Plain<T>;
    constexpr long width = panel_columns<Way>;
    Workspace workspace;
    T* const packed = workspace.take<T>(panels<Way>(call.outputs) * width * call.columns);
    T* bias = nullptr;
    if (call.bias || call.joined_bias) {
        bias = workspace.take<T>(call.outputs);
        for (long n = 0; n < call.outputs; ++n) {
            bias[n] = (call.bias ? static_cast<const T*>(call.bias)[n] : T(0)) +
                      (call.joined_bias && n < call.joined ? static_cast<const T*>(call.joined_bias)[n] : T(0));
        }
    }
    const Packed matrix{packed, call.outputs, call.columns};
    const bool by_rows = call.rows >= 2 * tile_rows * call.threads;
#pragma omp parallel num_threads(call.threads) if (call.threads > 1)
    {
        const FlushDenormals flush;
        const long thread = omp_get_thread_num(), team = omp_get_num_threads();
        const Slice columns(call.outputs, width, thread, team);
        pack_slice<Way>(static_cast<const T*>(call.matrix), columns, call.columns, call.row_stride, call.column_stride, packed);
#pragma omp barrier
        const Slice rows(call.rows, tile_rows, by_rows ? thread : 0, by_rows ? team : 1);
        const long begin = by_rows ? 0 : columns.begin, end = by_rows ? call.outputs : columns.end;
        for (long row = rows.begin; row < rows.end; row += block_rows) {
            multiply<Way>(matrix, begin, end, static_cast<const T*>(call.values) + row * call.value_stride,
                          call.value_stride, least(block_rows, rows.end - row), bias, 0,
                          static_cast<T*>(call.sums) + row * call.outputs, call.outputs);
        }
    }
}

constexpr long outer_steps = 256;               // whose panel of the right buffer stays in the nearest cache
constexpr long outer_columns = 4 * tile_rows;  // of the left buffer that it meets there at a time

// `rows` columns of the left buffer with `vectors` vectors of the right one, over `count` steps.
template <typename T, int rows, int vectors>
RNNKIT_INLINE void outer_tile(const T* left, const T* right, long count, T* sums, long sum_stride, bool begun,
                              long columns) {
    Vector<T> sum[rows][vectors] = {};
    for (long step = 0; step < count; ++step) {
        Vector<T> values[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) values[v] = load(right + (step * vectors + v) * lanes<T>);
#pragma GCC unroll 6
        for (int row = 0; row < rows; ++row) {
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) sum[row][v] = sum[row][v] + values[v] * fill(left[step * outer_columns + row]);
        }
    }
#pragma GCC unroll 6
    for (int row = 0; row < rows; ++row) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) {
            T* const to = sums + row * sum_stride + v * lanes<T>;
            const long left_over = columns - v * lanes<T>;
            if (left_over <= 0) break;
            if (left_over >= lanes<T>) {
                store(to, begun ? load(to) + sum[row][v] : sum[row][v]);
            } else {
                const Part part{left_over};
                store(to, begun ? load(to, part) + sum[row][v] : sum[row][v], part);
            }
        }
    }
}

// Copy `count` rows of some columns, so that they stand together, `width` apart; what is beyond the columns becomes 0.
template <typename T>
RNNKIT_INLINE void gather(const T* from, long stride, long count, long columns, long width, T* to) {
    if (columns < width) std::memset(to, 0, count * width * sizeof(T));
    for (long row = 0; row < count; ++row) std::memcpy(to + row * width, from + row * stride, columns * sizeof(T));
}

// Some rows of the columns of the left buffer that are a thread's, gathered by `outer_columns`.
template <typename T>
struct LeftBlock {
    const Slice& share;
    T* const gathered;
    long count = 0;

    void fill_from(const OuterProduct& call, long step) {
        count = least(outer_steps, call.rows - step);
        T* to = gathered;
        for (long begin = share.begin; begin < share.end; begin += outer_columns, to += outer_steps * outer_columns) {
            const T* const from = static_cast<const T*>(call.left) + step * call.left_stride + begin;
            const long columns = least(outer_columns, share.end - begin);
            gather(from, call.left_stride, count, columns, outer_columns, to);
            if (call.totals) add_up(to, columns, static_cast<T*>(call.totals) + begin);
        }
    }

    // In parts of parts: one sum over thousands of rows would lose what its late addends are small beside.
    void add_up(const T* rows, long columns, T* totals) const {
        constexpr long few = 16;
        for_vectors<T>(0, columns, [&](long column, auto part) {
            Vector<T> sum = {};
            for (long first = 0; first < count; first += few) {
                Vector<T> some = {};
                for (long row = first; row < least(first + few, count); ++row) {
                    some = some + load(rows + row * outer_columns + column, part);
                }
                sum = sum + some;
            }
            store(totals + column, load(totals + column, part) + sum, part);
        });
    }
};

// One panel of a right buffer, gathered, with all of the left block.
template <typename T, int vectors>
void outer_panel(const LeftBlock<T>& left, const T* panel, T* sums, long stride, long columns, bool begun) {
    const Slice& share = left.share;
    const T* from = left.gathered;
    for (long begin = share.begin; begin < share.end; begin += outer_columns, from += outer_steps * outer_columns) {
        const long width = least(outer_columns, share.end - begin), tiles = (width + tile_rows - 1) / tile_rows;
        for (long tile = 0; tile < tiles; ++tile) {
            const long row = width * tile / tiles, next = width * (tile + 1) / tiles;
            with_rows(next - row, [&](auto rows) {
                outer_tile<T, decltype(rows)::value, vectors>(from + row, panel, left.count,
                                                              sums + (begin + row) * stride, stride, begun, columns);
            });
        }
    }
}

template <typename T>
void outer_block(const LeftBlock<T>& left, const OuterProduct::Right& right, long step, T* panel) {
    for (long column = 0; column < right.columns;) {
        const T* const from = static_cast<const T*>(right.values) + step * right.stride + column;
        const long columns = right.columns - column;
        auto run = [&](auto vectors) {
            constexpr long width = decltype(vectors)::value * lanes<T>;
            gather(from, right.stride, left.count, least(columns, width), width, panel);
            outer_panel<T, decltype(vectors)::value>(left, panel, static_cast<T*>(right.sums) + column, right.columns,
                                                     columns, step > 0);
            column += width;
        };
        if (columns > 2 * lanes<T>) {
            run(std::integral_constant<int, 4>{});
        } else if (columns > lanes<T>) {
            run(std::integral_constant<int, 2>{});
        } else {
            run(std::integral_constant<int, 1>{});
        }
    }
}

template <typename T>
void outer_share(const OuterProduct& call, const Slice& share) {
    auto clear = [&](void* sums, long columns) {
        std::memset(static_cast<T*>(sums) + share.begin * columns, 0, (share.end - share.begin) * columns * sizeof(T));
    };
    if (call.totals) clear(call.totals, 1);
    for (const auto& right : call.right) {
        if (call.rows == 0 && right.sums) clear(right.sums, right.columns);
    }
    const long groups = (share.end - share.begin + outer_columns - 1) / outer_columns;
    Workspace workspace;
    LeftBlock<T> left{share, workspace.take<T>(groups * outer_steps * outer_columns)};
    T* const panel = workspace.take<T>(outer_steps * 4 * lanes<T>);
    for (long step = 0; step < call.rows; step += outer_steps) {
        left.fill_from(call, step);
        for (const auto& right : call.right) outer_block(left, right, step, panel);
    }
}

template <typename T>
void outer_product(const OuterProduct& call) {
#pragma omp parallel num_threads(call.threads) if (call.threads > 1)
    {
        const FlushDenormals flush;
        outer_share<T>(call, Slice(call.left_columns, tile_rows, omp_get_thread_num(), omp_get_num_threads()));
    }
}

}  // namespace rnnkit::RNNKIT_LEVEL
