// The formulas between the products: one vector of units of one sequence, forward and backward.
//
// A cell names how many gates read the sum of the input's and the state's part (joined) and how many read them
// separately (apart). `forward` takes the state before the step and leaves the one after it; `backward` takes the
// gradient of the state after the step, leaves what of the gradient of the state before it does not go through the
// matrix, and writes the gradients of the gates. What is recorded in place of the gates is what `backward` reads.
#pragma once

#include "vector.hpp"

namespace rnnkit::RNNKIT_LEVEL {

// The gates of one sequence at one step: gate g of unit u at [g * size + u].
template <typename T>
struct Gates {
    const T* input;  // the input's part alone
    T* joined;
    T* apart;
    long size;
};

template <typename T, typename Slope>
struct PlainCell {
    static constexpr int joined = 1, apart = 0, states = 1;

    template <typename Lanes>
    RNNKIT_INLINE static void forward(Gates<T> gates, long unit, Lanes part, bool recording, Vector<T> (&state)[1]) {
        state[0] = Slope::value(load(gates.joined + unit, part));
        if (recording) store(gates.joined + unit, state[0], part);
    }

    template <typename Lanes>
    RNNKIT_INLINE static void backward(Gates<const T> gates, Gates<T> gradients, long unit, Lanes part,
                                       const Vector<T> (&)[1], Vector<T> (&state)[1]) {
        store(gradients.joined + unit, state[0] * Slope::slope(load(gates.joined + unit, part)), part);
        state[0] = Vector<T>{};
    }
};

template <typename T>
struct TanhSlope {
    RNNKIT_INLINE static Vector<T> value(Vector<T> x) { return hyperbolic_tangent(x); }
    RNNKIT_INLINE static Vector<T> slope(Vector<T> y) { return T(1) - y * y; }
};

template <typename T>
struct ReluSlope {
    RNNKIT_INLINE static Vector<T> value(Vector<T> x) { return x < T(0) ? Vector<T>{} : x; }  // NaN stays
    RNNKIT_INLINE static Vector<T> slope(Vector<T> y) { return y > T(0) ? fill(T(1)) : Vector<T>{}; }
};

template <typename T>
using TanhCell = PlainCell<T, TanhSlope<T>>;
template <typename T>
using ReluCell = PlainCell<T, ReluSlope<T>>;

template <typename T>
struct LSTMCell {
    static constexpr int joined = 4, apart = 0, states = 2;

    template <typename Lanes>
    RNNKIT_INLINE static void forward(Gates<T> gates, long unit, Lanes part, bool recording, Vector<T> (&state)[2]) {
        T* const at = gates.joined + unit;
        const long size = gates.size;
        const Vector<T> i = sigmoid(load(at, part)), f = sigmoid(load(at + size, part));
        const Vector<T> g = hyperbolic_tangent(load(at + 2 * size, part)), o = sigmoid(load(at + 3 * size, part));
        state[1] = f * state[1] + i * g;
        state[0] = o * hyperbolic_tangent(state[1]);
        if (recording) {
            store(at, i, part);
            store(at + size, f, part);
            store(at + 2 * size, g, part);
            store(at + 3 * size, o, part);
        }
    }

    template <typename Lanes>
    RNNKIT_INLINE static void backward(Gates<const T> gates, Gates<T> gradients, long unit, Lanes part,
                                       const Vector<T> (&before)[2], Vector<T> (&state)[2]) {
        const T* const at = gates.joined + unit;
        const long size = gates.size;
        const Vector<T> i = load(at, part), f = load(at + size, part);
        const Vector<T> g = load(at + 2 * size, part), o = load(at + 3 * size, part);
        const Vector<T> tanh_c = hyperbolic_tangent(f * before[1] + i * g);
        const Vector<T> by_c = state[1] + state[0] * o * (T(1) - tanh_c * tanh_c);
        T* const to = gradients.joined + unit;
        store(to, by_c * g * i * (T(1) - i), part);
        store(to + size, by_c * before[1] * f * (T(1) - f), part);
        store(to + 2 * size, by_c * i * (T(1) - g * g), part);
        store(to + 3 * size, state[0] * tanh_c * o * (T(1) - o), part);
        state[0] = Vector<T>{};
        state[1] = by_c * f;
    }
};

// The reset gate after the product: r, z joined, n apart.
template <typename T>
struct GRUCell {
    static constexpr int joined = 2, apart = 1, states = 1;

