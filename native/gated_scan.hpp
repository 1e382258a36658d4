// A gated recurrence over time, forward and backward: at each step a product with the packed matrix, then the cells.
#pragma once

#include <new>

#include "product.hpp"
#include "scratch.hpp"
#include "threads.hpp"

namespace rnnkit::RNNKIT_LEVEL {

// Memory for one call, cleared, at the edge of a cache line.
template <typename T>
class Scratch {
  public:
    explicit Scratch(long count) : data_(static_cast<T*>(operator new(count * sizeof(T), std::align_val_t(64)))) {
        std::memset(static_cast<void*>(data_), 0, count * sizeof(T));
    }
    ~Scratch() { operator delete(data_, std::align_val_t(64)); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    T* row(long at) const { return data_ + at; }

  private:
    T* data_;
};

template <class Way, typename Lanes>
RNNKIT_INLINE void put(typename Way::Value* to, Vector<typename Way::Sum> values, Lanes part) {
    if constexpr (sizeof(typename Way::Value) == sizeof(typename Way::Sum)) {
        store(to, values, part);
    } else {
        const long count = count_of<typename Way::Sum>(part);
#if defined(__AVX512BF16__)
        const __m256bh brief = _mm512_cvtneps_pbh((__m512)values);
        std::memcpy(to, &brief, count * sizeof(typename Way::Value));
#else
        for (long lane = 0; lane < count; ++lane) to[lane] = Way::value(values[lane]);
#endif
    }
}

// One thread's share of a call: a group of sequences, and the units [begin, end) of it.
struct Share {
    long thread, group, begin, end;
};

// The rows of the buffers at one step of a group.
struct StepRows {
    long count, first, before, sequence;

    StepRows(const GatedScan& call, long group, long step) {
        const Steps& steps = call.steps;
        const int64_t* const firsts = steps.first + group * steps.steps;
        sequence = steps.starts[group];
        count = steps.count[group * steps.steps + step];
        first = firsts[step];
        before = step ? call.sequences + firsts[step - 1] : sequence;
    }
};

// The buffers of a call, by step and row.
template <typename T>
struct Buffers {
    const GatedScan& call;
    const long size, output_size, kinds;
    const bool in_place;  // the parts of the state after the first are kept of the last step alone

    explicit Buffers(const GatedScan& of)
        : call(of),
          size(of.size),
          output_size(of.output_size),
          kinds(of.joined_gates + of.apart_gates + of.lone_gates),
          in_place(!of.recording && of.formula != Formula::program) {}

    bool projects() const { return call.unprojected != nullptr; }
    long state_size(int state) const { return state == 0 ? output_size : size; }

