
/* Read a token, a number below $tokens: its line in ${name}_tokens.txt, from 0. */
static inline void ${name}_push(${name}_stream *stream, int token) {
$step
    stream->label = rnnkit_largest(stream->probabilities, $count);
    ++stream->steps;
}

/* Begin a text. */
static inline void ${name}_reset(${name}_stream *stream) {
    memset(stream, 0, sizeof *stream);
$begin
    ${name}_push(stream, $document);
    stream->steps = 0;
}
