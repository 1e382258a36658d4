// Everything of one level of the instruction set. Compiled once for each, with RNNKIT_LEVEL and the flags set.
#include <cstddef>

#include "cell_rows.hpp"
#include "dense.hpp"
#include "diagonal_scan.hpp"
#include "limits.hpp"
#include "program_rows.hpp"
#include "series.hpp"
#include "session.hpp"

namespace rnnkit::RNNKIT_LEVEL {

namespace {

template <typename Run>
auto with_way(Way way, Run run) {
    switch (way) {
        case Way::float64: return run.template operator()<Plain<double>, double>();
        case Way::bfloat16_weights: return run.template operator()<BriefWeights, float>();
        case Way::bfloat16: return run.template operator()<Brief, float>();
        case Way::int8: return run.template operator()<Bytes, float>();
        case Way::float32: break;
    }
    return run.template operator()<Plain<float>, float>();
}

int columns_of_panel(Way way) {
    return with_way(way, []<class Kind, typename Element>() { return panel_columns<Kind>; });
}

long packed_bytes(Way way, long rows, long columns) {
    return with_way(way, [&]<class Kind, typename Element>() -> long {
        return panels<Kind>(rows) * panel_columns<Kind> * padded<Kind>(columns) * sizeof(typename Kind::Word);
    });
}

void pack_matrix(Way way, const void* matrix, long rows, long columns, long row_stride, long column_stride,
                 const float* scales, void* packed) {
    with_way(way, [&]<class Kind, typename Element>() {
        pack<Kind>(static_cast<const Element*>(matrix), rows, columns, row_stride, column_stride, scales, packed);
    });
}

template <class Kind, typename Run>
void with_cell(Formula formula, Run run) {
    switch (formula) {
        case Formula::rnn_tanh: return run.template operator()<GatedScanRun<Kind, CompiledCells<TanhCell, Kind>>>();
        case Formula::rnn_relu: return run.template operator()<GatedScanRun<Kind, CompiledCells<ReluCell, Kind>>>();
        case Formula::lstm: return run.template operator()<GatedScanRun<Kind, CompiledCells<LSTMCell, Kind>>>();
        case Formula::gru: return run.template operator()<GatedScanRun<Kind, CompiledCells<GRUCell, Kind>>>();
        case Formula::gru_reset_before:
            return run.template operator()<GatedScanRun<Kind, CompiledCells<ResetBeforeGRUCell, Kind>>>();
        case Formula::program: return run.template operator()<GatedScanRun<Kind, ProgramCells<Kind>>>();
    }
}

template <typename Run>
void with_kind(const GatedScan& call, Run run) {
    switch (call.way) {
        case Way::float32: return with_cell<Plain<float>>(call.formula, run);
        case Way::float64: return with_cell<Plain<double>>(call.formula, run);
        case Way::bfloat16: return with_cell<Brief>(call.formula, run);
        default: return;  // the binding refuses it
    }
}

void gated_scan(const GatedScan& call) {
    with_kind(call, [&]<class Kind>() { Kind::forward(call); });
}

void gated_scan_backward(const GatedScanBackward& back) {
    with_kind(back.forward, [&]<class Kind>() { Kind::backward(back); });
}

void multiply_dense(const DenseProduct& call) {
    call.float64 ? dense_product<double>(call) : dense_product<float>(call);
}

void multiply_outer(const OuterProduct& call) {
    call.float64 ? outer_product<double>(call) : outer_product<float>(call);
}

void scan_diagonal(const DiagonalScan& call) {
    call.float64 ? diagonal_scan<double>(call) : diagonal_scan<float>(call);
}

void scan_diagonal_backward(const DiagonalScanBackward& back) {
    back.forward.float64 ? diagonal_scan_backward<double>(back) : diagonal_scan_backward<float>(back);
}

long products(Way way) {
    return with_way(way, []<class Kind, typename Element>() { return products_of_a_round<Kind>; });
}

void multiply_alone(Way way, long rounds, int threads) {
    with_way(way, [&]<class Kind, typename Element>() { only_multiply<Kind>(rounds, threads); });
}

void sigmoid_of(const float* x, float* y, long count) {
    for_vectors<float>(0, count, [&](long at, auto part) { store(y + at, sigmoid(load(x + at, part)), part); });
}

void tanh_of(const float* x, float* y, long count) {
    for_vectors<float>(0, count, [&](long at, auto part) { store(y + at, hyperbolic_tangent(load(x + at, part)), part); });
}

}  // namespace

#define RNNKIT_NAME_OF(level) #level
#define RNNKIT_NAME(level) RNNKIT_NAME_OF(level)

extern const Level level;
const Level level = {
    RNNKIT_NAME(RNNKIT_LEVEL), columns_of_panel,       packed_bytes,   pack_matrix,    gated_scan,
    gated_scan_backward,       multiply_dense,         multiply_outer, scan_diagonal,  scan_diagonal_backward,
    step,                      read_series,            products,       multiply_alone, only_read,
    sigmoid_of,                tanh_of,
};

}  // namespace rnnkit::RNNKIT_LEVEL