    T* state_before(int state, const StepRows& at, long row) const {
        const long place = state > 0 && in_place ? at.sequence : at.before;
        return static_cast<T*>(call.states[state]) + (place + row) * state_size(state);
    }
    T* state_after(int state, const StepRows& at, long row) const {
        const long place = state > 0 && in_place ? at.sequence : call.sequences + at.first;
        return static_cast<T*>(call.states[state]) + (place + row) * state_size(state);
    }
    const T* keep(int state, const StepRows& at, long row) const {
        return static_cast<const T*>(call.keep[state]) + (at.first + row) * state_size(state);
    }
    long place(const StepRows& at, long row) const { return (call.recording ? at.first : at.sequence) + row; }
    const T* inputs(const StepRows& at, long row) const {
        return static_cast<const T*>(call.inputs) + (at.first + row) * kinds * size;
    }
    T* gates(const StepRows& at, long row) const {
        return static_cast<T*>(call.gates) + place(at, row) * kinds * size;
    }
    T* hidden_gates(const StepRows& at, long row) const {
        return static_cast<T*>(call.hidden_gates) + place(at, row) * call.apart_gates * size;
    }
    T* unprojected(const StepRows& at, long row) const {
        return static_cast<T*>(call.unprojected) + place(at, row) * size;
    }
};

// What `Cells` are given for a step: where the values of the next product go.
template <class Way>
struct Values {
    typename Way::Value* hidden;       // (S, spread): of the recurrent product, forward; of the gates, backward
    typename Way::Value* reset;        // (S, spread): forward, of the second recurrent product; or null
    typename Way::Value* unprojected;  // (S, spread): of the projection; or null
    typename Way::Sum* through;        // backward: (S, spread) gradients of what was projected or reset; or null
    long stride;
};

// The state as it enters the matrix.
template <typename T, typename Lanes>
RNNKIT_INLINE Vector<T> masked(const GatedScan& call, long sequence, long unit, Vector<T> hidden, Lanes part) {
    if (!call.mask) return hidden;
    return hidden * load(static_cast<const T*>(call.mask) + sequence * call.output_size + unit, part);
}

// Put the state on its way into the matrix.
template <class Way, typename Lanes>
RNNKIT_INLINE void put_hidden(const GatedScan& call, const Values<Way>& values, long sequence, long unit,
                              Vector<typename Way::Sum> hidden, Lanes part) {
    put<Way>(values.hidden + sequence * values.stride + unit,
             masked<typename Way::Sum>(call, sequence, unit, hidden, part), part);
}

constexpr long worth_packing = 32;  // rows of values that meet a matrix

// `Cells` do the step between the products, for all rows of a share:
//   forward(buffers, share, step, values): from gates to states, outputs, and the values of the next product
//   backward(buffers, call, share, step, values): from gradients of states to those of gates and the states before
// Where they have two products a step, `resets` is true:
//   reset(buffers, share, step, values): from joined gates to the values of the product of the apart ones
//   reset_backward(buffers, call, share, step, values): from the gradient of these values to that of the reset gate
template <class Way, class Cells>
class GatedScanRun {
    using T = typename Way::Sum;
    using Value = typename Way::Value;

    const GatedScan& call_;
    const Buffers<T> buffers_;
    Cells cells_;
    Barrier barrier_;
    Workspace workspace_;
    const Packed* given_[3];
    Packed matrices_[3];  // packed, where they are read often enough

    GatedScanRun(const GatedScan& call, const GatedScanBackward* back, const Packed& one, const Packed& other,
                 const Packed& projection)
        : call_(call), buffers_(call), cells_(call, back), given_{&one, &other, &projection} {
        for (int n = 0; n < 3; ++n) {
            matrices_[n] = *given_[n];
            const Packed& matrix = matrices_[n];
            if (!matrix.data || (Way::depth == 1 && call.total < worth_packing)) continue;
            const long words = panels<Way>(matrix.rows) * panel_columns<Way> * padded<Way>(matrix.columns);
            matrices_[n] = {workspace_.take<typename Way::Word>(words), matrix.rows, matrix.columns};
        }
    }

    void pack_share(long thread, long team) {
        for (int n = 0; n < 3; ++n) {
            if (matrices_[n].data == given_[n]->data) continue;
            const Packed& from = *given_[n];
            const long row_stride = from.transposed ? 1 : from.stride, column_stride = from.transposed ? from.stride : 1;
            pack_slice<Way>(static_cast<const T*>(from.data), Slice(from.rows, panel_columns<Way>, thread, team),
                            from.columns, row_stride, column_stride, const_cast<void*>(matrices_[n].data));
        }
    }

    template <typename Work>
    void share(Work work) {
        const int threads = call_.threads;
#pragma omp parallel num_threads(threads) if (threads > 1)
        {
#pragma omp single
            barrier_.join(call_.split_units ? omp_get_num_threads() : 1);
            const FlushDenormals flush;
            const long thread = omp_get_thread_num(), team = omp_get_num_threads(), width = panel_columns<Way>;
            pack_share(thread, team);
#pragma omp barrier
            if (call_.split_units) {
                const long wide = call_.size / width;
                work(Share{thread, 0, wide * thread / team * width, wide * (thread + 1) / team * width});
            } else {
                for (long group = thread; group < call_.steps.groups; group += team) {
                    work(Share{thread, group, 0, call_.size});
                }
            }
        }
    }

