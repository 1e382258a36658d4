
#define ${upper}_HORIZON $horizon
#define ${upper}_LEVELS $levels
static const double ${name}_levels[$levels] = {$level_words};

typedef struct {
    double quantiles[$horizon][$levels]; /* of the steps ahead, in the series' own unit, rising with the level */
    long long number;                    /* of the next step on the grid */
    long seen;
    double values[$kept], sums[3], level, spread;
$fields
    float scratch[$scratch];
} ${name}_stream;

#ifndef RNNKIT_CALENDAR
#define RNNKIT_CALENDAR
static inline long long rnnkit_floor(long long value, long long by) { return value / by - (value % by < 0); }

/* Days from 1970 to the first day of a month counted from January 1970. */
static inline long long rnnkit_month_begin(long long month) {
    const long long of_year = month - 12 * rnnkit_floor(month, 12);
    const long long year = 1970 + rnnkit_floor(month, 12) - (of_year < 2); /* years that begin in March */
    const long long era = rnnkit_floor(year, 400), within = year - 400 * era;
    const long long day = (153 * ((of_year + 10) % 12) + 2) / 5;
    return 146097 * era + 365 * within + within / 4 - within / 100 + day - 719468;
}

/* The month, counted from January 1970, that a day is in. */
static inline long long rnnkit_month_of(long long days) {
    long long month = rnnkit_floor(4800 * days, 146097);
    while (rnnkit_month_begin(month) > days) --month;
    while (rnnkit_month_begin(month + 1) <= days) ++month;
    return month;
}

/* Bend large values down; 0 where one is missing. */
static inline float rnnkit_bent(double value) { return value == value ? (float)asinh(value) : 0.0f; }

static inline float rnnkit_softplus(float value) { return value > 20.0f ? value : log1pf(expf(value)); }
#endif

/* Where a step stands in the cycles of the calendar. */
static inline void ${name}_calendar(float *out, long long number) {
$calendar
}

/* The value of so many steps ago, 1 is the last; NAN where there is none. */
static inline double ${name}_past(const ${name}_stream *stream, long back) {
    if (back > stream->seen || back > $kept) return (double)NAN;
    return stream->values[(stream->seen - back) % $kept];
}