    template <typename Lanes>
    RNNKIT_INLINE static void forward(Gates<T> gates, long unit, Lanes part, bool recording, Vector<T> (&state)[1]) {
        T* const at = gates.joined + unit;
        const long size = gates.size;
        const Vector<T> r = sigmoid(load(at, part)), z = sigmoid(load(at + size, part));
        const Vector<T> n = hyperbolic_tangent(load(gates.input + 2 * size + unit, part) + r * load(gates.apart + unit, part));
        state[0] = n + z * (state[0] - n);
        if (recording) {
            store(at, r, part);
            store(at + size, z, part);
            store(at + 2 * size, n, part);
        }
    }

    template <typename Lanes>
    RNNKIT_INLINE static void backward(Gates<const T> gates, Gates<T> gradients, long unit, Lanes part,
                                       const Vector<T> (&before)[1], Vector<T> (&state)[1]) {
        const T* const at = gates.joined + unit;
        const long size = gates.size;
        const Vector<T> r = load(at, part), z = load(at + size, part), n = load(at + 2 * size, part);
        const Vector<T> by_n = state[0] * (T(1) - z) * (T(1) - n * n);
        T* const to = gradients.joined + unit;
        store(to, by_n * load(gates.apart + unit, part) * r * (T(1) - r), part);
        store(to + size, state[0] * (before[0] - n) * z * (T(1) - z), part);
        store(to + 2 * size, by_n, part);
        store(gradients.apart + unit, by_n * r, part);
        state[0] = state[0] * z;
    }
};

// The reset gate before the product: r, z joined, n apart. It has two products a step: `reset` comes between them and
// returns what multiplies the state that enters the second; `reset_backward` takes the gradient of what entered.
template <typename T>
struct ResetBeforeGRUCell {
    static constexpr int joined = 2, apart = 1, states = 1;

    template <typename Lanes>
    RNNKIT_INLINE static Vector<T> reset(Gates<T> gates, long unit, Lanes part) {
        const Vector<T> r = sigmoid(load(gates.joined + unit, part));
        store(gates.joined + unit, r, part);
        return r;
    }

    template <typename Lanes>
    RNNKIT_INLINE static void forward(Gates<T> gates, long unit, Lanes part, bool recording, Vector<T> (&state)[1]) {
        T* const at = gates.joined + gates.size + unit;
        const Vector<T> z = sigmoid(load(at, part));
        const Vector<T> n =
            hyperbolic_tangent(load(gates.input + 2 * gates.size + unit, part) + load(gates.apart + unit, part));
        state[0] = n + z * (state[0] - n);
        if (recording) {
            store(at, z, part);
            store(at + gates.size, n, part);
        }
    }

    template <typename Lanes>
    RNNKIT_INLINE static void backward(Gates<const T> gates, Gates<T> gradients, long unit, Lanes part,
                                       const Vector<T> (&before)[1], Vector<T> (&state)[1]) {
        const T* const at = gates.joined + gates.size + unit;
        const Vector<T> z = load(at, part), n = load(at + gates.size, part);
        T* const to = gradients.joined + gates.size + unit;
        store(to, state[0] * (before[0] - n) * z * (T(1) - z), part);
        store(to + gates.size, state[0] * (T(1) - z) * (T(1) - n * n), part);
        state[0] = state[0] * z;
    }

    template <typename Lanes>
    RNNKIT_INLINE static Vector<T> reset_backward(Gates<const T> gates, Gates<T> gradients, long unit, Lanes part,
                                                  Vector<T> by_entering, Vector<T> hidden) {
        const Vector<T> r = load(gates.joined + unit, part);
        store(gradients.joined + unit, by_entering * hidden * r * (T(1) - r), part);
        return by_entering * r;
    }
};

template <class Cell>
constexpr bool resets_before = requires { &Cell::template reset_backward<Whole>; };

}  // namespace rnnkit::RNNKIT_LEVEL