    void run_forward(const Share& share, const Values<Way> (&values)[2]) {
        for (long step = 0; step < call_.steps.steps; ++step) {
            const StepRows at(call_, share.group, step);
            if (at.count == 0) break;  // for all threads of a group alike
            const Values<Way>&now = values[step & 1], &next = values[(step + 1) & 1];
            if (step == 0) {
                for (long row = 0; row < at.count; ++row) {
                    const T* const hidden = buffers_.state_before(0, at, row);
                    for_vectors<T>(share.begin, buffers_.projects() ? call_.output_size : share.end,
                                   [&](long unit, auto part) {
                                       put_hidden(call_, now, at.sequence + row, unit, load(hidden + unit, part), part);
                                   });
                }
                barrier_.wait();
            }
            multiply_joined(share, at, now);
            if constexpr (Cells::resets) {
                cells_.reset(buffers_, share, at, now);
                barrier_.wait();
            }
            multiply_apart(share, at, Cells::resets ? now.reset : now.hidden, now.stride);
            cells_.forward(buffers_, share, at, next);
            if (buffers_.projects()) project(at, next);
            barrier_.wait();
        }
    }

    // Call `run` with the rows of a matrix of so many gates that are a thread's.
    template <typename Run>
    void each_piece(const Share& share, long gates, Run run) const {
        const long size = call_.size;
        const bool whole = share.begin == 0 && share.end == size;
        if (gates && whole) run(0, gates * size);
        for (long gate = 0; gate < gates && !whole; ++gate) run(gate * size + share.begin, gate * size + share.end);
    }

    void multiply_joined(const Share& share, const StepRows& at, const Values<Way>& values) const {
        const long width = buffers_.kinds * call_.size;
        each_piece(share, call_.joined_gates, [&](long begin, long end) {
            multiply<Way>(matrices_[0], begin, end, values.hidden + at.sequence * values.stride, values.stride, at.count,
                          buffers_.inputs(at, 0), width, buffers_.gates(at, 0), width);
        });
    }

    void multiply_apart(const Share& share, const StepRows& at, const Value* values, long stride) const {
        each_piece(share, call_.apart_gates, [&](long begin, long end) {
            multiply<Way>(matrices_[1], begin, end, values + at.sequence * stride, stride, at.count,
                          static_cast<const T*>(call_.apart_bias), 0, buffers_.hidden_gates(at, 0),
                          call_.apart_gates * call_.size);
        });
    }

    void project(const StepRows& at, const Values<Way>& values) const {
        const long stride = spread(call_.size), output_size = call_.output_size;
        multiply<Way>(matrices_[2], 0, output_size, values.unprojected + at.sequence * stride, stride, at.count,
                      nullptr, 0, buffers_.state_after(0, at, 0), output_size);
        for (long row = 0; row < at.count; ++row) {
            T* const to = buffers_.state_after(0, at, row);
            for_vectors<T>(0, output_size, [&](long unit, auto part) {
                Vector<T> hidden = load(to + unit, part);
                if (call_.keep[0]) {
                    const Vector<T> kept = load(buffers_.keep(0, at, row) + unit, part);
                    hidden = kept * load(buffers_.state_before(0, at, row) + unit, part) + (T(1) - kept) * hidden;
                    store(to + unit, hidden, part);
                }
                put_hidden(call_, values, at.sequence + row, unit, hidden, part);
            });
        }
    }

    void run_backward(const GatedScanBackward& back, const Share& share, const Values<Way> (&values)[2]) {
        for (long step = call_.steps.steps - 1; step >= 0; --step) {
            const StepRows at(call_, share.group, step);
            if (at.count == 0) continue;
            const Values<Way>& now = values[step & 1];
            if (buffers_.projects()) unproject(back, at, now);
            cells_.backward(buffers_, back, share, at, now);
            barrier_.wait();
            if constexpr (Cells::resets) {
                const long stride = spread(call_.size);
                multiply<Way>(matrices_[1], share.begin, share.end,
                              now.hidden + at.sequence * now.stride + call_.joined_gates * call_.size, now.stride,
                              at.count, nullptr, 0, now.through + at.sequence * stride, stride);
                cells_.reset_backward(buffers_, back, share, at, now);
                barrier_.wait();
            }
            multiply_back(back, share, at, now);
        }
    }

