
static inline void ${name}_step(${name}_stream *stream, const float *values) {
$step
    ++stream->steps;
    const int leader = rnnkit_largest(stream->probabilities, $count);
    const int sure = (double)stream->probabilities[leader] >= $confidence;
    stream->run = sure ? (leader == stream->label && stream->run > 0 ? stream->run + 1 : 1) : 0;
    stream->label = leader;
    if (stream->fired < 0 && stream->run >= $patience && leader != $null) stream->fired = leader;
}

static inline int ${name}_answer(${name}_stream *stream) {
    float values[$channels];
    for (int at = 0; at < $channels; ++at) {
        values[at] = (float)(stream->sums[at] / stream->waiting);
        stream->sums[at] = 0.0;
    }
    stream->waiting = 0;
    ${name}_step(stream, values);
    return 1;
}

/* Take a sample: $channels numbers, NAN where one is missing. Returns 1 where it completes a step. */
static inline int ${name}_push(${name}_stream *stream, const float *sample) {
    for (int at = 0; at < $channels; ++at) {
        if (sample[at] == sample[at]) stream->seen[at] = sample[at];
        stream->sums[at] += (double)stream->seen[at];
    }
    if (++stream->waiting < $stride) return 0;
    return ${name}_answer(stream);
}

/* End the series: samples that make no whole step make the last one, and what was not decided is decided. */
static inline void ${name}_finish(${name}_stream *stream) {
    if (stream->waiting > 0) ${name}_answer(stream);
    if (stream->steps > 0 && stream->fired < 0 && stream->label != $null) stream->fired = stream->label;
}

/* Begin a series. */
static inline void ${name}_reset(${name}_stream *stream) {
    memset(stream, 0, sizeof *stream);
$begin
    for (int at = 0; at < $channels; ++at) stream->seen[at] = $means[at];
    stream->fired = -1;
}
