// Vectors of as many numbers as the instruction set holds, and the functions of the gates on them.
//
// One source serves every instruction set: GCC's and Clang's vector extension becomes the widest instructions that the
// flags of the file allow. Everything stands in namespace RNNKIT_LEVEL, because the linker keeps only one of two
// functions of the same name, and it could be the one with instructions that this machine lacks.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define RNNKIT_INLINE inline __attribute__((always_inline))

namespace rnnkit::RNNKIT_LEVEL {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

template <typename T>
constexpr int lanes = vector_bytes / sizeof(T);

template <typename T>
struct VectorOf {
    typedef T type __attribute__((vector_size(vector_bytes)));
};
template <typename T>
using Vector = typename VectorOf<T>::type;

template <typename T>
RNNKIT_INLINE Vector<T> load(const T* from) {
    Vector<T> vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}

template <typename T>
RNNKIT_INLINE void store(T* to, Vector<T> vector) {
    std::memcpy(to, &vector, sizeof vector);
}

// Begin to bring memory into the cache, to be read and written.
RNNKIT_INLINE void fetch(const void* from) { __builtin_prefetch(from, 1); }

template <typename T>
RNNKIT_INLINE Vector<T> fill(T value) {
    return value - Vector<T>{};
}

// How many lanes of a vector are real: all of them, or fewer at the end of a row.
struct Whole {};
struct Part {
    long count;
};

template <typename T>
RNNKIT_INLINE Vector<T> load(const T* from, Whole) {
    return load(from);
}
template <typename T>
RNNKIT_INLINE Vector<T> load(const T* from, Part part) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return (Vector<T>)_mm512_maskz_loadu_epi32((1u << part.count) - 1, from);
    if constexpr (sizeof(T) == 8) return (Vector<T>)_mm512_maskz_loadu_epi64((1u << part.count) - 1, from);
#endif
    Vector<T> vector{};
    std::memcpy(&vector, from, part.count * sizeof(T));
    return vector;
}
template <typename T>
RNNKIT_INLINE void store(T* to, Vector<T> vector, Whole) {
    store(to, vector);
}
template <typename T>
RNNKIT_INLINE void store(T* to, Vector<T> vector, Part part) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return _mm512_mask_storeu_epi32(to, (1u << part.count) - 1, (__m512i)vector);
    if constexpr (sizeof(T) == 8) return _mm512_mask_storeu_epi64(to, (1u << part.count) - 1, (__m512i)vector);
#endif
    std::memcpy(to, &vector, part.count * sizeof(T));
}

template <typename T>
RNNKIT_INLINE long count_of(Whole) {
    return lanes<T>;
}
template <typename T>
RNNKIT_INLINE long count_of(Part part) {
    return part.count;
}

// Call `visit(offset, Whole or Part)` for every vector of [begin, end).
template <typename T, typename Visit>
RNNKIT_INLINE void for_vectors(long begin, long end, Visit visit) {
    long at = begin;
    for (; at + lanes<T> <= end; at += lanes<T>) visit(at, Whole{});
    if (at < end) visit(at, Part{end - at});
}

// The lanes of a vector, each `by` places further down.
template <int by, typename V, std::size_t... lane>
RNNKIT_INLINE V turn(V vector, std::index_sequence<lane...>) {
#if defined(__clang__)
    return __builtin_shufflevector(vector, vector, (lane + by) % sizeof...(lane)...);
#else
    typedef std::conditional_t<sizeof(vector[0]) == 8, int64_t, int32_t> Places __attribute__((vector_size(sizeof(V))));
    return __builtin_shuffle(vector, Places{(lane + by) % sizeof...(lane)...});
#endif
}

// One number of all lanes: each half is joined with the other until it is alone.
template <typename T, int by = lanes<T> / 2, typename Join>
RNNKIT_INLINE T fold(Vector<T> vector, Join join) {
    if constexpr (by == 0) {
        return vector[0];
    } else {
        return fold<T, by / 2>(join(vector, turn<by>(vector, std::make_index_sequence<lanes<T>>())), join);
    }
}

template <typename T>
RNNKIT_INLINE T sum_of(Vector<T> vector) {
    return fold<T>(vector, [](Vector<T> a, Vector<T> b) { return a + b; });
}