static inline void ${name}_forecast(${name}_stream *stream, const float *state) {
    float of_state[$hidden], hidden[$hidden], between[$hidden], outputs[$outputs], inputs[$inputs], simple[$simple];
    double recent[$recent];
    int there[$simple];
    for (int at = $recent - 1; at >= 0; --at) {
        const double value = (${name}_past(stream, at + 1) - stream->level) / stream->spread;
        recent[at] = value == value ? value : at + 1 < $recent ? recent[at + 1] : (double)NAN;
    }
    rnnkit_affine(of_state, $of_state, $of_state_bias, state, $hidden, $state_size);
    for (int ahead = 0; ahead < $horizon; ++ahead) {
        const float *const weights = $regression + (long)ahead * $regressed;
        float *const known = inputs, *const lagged = inputs + $known;
        ${name}_calendar(known, stream->number + ahead);
        float linear = weights[0];
        for (int at = 0; at < $recent; ++at) {
            const float value = recent[at] == recent[at] ? (float)recent[at] : 0.0f;
            linear += weights[1 + at] * (value < -$most ? -$most : value > $most ? $most : value);
        }
        for (int at = 0; at < $known; ++at) linear += weights[1 + $recent + at] * known[at];
        for (int lag = 0; lag < $lags; ++lag) {
            const double value = ${name}_past(stream, (long)$behind[ahead * $lags + lag] - ahead);
            there[lag] = value == value;
            simple[lag] = there[lag] ? (float)((value - stream->level) / stream->spread) : 0.0f;
            lagged[lag] = asinhf(simple[lag]);
            lagged[$lags + lag] = (float)there[lag];
        }
        there[$lags] = recent[0] == recent[0];
        simple[$lags] = there[$lags] ? (float)recent[0] : 0.0f;
        simple[$lags + 1] = 0.0f;
        simple[$lags + 2] = linear;
        there[$lags + 1] = there[$lags + 2] = 1;
        memcpy(lagged + 2 * $lags, $steps + (long)ahead * $step_size, $step_size * sizeof(float));
        rnnkit_affine(hidden, $of_step, 0, inputs, $hidden, $inputs);
        for (int at = 0; at < $hidden; ++at) {
            hidden[at] += of_state[at];
            hidden[at] = hidden[at] > 0.0f ? hidden[at] : 0.0f;
        }
        rnnkit_affine(between, $between, $between_bias, hidden, $hidden, $hidden);
        for (int at = 0; at < $hidden; ++at) hidden[at] += between[at] > 0.0f ? between[at] : 0.0f;
        rnnkit_affine(outputs, $output, $output_bias, hidden, $outputs, $hidden);
        const float *const shares = outputs + $levels;
        float most = -FLT_MAX, total = 0.0f, mixture = 0.0f;
        for (int at = 0; at < $simple; ++at) most = there[at] && shares[at] > most ? shares[at] : most;
        for (int at = 0; at < $simple; ++at) {
            const float share = there[at] ? expf(shares[at] - most) : 0.0f;
            total += share;
            mixture += share * simple[at];
        }
        const float error = $errors[ahead], median = mixture / total + error * outputs[$median];
        float away = 0.0f, furthest = 0.0f, quantiles[$levels];
        quantiles[$median] = median;
        for (int at = $median - 1; at >= 0; --at) {
            away += error * rnnkit_softplus(outputs[at]);
            const float stretched = away * $stretch[at];
            furthest = at == $median - 1 || stretched > furthest ? stretched : furthest;
            quantiles[at] = median - furthest;
        }
        away = 0.0f;
        for (int at = $median + 1; at < $levels; ++at) {
            away += error * rnnkit_softplus(outputs[at]);
            const float stretched = away * $stretch[at];
            furthest = at == $median + 1 || stretched > furthest ? stretched : furthest;
            quantiles[at] = median + furthest;
        }
        for (int at = 0; at < $levels; ++at) {
            const double value = (double)quantiles[at] * stream->spread + stream->level;
            stream->quantiles[ahead][at] = $restored;
        }
    }
}

/* Take the value of the next step, NAN where it is missing; quantiles then are those of the steps after it. A value
   beyond $largest counts as missing. */
static inline void ${name}_push(${name}_stream *stream, double value) {
    if (!(fabs(value) <= $largest)) value = (double)NAN;
    $transformed
    const int there = value == value;
    const double before = stream->seen > 0 ? ${name}_past(stream, 1) : value;
    stream->sums[0] = stream->sums[0] * $decay + there;
    stream->sums[1] = stream->sums[1] * $decay + (there ? value : 0.0);
    const double weight = stream->sums[0] > DBL_MIN ? stream->sums[0] : DBL_MIN, level = stream->sums[1] / weight;
    stream->sums[2] = stream->sums[2] * $decay + (there ? fabs(value - level) : 0.0);
    const double least = $least * (fabs(level) > 1.0 ? fabs(level) : 1.0), mean = stream->sums[2] / weight;
    const double spread = mean > least ? mean : least, last_spread = stream->seen > 0 ? stream->spread : spread;
    stream->level = level;
    stream->spread = spread;
    stream->values[stream->seen % $kept] = value;
    ++stream->seen;
    float values[$features];
    values[0] = rnnkit_bent((value - level) / spread);
    values[1] = (float)there;
    values[2] = rnnkit_bent((value - before) / spread);
    values[3] = (float)($change * log(spread / last_spread));
    for (int at = 0; at < $seasons; ++at) {
        const double past = (${name}_past(stream, 1 + (long)$season_steps[at]) - level) / spread;
        values[4 + 2 * at] = rnnkit_bent(past);
        values[5 + 2 * at] = (float)(past == past);
    }
    ${name}_calendar(values + 4 + 2 * $seasons, stream->number);
    ++stream->number;
$step
    ${name}_forecast(stream, $state);
}

/* Begin a series whose first value is that of step `number` of the grid: $grid. */
static inline void ${name}_reset(${name}_stream *stream, long long number) {
    memset(stream, 0, sizeof *stream);
$begin
    stream->number = number;
}
