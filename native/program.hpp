// A formula as a list of instructions: an interpreter that takes each over a block of rows before the next one.
#pragma once

#include "kernels.hpp"
#include "product.hpp"
#include "vector.hpp"

namespace rnnkit::RNNKIT_LEVEL {

// Where the arrays of a program lie for one step: part p of row r begins at parts[array][p] + r * strides[array].
template <typename T>
struct ProgramMemory {
    T* parts[program_arrays][most_parts];  // those that the program names
    long strides[program_arrays];
};

constexpr long block_numbers = 2048;  // of a register: enough to forget the interpreter, few enough for the cache

template <typename T>
class Interpreter {
  public:
    Interpreter(const Program& program, long size)
        : program_(program),
          size_(size),
          most_rows_(size >= block_numbers ? 1 : least(block_numbers / size, block_numbers / lanes<T>)) {}

    // Numbers of memory that `run` needs.
    static long registers_size(const Program& program, long size) { return program.registers * register_size(size); }

    void run(const ProgramMemory<T>& memory, long rows, T* registers) const {
        for (long row = 0; row < rows; row += most_rows_) run_block(memory, row, least(most_rows_, rows - row), registers);
    }

  private:
    const Program& program_;
    const long size_, most_rows_;

    static long register_size(long size) { return (size > block_numbers ? size : block_numbers) + 16; }

    // Numbers of a block, in a register or where they lie in memory: unit u of row r at [r * row + u * unit]. What is one
    // number a row fills a vector, which every unit reads.
    struct Value {
        const T* at;
        long row, unit;

        template <typename Lanes>
        RNNKIT_INLINE Vector<T> read(long of_row, long of_unit, Lanes part) const {
            return load(at + of_row * row + of_unit * unit, part);
        }
    };

    void run_block(const ProgramMemory<T>& memory, long row, long rows, T* registers) const {
        Value values[most_registers];
        for (long place = 0; place < program_.count; ++place) {
            const ProgramInstruction& one = program_.instructions[place];
            T* const to = registers + one.to * register_size(size_);
            const Value a = one.a >= 0 ? values[one.a] : Value{}, b = one.b >= 0 ? values[one.b] : Value{};
            const Value c = one.c >= 0 ? values[one.c] : Value{};
            switch (one.operation) {
                case Operation::load: values[one.to] = load_rows(memory, one, row, rows, to); continue;
                case Operation::store: store_rows(memory, one, row, rows, a); continue;
                case Operation::accumulate: accumulate(memory, one, rows, a, b); continue;
                case Operation::number:
                    store(to, fill(T(one.x)));
                    values[one.to] = {to, 0, 0};
                    continue;
                case Operation::row_sum: row_sum(a, b, rows, to); break;
                default: elementwise(one, a, b, c, rows, to);
            }
            values[one.to] = one.row ? Value{to, lanes<T>, 0} : Value{to, size_, 1};
        }
    }

    void elementwise(const ProgramInstruction& one, const Value& a, const Value& b, const Value& c, long rows,
                     T* to) const {
        using V = Vector<T>;
        const T x = T(one.x), y = T(one.y);
        const V zero{}, unit = fill(T(1));
        auto of_one = [&](auto formula) {
            each(one, rows, to, is_even(a), [&](auto get) { return formula(get(a)); });
        };
        auto of_two = [&](auto formula) {
            each(one, rows, to, is_even(a) && is_even(b), [&](auto get) { return formula(get(a), get(b)); });
        };
        auto of_three = [&](auto formula) {
            each(one, rows, to, is_even(a) && is_even(b) && is_even(c),
                 [&](auto get) { return formula(get(a), get(b), get(c)); });
        };
        switch (one.operation) {
            case Operation::add: return of_two([](V u, V v) { return u + v; });
            case Operation::sub: return of_two([](V u, V v) { return u - v; });
            case Operation::mul: return of_two([](V u, V v) { return u * v; });
            case Operation::div: return of_two([](V u, V v) { return u / v; });
            case Operation::mul_add: return of_three([](V u, V v, V w) { return u * v + w; });
            case Operation::max: return of_two([](V u, V v) { return u > v ? u : v; });
            case Operation::min: return of_two([](V u, V v) { return u < v ? u : v; });
            case Operation::greater: return of_two([&](V u, V v) { return u > v ? unit : zero; });
            case Operation::select: return of_three([&](V u, V v, V w) { return u != zero ? v : w; });
            case Operation::affine: return of_one([&](V u) { return u * x + y; });
            case Operation::sigmoid: return of_one([](V u) { return sigmoid(u); });
            case Operation::tanh: return of_one([](V u) { return hyperbolic_tangent(u); });
            case Operation::relu: return of_one([&](V u) { return u < zero ? zero : u; });
            case Operation::exp: return of_one([](V u) { return exponential(u); });
            case Operation::log: return of_one([](V u) { return by_lane(u, [](T v) { return std::log(v); }); });
            case Operation::sqrt: return of_one([](V u) { return by_lane(u, [](T v) { return std::sqrt(v); }); });
            case Operation::rsqrt: return of_one([](V u) { return by_lane(u, [](T v) { return T(1) / std::sqrt(v); }); });
            case Operation::reciprocal: return of_one([&](V u) { return unit / u; });
            case Operation::abs: return of_one([&](V u) { return u < zero ? -u : u; });
            case Operation::sign: return of_one([&](V u) { return u > zero ? unit : (u < zero ? -unit : zero); });
            case Operation::sigmoid_slope:  // of the gradient and the result
                return of_two([&](V u, V s) { return u * s * (unit - s); });
            case Operation::tanh_slope: return of_two([&](V u, V s) { return u * (unit - s * s); });
            case Operation::relu_slope: return of_two([&](V u, V s) { return s > zero ? u : zero; });
            default: return;
        }
    }

