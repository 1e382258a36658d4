// The cells of a formula that the compiler knows, over the rows of a step.
#pragma once

#include "cells.hpp"
#include "gated_scan.hpp"

namespace rnnkit::RNNKIT_LEVEL {

template <template <typename> class CellOf, class Way>
struct CompiledCells {
    using T = typename Way::Sum;
    using Cell = CellOf<T>;
    static constexpr int kinds = Cell::joined + Cell::apart;
    static constexpr long far = 4096 / sizeof(T);  // ahead of what is read, for it to be in the cache by then

    static constexpr bool resets = resets_before<Cell>;

    CompiledCells(const GatedScan&, const GatedScanBackward*) {}

    void forward(const Buffers<T>& buffers, const Share& share, const StepRows& at, const Values<Way>& values) const {
        const GatedScan& call = buffers.call;
        const bool projects = buffers.projects();
        for (long row = 0; row < at.count; ++row) {
            const Gates<T> gates{buffers.inputs(at, row), buffers.gates(at, row), buffers.hidden_gates(at, row),
                                 call.size};
            for_vectors<T>(share.begin, share.end, [&](long unit, auto part) {
                Vector<T> state[Cell::states], before[Cell::states];
                for (int s = 0; s < Cell::states; ++s) {
                    before[s] = s == 0 && projects ? Vector<T>{} : load(buffers.state_before(s, at, row) + unit, part);
                    state[s] = before[s];
                }
                Cell::forward(gates, unit, part, call.recording, state);
                if constexpr (resets) {  // the backward pass wants what entered the product, not what came out
                    const Vector<T> entered = load(gates.joined + unit, part) * masked<T>(call, at.sequence + row, unit, before[0], part);
                    if (call.recording) store(gates.apart + unit, entered, part);
                }
                for (int s = projects ? 1 : 0; s < Cell::states; ++s) {
                    if (call.keep[s]) {
                        const Vector<T> kept = load(buffers.keep(s, at, row) + unit, part);
                        state[s] = kept * before[s] + (T(1) - kept) * state[s];
                    }
                    store(buffers.state_after(s, at, row) + unit, state[s], part);
                }
                if (projects) {
                    store(buffers.unprojected(at, row) + unit, state[0], part);
                    put<Way>(values.unprojected + (at.sequence + row) * spread(call.size) + unit, state[0], part);
                } else {
                    put_hidden(call, values, at.sequence + row, unit, state[0], part);
                }
            });
        }
    }

    void backward(const Buffers<T>& buffers, const GatedScanBackward& back, const Share& share, const StepRows& at,
                  const Values<Way>& values) const {
        const GatedScan& call = buffers.call;
        const bool projects = buffers.projects();
        const long size = call.size;
        for (long row = 0; row < at.count; ++row) {
            const long sequence = at.sequence + row, place = at.first + row;
            const Gates<const T> gates{nullptr, buffers.gates(at, row), buffers.hidden_gates(at, row), size};
            const Gates<T> gradients{nullptr, static_cast<T*>(back.gates) + place * kinds * size,
                                     static_cast<T*>(back.hidden_gates) + place * Cell::apart * size, size};
            const T* const outputs = static_cast<const T*>(back.outputs) + place * call.output_size;
            auto* const into = values.hidden + sequence * values.stride;
            for_vectors<T>(share.begin, share.end, [&](long unit, auto part) {
                for (int gate = 0; gate < kinds; ++gate) fetch(gates.joined + gate * size + unit + far);
                Vector<T> state[Cell::states], before[Cell::states], direct[Cell::states];
                for (int s = 0; s < Cell::states; ++s) {
                    direct[s] = Vector<T>{};
                    if (s == 0 && projects) {
                        state[0] = load(values.through + sequence * spread(size) + unit, part);
                        before[0] = Vector<T>{};
                        continue;
                    }
                    before[s] = load(buffers.state_before(s, at, row) + unit, part);
                    state[s] = load(static_cast<T*>(back.states[s]) + sequence * size + unit, part);
                    if (s == 0) state[0] = state[0] + load(outputs + unit, part);
                    if (call.keep[s]) {
                        direct[s] = load(buffers.keep(s, at, row) + unit, part) * state[s];
                        state[s] = state[s] - direct[s];
                    }
                }
                Cell::backward(gates, gradients, unit, part, before, state);
                for (int s = projects ? 1 : 0; s < Cell::states; ++s) {
                    store(static_cast<T*>(back.states[s]) + sequence * size + unit, state[s] + direct[s], part);
                }
                for (int gate = resets ? 1 : 0; gate < kinds; ++gate) {
                    const T* const from = resets || gate < Cell::joined ? gradients.joined + gate * size
                                                              : gradients.apart + (gate - Cell::joined) * size;
                    put<Way>(into + gate * size + unit, load(from + unit, part), part);
                }
            });
        }
    }

    void reset(const Buffers<T>& buffers, const Share& share, const StepRows& at, const Values<Way>& values) const {
        const GatedScan& call = buffers.call;
        for (long row = 0; row < at.count; ++row) {
            const long sequence = at.sequence + row;
            const Gates<T> gates{nullptr, buffers.gates(at, row), nullptr, call.size};
            for_vectors<T>(share.begin, share.end, [&](long unit, auto part) {
                const Vector<T> hidden = masked<T>(call, sequence, unit, load(buffers.state_before(0, at, row) + unit, part), part);
                put<Way>(values.reset + sequence * values.stride + unit, Cell::reset(gates, unit, part) * hidden, part);
            });
        }
    }

    void reset_backward(const Buffers<T>& buffers, const GatedScanBackward& back, const Share& share,
                        const StepRows& at, const Values<Way>& values) const {
        const GatedScan& call = buffers.call;
        const long size = call.size;
        for (long row = 0; row < at.count; ++row) {
            const long sequence = at.sequence + row;
            const Gates<const T> gates{nullptr, buffers.gates(at, row), nullptr, size};
            const Gates<T> gradients{nullptr, static_cast<T*>(back.gates) + (at.first + row) * kinds * size, nullptr, size};
            T* const running = static_cast<T*>(back.states[0]) + sequence * size;
            for_vectors<T>(share.begin, share.end, [&](long unit, auto part) {
                const Vector<T> hidden = masked<T>(call, sequence, unit, load(buffers.state_before(0, at, row) + unit, part), part);
                const Vector<T> by_entering = load(values.through + sequence * spread(size) + unit, part);
                const Vector<T> by_hidden = Cell::reset_backward(gates, gradients, unit, part, by_entering, hidden);
                store(running + unit, load(running + unit, part) + masked<T>(call, sequence, unit, by_hidden, part), part);
                put<Way>(values.hidden + sequence * values.stride + unit, load(gradients.joined + unit, part), part);
            });
        }
    }
};

}  // namespace rnnkit::RNNKIT_LEVEL
