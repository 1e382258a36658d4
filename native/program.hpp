// A formula as a list of instructions: an interpreter that takes each over a block of rows before the next one.
#pragma once

#include "kernels.hpp"
#include "vector.hpp"

namespace rnnkit::RNNKIT_LEVEL {

// Where the arrays of a program lie for one step: part p of row r begins at parts[array][p] + r * strides[array].
template <typename T>
struct ProgramMemory {
    T* parts[program_arrays][most_parts];  // those that the program names
    long strides[program_arrays];
};

constexpr long block_numbers = 512;  // of a register: enough to forget the interpreter, few enough for the cache

template <typename T>
class Interpreter {
  public:
    Interpreter(const Program& program, long size)
        : program_(program), size_(size), most_rows_(size < block_numbers ? block_numbers / size : 1) {}

    // Numbers of memory that `run` needs.
    static long registers_size(const Program& program, long size) {
        return program.registers * ((size > block_numbers ? size : block_numbers) + 16);
    }

    void run(const ProgramMemory<T>& memory, long rows, T* registers) const {
        for (long row = 0; row < rows; row += most_rows_) {
            run_block(memory, row, rows - row < most_rows_ ? rows - row : most_rows_, registers);
        }
    }

  private:
    const Program& program_;
    const long size_, most_rows_;

    void run_block(const ProgramMemory<T>& memory, long row, long rows, T* registers) const {
        const long step = registers_size(program_, size_) / (program_.registers ? program_.registers : 1);
        const T* read[most_registers];  // a register, or the memory itself
        for (long place = 0; place < program_.count; ++place) {
            const ProgramInstruction& one = program_.instructions[place];
            T* const to = registers + one.to * step;
            const T* const a = one.a >= 0 ? read[one.a] : nullptr;
            const T* const b = one.b >= 0 ? read[one.b] : nullptr;
            const T* const c = one.c >= 0 ? read[one.c] : nullptr;
            const long count = one.row ? rows : rows * size_;
            switch (one.operation) {
                case Operation::load:
                    read[one.to] = load_rows(memory, one, row, rows, to);
                    continue;
                case Operation::store: store_rows(memory, one, row, rows, a); continue;
                case Operation::accumulate: accumulate(memory, one, rows, a); continue;
                case Operation::row_sum: row_sum(a, to, rows); break;
                case Operation::spread: spread_rows(a, to, rows); break;
                default: elementwise(one, a, b, c, to, count);
            }
            read[one.to] = to;
        }
    }

