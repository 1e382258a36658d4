/* $name: a $task model written by rnnkit, in C99.

   ${name}_stream stream;                  all it keeps, sizeof(stream) bytes beside the constants
   ${name}_reset(&stream$given);                 begin
   ${name}_push(&stream, ...);             $read, one at a time
   $said

   Nothing is allocated, nothing is kept elsewhere; a call needs no more stack than the arrays it names. Link with -lm. */
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
$body
#endif