    bool is_even(const Value& value) const { return value.row == size_ && value.unit == 1; }

    // Give `formula` something that reads the numbers of a value, for every vector of the result.
    template <typename Formula>
    RNNKIT_INLINE void each(const ProgramInstruction& one, long rows, T* to, bool even, Formula formula) const {
        if (even && !one.row) {  // all rows are one
            for_vectors<T>(0, rows * size_, [&](long at, auto part) {
                store(to + at, formula([&](const Value& value) { return load(value.at + at, part); }), part);
            });
            return;
        }
        const long width = one.row ? lanes<T> : size_;
        for_vectors<T>(0, width, [&](long unit, auto part) {
            for (long row = 0; row < rows; ++row) {
                auto get = [&](const Value& value) { return value.read(row, unit, part); };
                store(to + row * width + unit, formula(get), part);
            }
        });
    }

    Value load_rows(const ProgramMemory<T>& memory, const ProgramInstruction& one, long row, long rows, T* to) const {
        const int array = static_cast<int>(one.array);
        const long stride = memory.strides[array];
        const T* const from = memory.parts[array][one.part] + row * stride;
        if (one.row) {  // a parameter of one number
            store(to, fill(*from));
            return {to, 0, 0};
        }
        if (one.array != Array::by_new_state) return {from, stride, 1};
        // the gradients of the states before replace those of the states after: they are read first
        for (long at = 0; at < rows; ++at) std::memcpy(to + at * size_, from + at * stride, size_ * sizeof(T));
        return {to, size_, 1};
    }

    void store_rows(const ProgramMemory<T>& memory, const ProgramInstruction& one, long row, long rows,
                    const Value& a) const {
        const int array = static_cast<int>(one.array);
        const long stride = memory.strides[array];
        T* const to = memory.parts[array][one.part] + row * stride;
        for_vectors<T>(0, size_, [&](long unit, auto part) {
            for (long at = 0; at < rows; ++at) store(to + at * stride + unit, a.read(at, unit, part), part);
        });
    }

    // Add the sum over the rows of a, or of the products of a and b.
    void accumulate(const ProgramMemory<T>& memory, const ProgramInstruction& one, long rows, const Value& a,
                    const Value& b) const {
        T* const to = memory.parts[static_cast<int>(one.array)][one.part];
        for_vectors<T>(0, one.row ? 1 : size_, [&](long unit, auto part) {
            Vector<T> sum = load(to + unit, part);
            for (long row = 0; row < rows; ++row) {
                const Vector<T> value = a.read(row, unit, part);
                sum = sum + (b.at ? value * b.read(row, unit, part) : value);
            }
            store(to + unit, sum, part);
        });
    }

    // The sum over the units of a, or of the products of a and b; of some rows at a time, because a sum waits for itself.
    void row_sum(const Value& a, const Value& b, long rows, T* to) const {
        constexpr long together = 4;
        long row = 0;
        for (; row + together <= rows; row += together) row_sum_of<together>(a, b, row, to);
        for (; row < rows; ++row) row_sum_of<1>(a, b, row, to);
    }

    template <long count>
    RNNKIT_INLINE void row_sum_of(const Value& a, const Value& b, long first, T* to) const {
        Vector<T> sum[count] = {};
        for_vectors<T>(0, size_, [&](long unit, auto part) {
#pragma GCC unroll 4
            for (long row = 0; row < count; ++row) {
                const Vector<T> value = a.read(first + row, unit, part);
                sum[row] = sum[row] + (b.at ? value * b.read(first + row, unit, part) : value);
            }
        });
        for (long row = 0; row < count; ++row) store(to + (first + row) * lanes<T>, fill(sum_of<T>(sum[row])));
    }
};

}  // namespace rnnkit::RNNKIT_LEVEL