    static void elementwise(const ProgramInstruction& one, const T* a, const T* b, const T* c, T* to, long count) {
        const T x = T(one.x), y = T(one.y);
        const Vector<T> zero{}, unit = fill(T(1));
        auto each = [&](auto formula) {
            for_vectors<T>(0, count, [&](long at, auto part) { store(to + at, formula(at, part), part); });
        };
        switch (one.operation) {
            case Operation::number: return each([&](long, auto) { return fill(x); });
            case Operation::add: return each([&](long at, auto p) { return load(a + at, p) + load(b + at, p); });
            case Operation::sub: return each([&](long at, auto p) { return load(a + at, p) - load(b + at, p); });
            case Operation::mul: return each([&](long at, auto p) { return load(a + at, p) * load(b + at, p); });
            case Operation::div: return each([&](long at, auto p) { return load(a + at, p) / load(b + at, p); });
            case Operation::max:
                return each([&](long at, auto p) {
                    const Vector<T> u = load(a + at, p), v = load(b + at, p);
                    return u > v ? u : v;
                });
            case Operation::min:
                return each([&](long at, auto p) {
                    const Vector<T> u = load(a + at, p), v = load(b + at, p);
                    return u < v ? u : v;
                });
            case Operation::greater:
                return each([&](long at, auto p) { return load(a + at, p) > load(b + at, p) ? unit : zero; });
            case Operation::select:
                return each([&](long at, auto p) { return load(a + at, p) != zero ? load(b + at, p) : load(c + at, p); });
            case Operation::affine: return each([&](long at, auto p) { return load(a + at, p) * x + y; });
            case Operation::sigmoid: return each([&](long at, auto p) { return sigmoid(load(a + at, p)); });
            case Operation::tanh: return each([&](long at, auto p) { return hyperbolic_tangent(load(a + at, p)); });
            case Operation::relu:
                return each([&](long at, auto p) {
                    const Vector<T> u = load(a + at, p);
                    return u < zero ? zero : u;
                });
            case Operation::exp: return each([&](long at, auto p) { return exponential(load(a + at, p)); });
            case Operation::log:
                return each([&](long at, auto p) {
                    Vector<T> u = load(a + at, p);
                    for (int lane = 0; lane < lanes<T>; ++lane) u[lane] = std::log(u[lane]);
                    return u;
                });
            case Operation::sqrt:
                return each([&](long at, auto p) {
                    Vector<T> u = load(a + at, p);
                    for (int lane = 0; lane < lanes<T>; ++lane) u[lane] = std::sqrt(u[lane]);
                    return u;
                });
            case Operation::abs:
                return each([&](long at, auto p) {
                    const Vector<T> u = load(a + at, p);
                    return u < zero ? -u : u;
                });
            case Operation::sign:
                return each([&](long at, auto p) {
                    const Vector<T> u = load(a + at, p);
                    return u > zero ? unit : (u < zero ? -unit : zero);
                });
            case Operation::sigmoid_slope:  // gradient, result
                return each([&](long at, auto p) {
                    const Vector<T> s = load(b + at, p);
                    return load(a + at, p) * s * (unit - s);
                });
            case Operation::tanh_slope:
                return each([&](long at, auto p) {
                    const Vector<T> s = load(b + at, p);
                    return load(a + at, p) * (unit - s * s);
                });
            case Operation::relu_slope:
                return each([&](long at, auto p) { return load(b + at, p) > zero ? load(a + at, p) : zero; });
            default: return;
        }
    }

    const T* load_rows(const ProgramMemory<T>& memory, const ProgramInstruction& one, long row, long rows, T* to) const {
        const int array = static_cast<int>(one.array);
        const long stride = memory.strides[array], width = one.row ? 1 : size_;
        const T* const from = memory.parts[array][one.part] + row * stride;
        // the gradients of the states before replace those of the states after: they are read first
        if ((rows == 1 || stride == width) && one.array != Array::by_new_state) return from;
        for (long at = 0; at < rows; ++at) std::memcpy(to + at * width, from + at * stride, width * sizeof(T));
        return to;
    }

    void store_rows(const ProgramMemory<T>& memory, const ProgramInstruction& one, long row, long rows, const T* a) const {
        const int array = static_cast<int>(one.array);
        const long stride = memory.strides[array];
        T* const to = memory.parts[array][one.part] + row * stride;
        for (long at = 0; at < rows; ++at) std::memcpy(to + at * stride, a + at * size_, size_ * sizeof(T));
    }

    void accumulate(const ProgramMemory<T>& memory, const ProgramInstruction& one, long rows, const T* a) const {
        T* const to = memory.parts[static_cast<int>(one.array)][one.part];
        const long width = one.row ? 1 : size_;
        for (long at = 0; at < rows; ++at) {
            for_vectors<T>(0, width, [&](long unit, auto part) {
                store(to + unit, load(to + unit, part) + load(a + at * width + unit, part), part);
            });
        }
    }

    void row_sum(const T* a, T* to, long rows) const {
        for (long row = 0; row < rows; ++row) {
            Vector<T> sum{};
            for_vectors<T>(0, size_, [&](long unit, auto part) { sum = sum + load(a + row * size_ + unit, part); });
            T total = 0;
            for (int lane = 0; lane < lanes<T>; ++lane) total += sum[lane];
            to[row] = total;
        }
    }

    void spread_rows(const T* a, T* to, long rows) const {
        for (long row = 0; row < rows; ++row) {
            for_vectors<T>(0, size_, [&](long unit, auto part) { store(to + row * size_ + unit, fill(a[row]), part); });
        }
    }
};

}  // namespace rnnkit::RNNKIT_LEVEL
