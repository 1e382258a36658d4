// One step of a stack whose weights are packed once: products with a few rows of values, then the cells.
#pragma once

#include "cells.hpp"
#include "product.hpp"

namespace rnnkit::RNNKIT_LEVEL {

// Turn rows of values into bytes, each row by its own scale: its largest number becomes 127 steps from the middle.
inline void quantise(const Bytes8& to, const float* values, long rows, long columns) {
    constexpr int width = lanes<float>;
    typedef uint8_t Narrow __attribute__((vector_size(width)));
    for (long row = 0; row < rows; ++row) {
        const float* const from = values + row * spread(columns);
        Vector<float> most = fill(1e-12f);
        for_vectors<float>(0, columns, [&](long at, auto part) {
            const Vector<float> x = load(from + at, part), size = x < 0.0f ? -x : x;
            most = size > most ? size : most;
        });
        const float largest = fold<float>(most, [](Vector<float> a, Vector<float> b) { return a > b ? a : b; });
        to.scales[row] = largest / 127.0f;
        const float scale = 127.0f / largest;
        uint8_t* const bytes = to.bytes + row * spread(columns);
        for_vectors<float>(0, columns, [&](long at, auto part) {
            const Vector<float> shifted = load(from + at, part) * scale + 128.5f;  // positive: a cut rounds it
            const Narrow narrow = __builtin_convertvector(__builtin_convertvector(shifted, Vector<int32_t>), Narrow);
            std::memcpy(bytes + at, &narrow, count_of<float>(part));
        });
    }
}

// The products of a step, in one kind of number. `ready` turns rows of values into what `multiply` reads.
template <class Kind>
struct Products {
    long rows;
    const Bytes8& bytes;

    RNNKIT_INLINE void ready(const float*, long) const {}

    RNNKIT_INLINE void multiply(const Dense& dense, const float* values, const float* start, long start_stride,
                                float* sums, long sum_stride) const {
        const Packed& matrix = dense.matrix;
        rnnkit::RNNKIT_LEVEL::multiply<Kind>(matrix, 0, matrix.rows, values, spread(matrix.columns), rows, start,
                                             start_stride, sums, sum_stride);
    }

    // The sum of two products, which never leaves the registers in between.
    RNNKIT_INLINE void multiply_both(const Dense& one, const float* values, const Dense& other, const float* others,
                                     float* sums, long sum_stride) const {
        const Operand<Kind> operands[2] = {{one.matrix, values, spread(one.matrix.columns)},
                                           {other.matrix, others, spread(other.matrix.columns)}};
        rnnkit::RNNKIT_LEVEL::multiply<Kind>(operands, 0, one.matrix.rows, rows, one.bias, 0, sums, sum_stride);
    }
};

template <>
struct Products<Bytes> {
    long rows;
    const Bytes8& bytes;

    void ready(const float* values, long columns) const { quantise(bytes, values, rows, columns); }

