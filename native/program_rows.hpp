// A formula that is a program, over the rows of a step.
#pragma once

#include "gated_scan.hpp"
#include "program.hpp"

namespace rnnkit::RNNKIT_LEVEL {

template <class Way>
class ProgramCells {
    using T = typename Way::Sum;

    const Interpreter<T> interpreter_;
    const long registers_;
    const Scratch<T> memory_;  // the registers of each thread
    const Scratch<T> fresh_;   // (states + 1, S, size): where zoneout or a projection comes after the program

    static const Program& program_of(const GatedScan& call, const GatedScanBackward* back) {
        return back ? back->program : call.program;
    }

    T* fresh(const GatedScan& call, int state, long sequence) const {
        return fresh_.row((state * call.sequences + sequence) * call.size);
    }

    void set(ProgramMemory<T>& memory, Array array, long stride) const {
        memory.strides[static_cast<int>(array)] = stride;
    }

    T*& part(ProgramMemory<T>& memory, Array array, long number) const {
        return memory.parts[static_cast<int>(array)][number];
    }

    void set_gates(ProgramMemory<T>& memory, Array array, T* rows, long gates, long size) const {
        set(memory, array, gates * size);
        for (long gate = 0; gate < gates; ++gate) part(memory, array, gate) = rows + gate * size;
    }

    // What both programs read.
    void set_read(ProgramMemory<T>& memory, const Buffers<T>& buffers, const StepRows& at) const {
        const GatedScan& call = buffers.call;
        const long size = call.size;
        if (call.joined_gates) {
            set_gates(memory, Array::joined, buffers.gates(at, 0), call.joined_gates, size);
        } else {
            set_gates(memory, Array::input, const_cast<T*>(buffers.inputs(at, 0)), buffers.kinds, size);
            set_gates(memory, Array::hidden, buffers.hidden_gates(at, 0), call.apart_gates, size);
        }
        set(memory, Array::state, size);
        for (int s = buffers.projects() ? 1 : 0; s < call.num_states; ++s) {
            part(memory, Array::state, s) = buffers.state_before(s, at, 0);
        }
        set(memory, Array::parameter, 0);
        for (int p = 0; p < call.num_parameters; ++p) {
            part(memory, Array::parameter, p) = const_cast<T*>(static_cast<const T*>(call.parameters[p]));
        }
    }

  public:
    static constexpr bool resets = false;

    ProgramCells(const GatedScan& call, const GatedScanBackward* back)
        : interpreter_(program_of(call, back), call.size),
          registers_(Interpreter<T>::registers_size(program_of(call, back), call.size)),
          memory_(registers_ * call.threads),
          fresh_((call.num_states + 1) * call.sequences * call.size) {}

    void forward(const Buffers<T>& buffers, const Share& share, const StepRows& at, const Values<Way>& values) const {
        const GatedScan& call = buffers.call;
        const long size = call.size;
        const bool projects = buffers.projects();
        ProgramMemory<T> memory;
        set_read(memory, buffers, at);
        set(memory, Array::new_state, size);
        for (int s = 0; s < call.num_states; ++s) {
            part(memory, Array::new_state, s) = call.keep[s] ? fresh(call, s, at.sequence) : buffers.state_after(s, at, 0);
        }
        if (projects) part(memory, Array::new_state, 0) = buffers.unprojected(at, 0);
        set(memory, Array::output, size);
        part(memory, Array::output, 0) = static_cast<T*>(call.outputs) + at.first * size;
        interpreter_.run(memory, at.count, memory_.row(share.thread * registers_));
        for (long row = 0; row < at.count; ++row) {
            for (int s = projects ? 1 : 0; s < call.num_states; ++s) {
                if (call.keep[s]) blend(buffers, at, s, row);
            }
            const T* const hidden = projects ? buffers.unprojected(at, row) : buffers.state_after(0, at, row);
            for_vectors<T>(0, size, [&](long unit, auto part) {
                if (projects) {
                    put<Way>(values.unprojected + (at.sequence + row) * spread(size) + unit, load(hidden + unit, part),
                             part);
                } else {
                    put_hidden(call, values, at.sequence + row, unit, load(hidden + unit, part), part);
                }
            });
        }
    }