// 1 / a, right but for the last bit: the processor's estimate, mended, because a division takes ten times as long.
RNNKIT_INLINE Vector<float> reciprocal(Vector<float> a) {
#if defined(__AVX512F__)
    const Vector<float> r = (Vector<float>)_mm512_rcp14_ps((__m512)a);  // 14 bits
    const Vector<float> error = 1.0f - a * r;
    return r + r * error;
#elif defined(__AVX2__)
    const Vector<float> r = (Vector<float>)_mm256_rcp_ps((__m256)a);  // 12 bits
    const Vector<float> error = 1.0f - a * r;
    return r + r * (error + error * error);
#else
    return 1.0f / a;
#endif
}

// e to the x, relative error 2e-7 between -87 and 88, where it is cut (Cephes' polynomial on [-ln 2 / 2, ln 2 / 2]).
RNNKIT_INLINE Vector<float> exponential(Vector<float> x) {
    using Bits = Vector<int32_t>;
    x = x < -87.0f ? fill(-87.0f) : x;
    x = x > 88.0f ? fill(88.0f) : x;
    const float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves no bits for a fraction
    Vector<float> power = (x * 1.44269504f + round) - round;
    Vector<float> rest = x - power * 0.693359375f;  // ln 2 in two parts
    rest = rest + power * 2.12194440e-4f;
    Vector<float> p = rest * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * rest + 8.3334519073e-3f;
    p = p * rest + 4.1665795894e-2f;
    p = p * rest + 1.6666665459e-1f;
    p = p * rest + 5.0000001201e-1f;
    p = p * (rest * rest) + (rest + 1.0f);
    // x may be NaN: the conversion then gives any number, and p stays NaN
    Bits scale = (__builtin_convertvector(power, Bits) + 127) << 23;
    return p * (Vector<float>)scale;
}

RNNKIT_INLINE Vector<float> sigmoid(Vector<float> x) { return reciprocal(1.0f + exponential(-x)); }

// Near 0 an odd polynomial (Cephes'), elsewhere by e to the 2x; relative error 1.5e-7.
RNNKIT_INLINE Vector<float> hyperbolic_tangent(Vector<float> x) {
    using Bits = Vector<uint32_t>;
    const Bits sign = (Bits)x & 0x80000000u;
    const Vector<float> size = (Vector<float>)((Bits)x ^ sign);
    const Vector<float> far = 1.0f - 2.0f * reciprocal(exponential(size + size) + 1.0f);
    const Vector<float> y = x * x;
    Vector<float> p = y * -5.70498872745e-3f + 2.06390887954e-2f;
    p = p * y + -5.37397155531e-2f;
    p = p * y + 1.33314422036e-1f;
    p = p * y + -3.33332819422e-1f;
    const Vector<float> near = x + x * (y * p);
    return size < 0.625f ? near : (Vector<float>)((Bits)far | sign);
}

// float64 is there to be right: the C library's functions, lane by lane.
template <typename V, typename Function>
RNNKIT_INLINE V by_lane(V x, Function function) {
    for (unsigned lane = 0; lane < sizeof x / sizeof x[0]; ++lane) x[lane] = function(x[lane]);
    return x;
}
RNNKIT_INLINE Vector<double> exponential(Vector<double> x) {
    return by_lane(x, [](double v) { return std::exp(v); });
}
RNNKIT_INLINE Vector<double> sigmoid(Vector<double> x) { return 1.0 / (1.0 + exponential(-x)); }
RNNKIT_INLINE Vector<double> hyperbolic_tangent(Vector<double> x) {
    return by_lane(x, [](double v) { return std::tanh(v); });
}

// Within a scope numbers below 1e-38 count as 0: arithmetic on them takes many times as long.
class FlushDenormals {
#if defined(__x86_64__)
  public:
    FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before_); }

  private:
    unsigned before_;
#elif defined(__aarch64__)
  public:
    FlushDenormals() {
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" ::"r"(before_ | (1ull << 24)));
    }
    ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

  private:
    uint64_t before_;
#endif
};

}  // namespace rnnkit::RNNKIT_LEVEL
