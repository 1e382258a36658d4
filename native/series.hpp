// Steps of a classifier of series: all that stands around its stack, so that a batch of live rows is one call.
#pragma once

#include "session.hpp"

namespace rnnkit::RNNKIT_LEVEL {

inline void move(const float* from, long count, float* to) { std::memmove(to, from, count * sizeof(float)); }

RNNKIT_INLINE float larger(float one, float other) { return one > other ? one : other; }

RNNKIT_INLINE float smaller(float one, float other) { return one < other ? one : other; }

inline void multiply_rows(const Dense& dense, const float* values, long stride, long rows, float* sums, long sum_stride) {
    multiply<Plain<float>>(dense.matrix, 0, dense.matrix.rows, values, stride, rows, dense.bias, 0, sums, sum_stride);
}

// What is seen of a step (3 * channels,), and its part of the state, which goes on; returns what stands behind it.
inline float* see(const Views& views, const float* step, float* state, float* seen) {
    const long channels = views.channels;
    float *const first = state + 1, *const last = first + channels;
    if (!(state[0] > 0)) {
        move(step, channels, first);
        move(step, channels, last);
        state[0] = 1;
    }
    for (long at = 0; at < channels; ++at) {
        seen[at] = step[at];
        seen[at + channels] = step[at] - first[at];
        seen[at + 2 * channels] = step[at] - last[at];
        last[at] = step[at];
    }
    for (long at = 0; at < 3 * channels; ++at) seen[at] = (seen[at] - views.means[at]) / views.deviations[at];
    return last + channels;
}

inline float gelu(float x) { return 0.5f * x * (1.0f + std::erf(x * 0.70710678f)); }

// From steps to the inputs of the stack.
inline void enter(const SeriesNetwork& network, const float* inputs, long stride, float* states) {
    const SessionLayer& layer = network.session->layer[0];
    const long rows = network.session->rows, to = spread(layer.input_size), seen = 3 * network.views.channels;
    const long columns = network.filters.matrix.columns, before = columns - seen, joined = spread(columns);
    for (long row = 0; row < rows; ++row) {
        float* const state = states + row * network.state_size;
        if (!columns) {
            see(network.views, inputs + row * stride, state, layer.inputs + row * to);
            continue;
        }
        float* const now = network.joined + row * joined;
        float* const window = see(network.views, inputs + row * stride, state, now + before);
        move(window, before, now);
        move(now + seen, before, window);
    }
    if (!columns) return;
    multiply_rows(network.filters, network.joined, joined, rows, layer.inputs, to);
    for (long row = 0; row < rows; ++row) {
        for (long at = 0; at < layer.input_size; ++at) layer.inputs[row * to + at] = gelu(layer.inputs[row * to + at]);
    }
}

// e to a bounded score of each row's output, and so its share in the mean.
inline float attention(const SeriesNetwork& network, long row, long size) {
    const float limit = network.score_limit;
    const float* const from = network.attending + row * spread(size);
    float score = 0;
    for (long at = 0; at < size; ++at) score += network.attended[at] * std::tanh(from[at]);
    return std::exp(limit * std::tanh(score / limit));
}

// From the outputs of the stack to what is pooled of all steps so far.
inline void pool(const SeriesNetwork& network, float* states) {
    const SessionLayer& layer = network.session->layer[network.session->layers - 1];
    const long rows = network.session->rows, size = layer.output_size, stride = spread(size);
    const Pooling kind = network.pooling;
    const bool attends = kind == Pooling::attention, concat = kind == Pooling::concat;
    const bool means = attends || concat || kind == Pooling::mean, largest = concat || kind == Pooling::max;
    if (attends) multiply_rows(network.attention, layer.outputs, stride, rows, network.attending, stride);
    for (long row = 0; row < rows; ++row) {
        const float* const output = layer.outputs + row * stride;
        float* state = states + row * network.state_size + network.pooling_at;
        float* to = network.pooled + row * spread(network.pooled_size);
        if (concat || kind == Pooling::last) {
            move(output, size, to);
            to += size;
        }
        if (means) {
            const float weight = attends ? attention(network, row, size) : 1.0f;
            const float total = *state++ += weight;
            for (long at = 0; at < size; ++at) to[at] = (state[at] += weight * output[at]) / total;
            state += size;
            to += size;
        }
        for (long at = 0; largest && at < size; ++at) to[at] = state[at] = larger(state[at], output[at]);
    }
}

// Add to the sums of a row how far above its thresholds each kernel is, from 0 to 1.
inline void add_high(const RandomConvolutions& all, const float* outputs, float* sums) {
    const long count = all.thresholds;
    for (long kernel = 0; kernel < all.kernels.matrix.rows; ++kernel) {
        const Vector<float> output = fill(outputs[kernel]), slope = fill(1.0f / all.width[kernel]);
        const float* const thresholds = all.threshold + kernel * count;
        float* const to = sums + kernel * count;
        for_vectors<float>(0, count, [&](long at, auto part) {
            Vector<float> high = (output - load(thresholds + at, part)) * slope + 0.5f;
            high = high > 0.0f ? high : 0.0f;
            high = high < 1.0f ? high : 1.0f;
            store(to + at, load(to + at, part) + high, part);
        });
    }
}

// Add the scores of random convolutions, the later of the two regressions the more, the longer a series is.
inline void add_direct(const SeriesNetwork& network, const float* inputs, long stride, float* states, float* scores,
                       long score_stride) {
    const RandomConvolutions& all = network.convolutions;
    const long rows = network.session->rows, views = 3 * all.views.channels, kernels = all.kernels.matrix.rows;
    const long seen = spread(all.kernels.matrix.columns), labels = all.regressions.matrix.rows / 2;
    const long window_at = network.direct_at + 1 + 2 * all.views.channels, sums_at = window_at + all.reach * views;
    for (long row = 0; row < rows; ++row) {
        float* const to = all.seen + row * seen;
        float* const state = states + row * network.state_size + network.direct_at;
        float* const window = see(all.views, inputs + row * stride, state, to);  // the first offset is 0
        for (long n = 1; n < all.num_offsets; ++n) {
            move(window + (all.reach - all.offsets[n]) * views, views, to + n * views);
        }
        move(window + views, (all.reach - 1) * views, window);
        move(to, views, window + (all.reach - 1) * views);
    }
    multiply_rows(all.kernels, all.seen, seen, rows, all.outputs, spread(kernels));
    for (long row = 0; row < rows; ++row) {
        add_high(all, all.outputs + row * spread(kernels), states + row * network.state_size + sums_at);
    }
    const long said = spread(2 * labels);
    multiply_rows(all.regressions, states + sums_at, network.state_size, rows, all.said, said);
    for (long row = 0; row < rows; ++row) {
        const float count = states[row * network.state_size + sums_at + kernels * all.thresholds] += 1;
        const float whole = smaller(count / all.short_steps, 1.0f), late = smaller(larger(4 * whole - 1, 0), 1);
        const float *const from = all.said + row * said, *const bias = all.bias;
        for (long at = 0; at < labels; ++at) {
            const float one = from[at] / count + bias[at], other = from[labels + at] / count + bias[labels + at];
            scores[row * score_stride + at] += all.gain * whole * (one + late * (other - one));
        }
    }
}

// Move the states of the layers in from where they stand with the rest, or out again.
template <bool in>
void move_states(const SeriesNetwork& network, float* states) {
    const Session& session = *network.session;
    for (long row = 0; row < session.rows; ++row) {
        float* at = states + row * network.state_size + network.stack_at;
        for (long depth = 0; depth < session.layers; ++depth) {
            const SessionLayer& layer = session.layer[depth];
            for (int part = 0; part < (layer.formula == Formula::lstm ? 2 : 1); ++part) {
                const long size = part == 0 ? layer.output_size : layer.size;
                float* const own = layer.states[part] + row * spread(size);
                in ? move(at, size, own) : move(own, size, at);
                at += size;
            }
        }
    }
}

inline void read_series(const SeriesNetwork& network, long steps, const float* inputs, float* states, float* scores) {
    const FlushDenormals flush;
    const long stride = steps * network.views.channels, labels = network.head.matrix.rows;
    move_states<true>(network, states);
    for (long step = 0; step < steps; ++step) {
        const float* const now = inputs + step * network.views.channels;
        float* const to = scores + step * labels;
        enter(network, now, stride, states);
        rnnkit::RNNKIT_LEVEL::step(*network.session);
        pool(network, states);
        multiply_rows(network.head, network.pooled, spread(network.pooled_size), network.session->rows, to, steps * labels);
        if (network.convolutions.num_offsets) add_direct(network, now, stride, states, to, steps * labels);
    }
    move_states<false>(network, states);
}

}  // namespace rnnkit::RNNKIT_LEVEL
