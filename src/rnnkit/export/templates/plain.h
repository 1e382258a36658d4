/* What every model needs: products, gates, pooling. Nothing allocates; nothing is kept but in the caller's stream. */

/* out = bias + weight in; the weight stands column by column, so that the inner loop runs along memory. */
static inline void rnnkit_affine(float *out, const float *weight, const float *bias, const float *in, int rows,
                                 int columns) {
    for (int row = 0; row < rows; ++row) out[row] = bias ? bias[row] : 0.0f;
    for (int column = 0; column < columns; ++column) {
        const float value = in[column];
        const float *const from = weight + (long)column * rows;
        for (int row = 0; row < rows; ++row) out[row] += from[row] * value;
    }
}

/* out += weight in. */
static inline void rnnkit_add(float *out, const float *weight, const float *in, int rows, int columns) {
    for (int column = 0; column < columns; ++column) {
        const float value = in[column];
        const float *const from = weight + (long)column * rows;
        for (int row = 0; row < rows; ++row) out[row] += from[row] * value;
    }
}

static inline float rnnkit_sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

static inline float rnnkit_gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.707106781186547524f)); }

static inline void rnnkit_rnn(float *h, float *gates, const float *of_input, const float *of_state, const float *bias,
                              const float *in, int in_size, int size, int rectified) {
    rnnkit_affine(gates, of_input, bias, in, size, in_size);
    rnnkit_add(gates, of_state, h, size, size);
    for (int unit = 0; unit < size; ++unit) {
        h[unit] = rectified ? (gates[unit] > 0.0f ? gates[unit] : 0.0f) : tanhf(gates[unit]);
    }
}

/* Gates i, f, g, o. */
static inline void rnnkit_lstm(float *h, float *c, float *gates, const float *of_input, const float *of_state,
                               const float *bias, const float *in, int in_size, int size) {
    rnnkit_affine(gates, of_input, bias, in, 4 * size, in_size);
    rnnkit_add(gates, of_state, h, 4 * size, size);
    for (int unit = 0; unit < size; ++unit) {
        const float i = rnnkit_sigmoid(gates[unit]), f = rnnkit_sigmoid(gates[size + unit]);
        const float g = tanhf(gates[2 * size + unit]), o = rnnkit_sigmoid(gates[3 * size + unit]);
        c[unit] = f * c[unit] + i * g;
        h[unit] = o * tanhf(c[unit]);
    }
}

/* Gates r, z, n; the reset gate after the product. */
static inline void rnnkit_gru(float *h, float *gates, const float *of_input, const float *of_state,
                              const float *input_bias, const float *state_bias, const float *in, int in_size,
                              int size) {
    float *const hidden = gates + 3 * size;
    rnnkit_affine(gates, of_input, input_bias, in, 3 * size, in_size);
    rnnkit_affine(hidden, of_state, state_bias, h, 3 * size, size);
    for (int unit = 0; unit < size; ++unit) {
        const float r = rnnkit_sigmoid(gates[unit] + hidden[unit]);
        const float z = rnnkit_sigmoid(gates[size + unit] + hidden[size + unit]);
        const float n = tanhf(gates[2 * size + unit] + r * hidden[2 * size + unit]);
        h[unit] = (1.0f - z) * n + z * h[unit];
    }
}

/* The same with the reset gate before the product: of_state holds r and z, of_reset n. */
static inline void rnnkit_gru_reset_before(float *h, float *gates, const float *of_input, const float *of_state,
                                           const float *of_reset, const float *input_bias, const float *state_bias,
                                           const float *in, int in_size, int size) {
    float *const hidden = gates + 3 * size, *const kept = gates + 6 * size;
    rnnkit_affine(gates, of_input, input_bias, in, 3 * size, in_size);
    rnnkit_affine(hidden, of_state, state_bias, h, 2 * size, size);
    for (int unit = 0; unit < size; ++unit) kept[unit] = rnnkit_sigmoid(gates[unit] + hidden[unit]) * h[unit];
    rnnkit_affine(hidden + 2 * size, of_reset, state_bias ? state_bias + 2 * size : 0, kept, size, size);
    for (int unit = 0; unit < size; ++unit) {
        const float z = rnnkit_sigmoid(gates[size + unit] + hidden[size + unit]);
        const float n = tanhf(gates[2 * size + unit] + hidden[2 * size + unit]);
        h[unit] = (1.0f - z) * n + z * h[unit];
    }
}

/* Layer norm, or root mean square norm where `centred` is 0. */
static inline void rnnkit_norm(float *out, const float *in, const float *weight, const float *bias, int size,
                               float epsilon, int centred) {
    float mean = 0.0f, square = 0.0f;
    for (int at = 0; at < size && centred; ++at) mean += in[at] / (float)size;
    for (int at = 0; at < size; ++at) square += (in[at] - mean) * (in[at] - mean) / (float)size;
    const float scale = 1.0f / sqrtf(square + epsilon);
    for (int at = 0; at < size; ++at) {
        out[at] = (in[at] - mean) * scale * (weight ? weight[at] : 1.0f) + (bias ? bias[at] : 0.0f);
    }
}

static inline int rnnkit_largest(const float *values, int count) {
    int best = 0;
    for (int at = 1; at < count; ++at) best = values[at] > values[best] ? at : best;
    return best;
}

/* Probabilities of scores, each of its own where `apart`, else summing to 1. */
static inline void rnnkit_probabilities(float *out, const float *scores, int count, double temperature, int apart) {
    double total = 0.0;
    const double most = (double)scores[rnnkit_largest(scores, count)] / temperature;
    for (int at = 0; at < count; ++at) {
        const double scaled = (double)scores[at] / temperature;
        const double odds = apart ? 1.0 / (1.0 + exp(-scaled)) : exp(scaled - most);
        total += odds;
        out[at] = (float)odds;
    }
    for (int at = 0; at < count && !apart; ++at) out[at] = (float)((double)out[at] / total);
}