    void multiply(const Dense& dense, const float*, const float* start, long start_stride, float* sums,
                  long sum_stride) const {
        const Packed& matrix = dense.matrix;
        rnnkit::RNNKIT_LEVEL::multiply<Bytes>(matrix, 0, matrix.rows, bytes.bytes, spread(matrix.columns), rows,
                                              dense.offsets, 0, bytes.sums, matrix.rows);
        for (long row = 0; row < rows; ++row) {
            const int32_t* const whole = bytes.sums + row * matrix.rows;
            const float scale = bytes.scales[row];
            for_vectors<float>(0, matrix.rows, [&](long at, auto part) {
                const Vector<float> counts = __builtin_convertvector(load(whole + at, part), Vector<float>);
                Vector<float> total = counts * (load(dense.scales + at, part) * scale);
                if (start) total = total + load(start + row * start_stride + at, part);
                store(sums + row * sum_stride + at, total, part);
            });
        }
    }
};

inline void normalise(const SessionLayer& layer, long rows) {
    const long size = layer.input_size;
    for (long row = 0; row < rows; ++row) {
        const float* const from = layer.inputs + row * spread(size);
        float* const to = layer.normed + row * spread(size);
        float mean = 0, square = 0;
        if (layer.norm == Norm::layer) {
            for (long at = 0; at < size; ++at) mean += from[at];
            mean /= size;
        }
        for (long at = 0; at < size; ++at) square += (from[at] - mean) * (from[at] - mean);
        const float scale = 1.0f / std::sqrt(square / size + layer.norm_epsilon);
        for (long at = 0; at < size; ++at) {
            to[at] = (from[at] - mean) * scale * (layer.norm_weight ? layer.norm_weight[at] : 1.0f) +
                     (layer.norm_bias ? layer.norm_bias[at] : 0.0f);
        }
    }
}

// Put the state that a gate lets into the second product where the outputs will be.
template <class Cell>
void reset(const SessionLayer& layer, long rows) {
    const long size = layer.size, width = (Cell::joined + Cell::apart) * size;
    for (long row = 0; row < rows; ++row) {
        const Gates<float> gates{nullptr, layer.gates + row * width, nullptr, size};
        const long place = row * spread(size);
        for_vectors<float>(0, size, [&](long unit, auto part) {
            const Vector<float> hidden = load(layer.states[0] + place + unit, part);
            store(layer.outputs + place + unit, Cell::reset(gates, unit, part) * hidden, part);
        });
    }
}

template <template <typename> class CellOf, class Kind>
void step_layer(const SessionLayer& layer, long rows, const Bytes8& bytes) {
    using Cell = CellOf<float>;
    constexpr int kinds = Cell::joined + Cell::apart;
    const long size = layer.size, output_size = layer.output_size, width = kinds * size;
    const Products<Kind> products{rows, bytes};
    const bool projects = layer.projection.matrix.data != nullptr;

    const float* inputs = layer.inputs;
    if (layer.norm != Norm::none) {
        normalise(layer, rows);
        inputs = layer.normed;
    }
    const float* const hidden = layer.states[0];
    if constexpr (std::is_same_v<Kind, Bytes>) {  // either product has scales of its own
        products.ready(inputs, layer.input_size);
        products.multiply(layer.input, inputs, layer.input.bias, 0, layer.gates, width);
        if constexpr (Cell::apart > 0) {
            products.multiply(layer.input_apart, inputs, layer.input_apart.bias, 0, layer.gates + Cell::joined * size, width);
        }
        products.ready(hidden, output_size);
        products.multiply(layer.hidden, hidden, layer.gates, width, layer.gates, width);
    } else {
        products.multiply_both(layer.input, inputs, layer.hidden, hidden, layer.gates, width);
        if constexpr (Cell::apart > 0) {
            products.multiply(layer.input_apart, inputs, layer.input_apart.bias, 0, layer.gates + Cell::joined * size, width);
        }
    }
    if constexpr (Cell::apart > 0) {
        const float* entering = hidden;
        if constexpr (resets_before<Cell>) {
            reset<Cell>(layer, rows);
            entering = layer.outputs;
            products.ready(entering, output_size);
        }
        products.multiply(layer.apart, entering, layer.apart.bias, 0, layer.apart_gates, Cell::apart * size);
    }
    for (long row = 0; row < rows; ++row) {
        float* const joined = layer.gates + row * width;
        const Gates<float> gates{joined, joined, layer.apart_gates + row * Cell::apart * size, size};
        float* const parts[2] = {layer.states[0] + row * spread(output_size), layer.states[1] + row * spread(size)};
        const float* const below = layer.residual ? layer.inputs + row * spread(layer.input_size) : nullptr;
        float* const out = layer.outputs + row * spread(output_size);
        for_vectors<float>(0, size, [&](long unit, auto part) {
            Vector<float> state[Cell::states], before[Cell::states];
            for (int s = 0; s < Cell::states; ++s) {
                before[s] = s == 0 && projects ? Vector<float>{} : load(parts[s] + unit, part);
                state[s] = before[s];
            }
            Cell::forward(gates, unit, part, false, state);
            for (int s = projects ? 1 : 0; s < Cell::states; ++s) {
                state[s] = state[s] + layer.keep[s] * (before[s] - state[s]);
                store(parts[s] + unit, state[s], part);
            }
            if (projects) {
                store(layer.unprojected + row * spread(size) + unit, state[0], part);
            } else {
                store(out + unit, below ? state[0] + load(below + unit, part) : state[0], part);
            }
        });
    }
    if (!projects) return;
    products.ready(layer.unprojected, size);
    products.multiply(layer.projection, layer.unprojected, nullptr, 0, layer.outputs, spread(output_size));
    for (long row = 0; row < rows; ++row) {
        const long place = row * spread(output_size);
        const float* const below = layer.residual ? layer.inputs + place : nullptr;
        for_vectors<float>(0, output_size, [&](long unit, auto part) {
            const Vector<float> before = load(layer.states[0] + place + unit, part);
            Vector<float> state = load(layer.outputs + place + unit, part);
            state = state + layer.keep[0] * (before - state);
            store(layer.states[0] + place + unit, state, part);
            store(layer.outputs + place + unit, below ? state + load(below + unit, part) : state, part);
        });
    }
}

template <class Kind>
void step_all(const Session& session) {
    for (long depth = 0; depth < session.layers; ++depth) {
        const SessionLayer& layer = session.layer[depth];
        switch (layer.formula) {
            case Formula::rnn_tanh: step_layer<TanhCell, Kind>(layer, session.rows, session.bytes); break;
            case Formula::rnn_relu: step_layer<ReluCell, Kind>(layer, session.rows, session.bytes); break;
            case Formula::lstm: step_layer<LSTMCell, Kind>(layer, session.rows, session.bytes); break;
            case Formula::gru: step_layer<GRUCell, Kind>(layer, session.rows, session.bytes); break;
            case Formula::gru_reset_before:
                step_layer<ResetBeforeGRUCell, Kind>(layer, session.rows, session.bytes);
                break;
            case Formula::program: break;  // the binding takes none
        }
    }
    if (!session.head.matrix.data) return;
    const Products<Kind> products{session.rows, session.bytes};
    const SessionLayer& last = session.layer[session.layers - 1];
    products.ready(last.outputs, last.output_size);
    products.multiply(session.head, last.outputs, session.head.bias, 0, session.head_outputs,
                      session.head.matrix.rows);
}

inline void step(const Session& session) {
    const FlushDenormals flush;
    switch (session.way) {
        case Way::bfloat16_weights: return step_all<BriefWeights>(session);
        case Way::int8: return step_all<Bytes>(session);
        default: return step_all<Plain<float>>(session);
    }
}

}  // namespace rnnkit::RNNKIT_LEVEL
