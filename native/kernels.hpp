// What a level of the instruction set offers, and the calls it takes. No torch, no Python: pointers and sizes.
#pragma once

#include <cstdint>

namespace rnnkit {

// Numbers from one row of a buffer to the next: a little more than a power of two, for rows that are one apart compete
// for the same few places of the cache.
__attribute__((always_inline)) inline long spread(long columns) { return (columns + 15) / 16 * 16 + 16; }

// The kinds of number that a product can be made of.
enum class Way {
    float32,
    float64,
    bfloat16_weights,  // float32 values on bfloat16 weights, exact but for the rounding of the weights
    bfloat16,          // both are bfloat16, the sums float32
    int8,              // bytes from 0 to 255 on weights from -127 to 127, the sums int32
};

enum class Formula { rnn_tanh, rnn_relu, lstm, gru, gru_reset_before, program };

// A matrix (rows, columns) laid out for products with it, by `Level::pack`; or, with a stride, as it is: numbers of float32
// or float64, the rows that far apart and each without a gap or, `transposed`, the columns.
struct Packed {
    const void* data = nullptr;
    long rows = 0;
    long columns = 0;
    long stride = 0;
    bool transposed = false;
};

// A formula of a user's own, as instructions on registers. A register holds one number for each unit of a block of rows,
// or one for each row. `accumulate` and `row_sum` are of a, or of the products of a and b.
enum class Operation : int32_t {
    load, store, accumulate, number, add, sub, mul, div, mul_add, max, min, greater, select, affine, sigmoid, tanh, relu,
    exp, log, sqrt, rsqrt, reciprocal, abs, sign, row_sum, sigmoid_slope, tanh_slope, relu_slope,
};

enum class Array : int32_t {
    input, hidden, joined, state, parameter, output, new_state, by_output, by_new_state, by_input, by_hidden, by_joined,
    by_state, by_parameter,
};
constexpr int program_arrays = 14;
constexpr int most_parts = 64;  // of an array: gates, parts of the state, parameters
constexpr int most_registers = 64;
constexpr int most_states = 4;

struct ProgramInstruction {
    Operation operation;
    int32_t row;      // 1: one number for each row
    int32_t to, a, b, c;  // registers; -1 is none
    Array array;
    int32_t part;
    double x, y;
};

struct Program {
    const ProgramInstruction* instructions = nullptr;
    long count = 0;
    long registers = 0;
};

// Which rows of the buffers belong to which step. Sequences are sorted by length within a group, so that those still
// going at a step are the first ones, and stand in one block. A group is what one thread works on.
struct Steps {
    long groups = 1;
    long steps = 0;
    const int64_t* first = nullptr;   // (groups, steps): the first row of a step's block
    const int64_t* count = nullptr;   // (groups, steps): its rows; 0 where all sequences of the group have ended
    const int64_t* starts = nullptr;  // (groups,): the group's first sequence
};

// A recurrence whose state enters through a matrix, over time. S sequences have R valid steps altogether.
//
// The gates of a formula are of two kinds. Joined ones read the sum of the input's and the state's part; they come
// first. Apart ones (of a GRU the candidate) read the two separately.
struct GatedScan {
    Formula formula = Formula::lstm;
    Way way = Way::float32;
    Steps steps;
    long sequences = 0;             // S
    long total = 0;                 // R
    long size = 0;                  // units
    long output_size = 0;           // of state 0; differs from the units where there is a projection
    long joined_gates = 0;
    long apart_gates = 0;
    long lone_gates = 0;            // of a program without a matrix: all its gates, which are the input's alone
    long num_states = 0;
    Packed joined;                  // (joined gates * size, output_size)
    Packed apart;                   // (apart gates * size, output_size)
    const void* apart_bias = nullptr;  // (apart gates * size,), or null
    Packed projection;              // (output_size, size), or empty
    const void* inputs = nullptr;   // (R, gates * size): the input's part of the gates
    void* gates = nullptr;          // (R or S, gates * size): the gates, kept of every step if recorded
    // (R or S, apart gates * size): the state's part; of gru_reset_before at last the state as its candidate sees it
    void* hidden_gates = nullptr;
    void* unprojected = nullptr;    // (R or S, size), where there is a projection
    void* outputs = nullptr;        // (R, size), of a program whose output is not state 0
    // (S + R, size) each: initial states, then each step's. Not recorded, the parts after the first are (S, size),
    // except with a program.
    void* states[most_states] = {};
    const void* initial[most_states] = {};  // (S, size), to begin with; none in a backward pass
    const void* mask = nullptr;     // (S, output_size): multiplies the state on its way into the matrix; or null
    const void* keep[most_states] = {};  // (R, size): share that is kept of the step before (zoneout); or null
    Program program;                // of Formula::program, on joined gates alone or on apart gates alone
    long num_parameters = 0;
    const void* parameters[most_parts] = {};  // what it reads besides: (size,) or one number each
    bool recording = false;         // keep what the backward pass needs
    bool split_units = false;       // threads share the units of one group, instead of taking a group each
    int threads = 1;
};

// Its backward pass. The matrices are the transposed ones.
struct GatedScanBackward {
    GatedScan forward;                  // as it ran, recorded; its matrices unused
    Program program;                    // of Formula::program
    Packed hidden;                      // (output_size, (joined + apart gates) * size); of gru_reset_before joined alone
    Packed apart;                       // (output_size, apart gates * size), of gru_reset_before
    Packed projection;                  // (size, output_size), or empty
    const void* outputs = nullptr;      // (R, output_size): gradient of the outputs
    void* states[most_states] = {};     // (S, size): gradients of the last states in, of the initial ones out
    void* gates = nullptr;              // (R, gates * size): gradient of the input's part, out
    void* hidden_gates = nullptr;       // (R, apart gates * size): gradient of the state's part, out
    void* projected = nullptr;          // (R, output_size): gradient of what was projected, out
    void* parameters[most_parts] = {};  // added to: (groups, parameter_stride) numbers
    long parameter_stride = 0;
};

// h = decay * h + drive over time; all (sequences, steps, size) with steps and sequences `*_stride` numbers apart.
struct DiagonalScan {
    bool float64 = false;
    long sequences = 0, steps = 0, size = 0;
    const void* decay = nullptr;
    const void* drive = nullptr;
    const void* initial = nullptr;  // (sequences, size)
    void* hidden = nullptr;
    int threads = 1;
};

struct DiagonalScanBackward {
    DiagonalScan forward;
    const void* outputs = nullptr;  // gradient of every h
    void* decay = nullptr;          // gradients, out
    void* drive = nullptr;
    void* initial = nullptr;
};

// A product with a matrix, and a bias.
struct Dense {
    Packed matrix;
    const float* bias = nullptr;       // (matrix rows,), or null
    const float* scales = nullptr;     // int8: (matrix rows,), what 1 in the matrix stands for
    const int32_t* offsets = nullptr;  // int8: (matrix rows,), takes off what is too much because a byte begins at 128
};

enum class Norm { none, layer, rms };

// Memory for bytes and their sums: of int8 alone.
struct Bytes8 {
    uint8_t* bytes = nullptr;   // (rows, spread(the most columns of a matrix))
    float* scales = nullptr;    // (rows,)
    int32_t* sums = nullptr;    // (rows, the most rows of a matrix)
};

// One layer of a Session with the memory for its step, all float32. Rows stand spread(columns) numbers apart.
struct SessionLayer {
    Formula formula = Formula::lstm;
    long input_size = 0, size = 0, output_size = 0;
    Dense input;        // (joined gates * size, input_size)
    Dense input_apart;  // (apart gates * size, input_size)
    Dense hidden;       // (joined gates * size, output_size)
    Dense apart;        // (apart gates * size, output_size)
    Dense projection;   // (output_size, size), or empty
    Norm norm = Norm::none;  // of the inputs
    const float* norm_weight = nullptr;
    const float* norm_bias = nullptr;
    float norm_epsilon = 0;
    bool residual = false;      // add the inputs to the outputs
    float keep[2] = {};         // share of a state part that is kept from the step before
    float* inputs = nullptr;    // (rows, input_size)
    float* normed = nullptr;    // (rows, input_size)
    float* states[2] = {};      // (rows, output_size), (rows, size)
    float* gates = nullptr;     // (rows, gates * size)
    float* apart_gates = nullptr;  // (rows, apart gates * size)
    float* unprojected = nullptr;  // (rows, size)
    float* outputs = nullptr;      // (rows, output_size): the next layer's inputs
};

struct Session {
    Way way = Way::float32;
    long rows = 0;
    long layers = 0;
    SessionLayer* layer = nullptr;
    Dense head;  // (head_size, output_size), or empty: one more product, from the last outputs
    float* head_outputs = nullptr;
    Bytes8 bytes;
};

// What is seen of every channel of a series, in units of deviations: its value, how far it is from the first, its change.
struct Views {
    long channels = 0;
    const float* means = nullptr;       // (3 * channels,)
    const float* deviations = nullptr;  // (3 * channels,)
};

enum class Pooling { last, mean, max, attention, concat };

// Scores from how often random convolutions are high, by one regression for beginnings and one for whole series.
struct RandomConvolutions {
    Views views;
    long reach = 0;                     // steps that a kernel looks back
    long num_offsets = 0;
    const int64_t* offsets = nullptr;   // (num_offsets,): how many steps back; rising from 0
    Dense kernels;                      // (kernels, num_offsets * 3 * channels)
    long thresholds = 0;                // of a kernel
    const float* threshold = nullptr;   // (kernels * thresholds,)
    const float* width = nullptr;       // (kernels,), over which a step counts in part
    Dense regressions;                  // (2 * labels, kernels * thresholds), of sums: their bias comes after the division
    const float* bias = nullptr;        // (2 * labels,)
    float gain = 0, short_steps = 0;    // steps after which a series counts as whole
    float* seen = nullptr;              // (rows, num_offsets * 3 * channels)
    float* outputs = nullptr;           // (rows, kernels)
    float* said = nullptr;              // (rows, 2 * labels)
};

// A classifier of series around a Session, and the memory for its step: views, a convolution over the last steps, pooling,
// scores. Buffers are as those of a SessionLayer. The state of a row is one stretch of numbers: of the views whether there
// was a step, the first and the last one; the window of the convolution; the layers' states; count, sum or weight and
// sum, the largest; of the random convolutions their views, window, sums and steps.
struct SeriesNetwork {
    const Session* session = nullptr;
    Views views;
    Dense filters;             // (filters, steps * 3 * channels), or empty
    float* joined = nullptr;   // (rows, steps * 3 * channels)
    Pooling pooling = Pooling::last;
    float score_limit = 0;     // of an attention score
    Dense attention;           // (output_size, output_size)
    const float* attended = nullptr;  // (output_size,)
    float* attending = nullptr;       // (rows, output_size)
    long pooled_size = 0;
    float* pooled = nullptr;   // (rows, pooled_size)
    Dense head;                // (labels, pooled_size)
    RandomConvolutions convolutions;  // or none: no offsets
    long stack_at = 0, pooling_at = 0, direct_at = 0, state_size = 0;
};

// values (rows, columns) on a matrix (outputs, columns) whose element (n, k) stands at n * row_stride + k *
// column_stride: sums (rows, outputs) = values matrix^T + bias, the first `joined` of them + joined_bias too.
struct DenseProduct {
    bool float64 = false;
    long rows = 0, columns = 0, outputs = 0;
    const void* values = nullptr;
    long value_stride = 0;
    const void* matrix = nullptr;
    long row_stride = 0, column_stride = 0;
    const void* bias = nullptr;
    const void* joined_bias = nullptr;
    long joined = 0;
    void* sums = nullptr;
    int threads = 1;
};

// left^T right, summed over the rows of both, with one or two right buffers: sums (left columns, right columns).
struct OuterProduct {
    struct Right {
        const void* values = nullptr;
        long stride = 0, columns = 0;
        void* sums = nullptr;
    };
    bool float64 = false;
    long rows = 0;
    const void* left = nullptr;
    long left_stride = 0, left_columns = 0;
    void* totals = nullptr;  // (left columns,): the sum of the left buffer alone; or null
    Right right[2];
    int threads = 1;
};

struct Level {
    const char* name;
    // Rows of a matrix that stand together; threads that split the units do so at such edges.
    int (*panel_columns)(Way);
    // Bytes that `pack` writes.
    long (*packed_bytes)(Way, long rows, long columns);
    // Lay out a matrix of float32 (float64 for Way::float64) whose element (n, k) stands at n * row_stride + k *
    // column_stride. `scales` (rows,) divides the rows of an int8 matrix.
    void (*pack)(Way, const void* matrix, long rows, long columns, long row_stride, long column_stride,
                 const float* scales, void* packed);
    void (*gated_scan)(const GatedScan&);
    void (*gated_scan_backward)(const GatedScanBackward&);
    void (*dense_product)(const DenseProduct&);
    void (*outer_product)(const OuterProduct&);
    void (*diagonal_scan)(const DiagonalScan&);
    void (*diagonal_scan_backward)(const DiagonalScanBackward&);
    // One step of all layers, from the first one's inputs to the last one's outputs.
    void (*step)(const Session&);
    // `steps` steps of the session's rows: inputs (rows, steps, channels) and states (rows, state_size), which are
    // replaced by those after them, to scores (rows, steps, labels).
    void (*read_series)(const SeriesNetwork&, long steps, const float* inputs, float* states, float* scores);
    // What the machine can do at most, to be measured. Products of registers alone, in rounds, each by every thread:
    long (*products_of_a_round)(Way);
    void (*only_multiply)(Way, long rounds, int threads);
    // Reading memory alone, shared by the threads.
    void (*only_read)(const void* memory, long bytes, long rounds, int threads);
    // Sigmoid and tanh of `count` numbers, to be measured.
    void (*sigmoid)(const float* x, float* y, long count);
    void (*tanh)(const float* x, float* y, long count);
};

}  // namespace rnnkit