    void backward(const Buffers<T>& buffers, const GatedScanBackward& back, const Share& share, const StepRows& at,
                  const Values<Way>& values) const {
        const GatedScan& call = buffers.call;
        const long size = call.size, kinds = buffers.kinds;
        const bool projects = buffers.projects();
        const auto* const outputs = static_cast<const T*>(back.outputs) + at.first * call.output_size;
        ProgramMemory<T> memory;
        set_read(memory, buffers, at);
        set(memory, Array::by_output, size);
        part(memory, Array::by_output, 0) = const_cast<T*>(outputs);
        for (int s = 0; s < call.num_states; ++s) {
            T* const running = static_cast<T*>(back.states[s]) + at.sequence * buffers.state_size(s);
            part(memory, Array::by_new_state, s) = running;
            part(memory, Array::by_state, s) = running;
            if (s == 0 && projects) continue;
            for (long at_row = 0; at_row < at.count; ++at_row) take_direct(buffers, at, s, at_row, outputs, running);
        }
        set(memory, Array::by_new_state, size);
        set(memory, Array::by_state, size);
        if (projects) {
            T* const made = fresh(call, 0, at.sequence);
            for (long row = 0; row < at.count; ++row) {
                std::memcpy(made + row * size, values.through + (at.sequence + row) * spread(size), size * sizeof(T));
            }
            part(memory, Array::by_new_state, 0) = made;
            part(memory, Array::by_state, 0) = fresh(call, call.num_states, at.sequence);  // read by nobody, so 0
        }
        T* const gates = static_cast<T*>(back.gates) + at.first * kinds * size;
        T* const hidden_gates = static_cast<T*>(back.hidden_gates) + at.first * call.apart_gates * size;
        set_gates(memory, call.joined_gates ? Array::by_joined : Array::by_input, gates, kinds, size);
        if (call.apart_gates) set_gates(memory, Array::by_hidden, hidden_gates, call.apart_gates, size);
        for (int p = 0; p < call.num_parameters; ++p) {
            part(memory, Array::by_parameter, p) = static_cast<T*>(back.parameters[p]) + share.group * back.parameter_stride;
        }
        interpreter_.run(memory, at.count, memory_.row(share.thread * registers_));
        const T* const through_matrix = call.apart_gates ? hidden_gates : gates;
        for (long row = 0; row < at.count; ++row) {
            for (int s = projects ? 1 : 0; s < call.num_states; ++s) {
                if (call.keep[s]) add_direct(buffers, back, at, s, row);
            }
            for_vectors<T>(0, call.lone_gates ? 0 : kinds * size, [&](long unit, auto part) {
                put<Way>(values.hidden + (at.sequence + row) * values.stride + unit,
                         load(through_matrix + row * kinds * size + unit, part), part);
            });
        }
    }

  private:
    void blend(const Buffers<T>& buffers, const StepRows& at, int s, long row) const {
        const T* const made = fresh(buffers.call, s, at.sequence + row);
        for_vectors<T>(0, buffers.size, [&](long unit, auto part) {
            const Vector<T> kept = load(buffers.keep(s, at, row) + unit, part);
            const Vector<T> before = load(buffers.state_before(s, at, row) + unit, part);
            store(buffers.state_after(s, at, row) + unit, kept * before + (T(1) - kept) * load(made + unit, part), part);
        });
    }

    // Add the output's gradient where it is state 0, and set aside what zoneout hands to the state before.
    void take_direct(const Buffers<T>& buffers, const StepRows& at, int s, long row, const T* outputs,
                     T* running) const {
        const GatedScan& call = buffers.call;
        const bool adds = s == 0 && !call.outputs;
        if (!adds && !call.keep[s]) return;
        const long size = buffers.size;
        for_vectors<T>(0, size, [&](long unit, auto part) {
            Vector<T> gradient = load(running + row * size + unit, part);
            if (adds) gradient = gradient + load(outputs + row * size + unit, part);
            if (call.keep[s]) {
                const Vector<T> direct = load(buffers.keep(s, at, row) + unit, part) * gradient;
                store(fresh(call, s, at.sequence + row) + unit, direct, part);
                gradient = gradient - direct;
            }
            store(running + row * size + unit, gradient, part);
        });
    }

    void add_direct(const Buffers<T>& buffers, const GatedScanBackward& back, const StepRows& at, int s,
                    long row) const {
        const GatedScan& call = buffers.call;
        T* const to = static_cast<T*>(back.states[s]) + (at.sequence + row) * buffers.size;
        for_vectors<T>(0, buffers.size, [&](long unit, auto part) {
            store(to + unit, load(to + unit, part) + load(fresh(call, s, at.sequence + row) + unit, part), part);
        });
    }
};

}  // namespace rnnkit::RNNKIT_LEVEL
