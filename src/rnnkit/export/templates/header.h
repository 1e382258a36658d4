/* $name: a $task model written by rnnkit, in C99.

   ${name}_stream stream;                  all the memory it needs, sizeof(stream) bytes beside the constants
   ${name}_reset(&stream);                 begin
   ${name}_push(&stream, ...);             $read, one at a time
   stream.probabilities[label]            after every step; ${name}_labels[stream.label] is the likeliest

   Nothing is allocated, nothing is kept elsewhere. Link with -lm. */
#ifndef RNNKIT_${upper}_H
#define RNNKIT_${upper}_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "${name}_weights.h"

#ifndef RNNKIT_PLAIN
#define RNNKIT_PLAIN
$runtime
#endif

#define ${upper}_LABELS $count
static const char *const ${name}_labels[$count] = {
$labels
};

typedef struct {
    float probabilities[$count], scores[$count];
    int label, steps;
$fields
    float scratch[$scratch];
} ${name}_stream;
$body
#endif