    // From the gradient of the projected state to that of what was projected.
    void unproject(const GatedScanBackward& back, const StepRows& at, const Values<Way>& values) const {
        const long output_size = call_.output_size, stride = spread(output_size);
        for (long row = 0; row < at.count; ++row) {
            T* const running = static_cast<T*>(back.states[0]) + (at.sequence + row) * output_size;
            const long place = (at.first + row) * output_size;
            for_vectors<T>(0, output_size, [&](long unit, auto part) {
                Vector<T> by_state =
                    load(running + unit, part) + load(static_cast<const T*>(back.outputs) + place + unit, part);
                Vector<T> direct{};
                if (call_.keep[0]) {
                    direct = load(buffers_.keep(0, at, row) + unit, part) * by_state;
                    by_state = by_state - direct;
                }
                store(running + unit, direct, part);
                store(static_cast<T*>(back.projected) + place + unit, by_state, part);
                put<Way>(values.unprojected + (at.sequence + row) * stride + unit, by_state, part);
            });
        }
        multiply<Way>(matrices_[2], 0, call_.size, values.unprojected + at.sequence * stride, stride, at.count,
                      nullptr, 0, values.through + at.sequence * spread(call_.size), spread(call_.size));
    }

    // Add what comes through the matrix, if there is one, to the gradient of the state before.
    void multiply_back(const GatedScanBackward& back, const Share& share, const StepRows& at,
                       const Values<Way>& values) const {
        if (call_.lone_gates) return;
        const long output_size = call_.output_size;
        const Value* const gates = values.hidden + at.sequence * values.stride;
        T* const running = static_cast<T*>(back.states[0]) + at.sequence * output_size;
        const long end = share.end == call_.size ? output_size : share.end;
        if (!call_.mask) {
            multiply<Way>(matrices_[0], share.begin, end, gates, values.stride, at.count, running, output_size, running,
                          output_size);
            return;
        }
        const long stride = spread(call_.size > output_size ? call_.size : output_size);
        T* const product = values.through + at.sequence * stride;
        multiply<Way>(matrices_[0], share.begin, end, gates, values.stride, at.count, nullptr, 0, product, stride);
        for (long row = 0; row < at.count; ++row) {
            const T* const mask = static_cast<const T*>(call_.mask) + (at.sequence + row) * output_size;
            for_vectors<T>(share.begin, end, [&](long unit, auto part) {
                T* const to = running + row * output_size + unit;
                store(to, load(to, part) + load(mask + unit, part) * load(product + row * stride + unit, part), part);
            });
        }
    }

  public:
    static void forward(const GatedScan& call) {
        for (long s = 0; s < call.num_states; ++s) {
            std::memcpy(call.states[s], call.initial[s], call.sequences * (s ? call.size : call.output_size) * sizeof(T));
        }
        GatedScanRun run(call, nullptr, call.joined, call.apart, call.projection);
        const long stride = spread(call.output_size), count = call.sequences * stride;
        const Scratch<Value> hidden(2 * count);
        const Scratch<Value> reset(Cells::resets ? count : 0);
        const Scratch<Value> unprojected(run.buffers_.projects() ? call.sequences * spread(call.size) : 0);
        Value* const between = run.buffers_.projects() ? unprojected.row(0) : nullptr;
        const Values<Way> values[2] = {{hidden.row(0), reset.row(0), between, nullptr, stride},
                                       {hidden.row(count), reset.row(0), between, nullptr, stride}};
        run.share([&](const Share& share) { run.run_forward(share, values); });
    }

    static void backward(const GatedScanBackward& back) {
        const GatedScan& call = back.forward;
        GatedScanRun run(call, &back, back.hidden, back.apart, back.projection);
        const bool projects = run.buffers_.projects();
        const long widest = call.size > call.output_size ? call.size : call.output_size;
        const long stride = spread(run.buffers_.kinds * call.size), count = call.sequences * stride;
        const Scratch<Value> gates(2 * count);
        const Scratch<Value> projected(projects ? call.sequences * spread(call.output_size) : 0);
        const Scratch<T> through(projects || call.mask || Cells::resets ? call.sequences * spread(widest) : 0);
        Value* const between = projects ? projected.row(0) : nullptr;
        const Values<Way> values[2] = {{gates.row(0), nullptr, between, through.row(0), stride},
                                       {gates.row(count), nullptr, between, through.row(0), stride}};
        run.share([&](const Share& share) { run.run_backward(back, share, values); });
    }
};

}  // namespace rnnkit::RNNKIT_LEVEL
