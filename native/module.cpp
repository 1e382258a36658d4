// The binding: calls as objects whose pointers are Python integers, which a torch tensor gives in a tenth of the time
// that an exchange of arrays takes.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "levels.hpp"

namespace nb = nanobind;
using namespace rnnkit;

void bind_session(nb::module_& m);

namespace {

constexpr const char* operation_names[] = {
    "load", "store", "accumulate", "number", "add", "sub", "mul", "div", "mul_add", "max", "min", "greater", "select",
    "affine", "sigmoid", "tanh", "relu", "exp", "log", "sqrt", "rsqrt", "reciprocal", "abs", "sign", "row_sum",
    "sigmoid_slope", "tanh_slope", "relu_slope",
};
constexpr const char* array_names[] = {
    "input", "hidden", "joined", "state", "parameter", "output", "new_state", "by_output", "by_new_state", "by_input",
    "by_hidden", "by_joined", "by_state", "by_parameter",
};

template <typename T>
T* pointer(uintptr_t address) {
    return reinterpret_cast<T*>(address);
}

// A field that is a pointer, as a number that can be set.
template <typename Class, typename Field>
void address(nb::class_<Class>& to, const char* name, Field Class::* field) {
    to.def_prop_rw(
        name, [field](const Class& self) { return reinterpret_cast<uintptr_t>(self.*field); },
        [field](Class& self, uintptr_t value) { self.*field = reinterpret_cast<Field>(value); });
}

// A field of several pointers; those not given are none.
template <typename Class, typename Field, size_t most>
void addresses(nb::class_<Class>& to, const char* name, Field (Class::*field)[most]) {
    to.def_prop_rw(
        name,
        [field](const Class& self) {
            std::vector<uintptr_t> values;
            for (Field one : self.*field) values.push_back(reinterpret_cast<uintptr_t>(one));
            return values;
        },
        [field](Class& self, const std::vector<uintptr_t>& values) {
            if (values.size() > most) throw std::invalid_argument("too many addresses");
            for (size_t n = 0; n < most; ++n) (self.*field)[n] = reinterpret_cast<Field>(n < values.size() ? values[n] : 0);
        });
}

// A program with its instructions.
struct OwnedProgram {
    std::vector<ProgramInstruction> instructions;
    long registers = 0;

    void add(Operation operation, bool row, const std::vector<int>& registers_used, Array array, int part, double x,
             double y) {
        const auto& r = registers_used;  // the result's, and up to three that are read; -1 is none
        instructions.push_back({operation, row, r.at(0), r.at(1), r.at(2), r.at(3), array, part, x, y});
        for (int used : r) registers = std::max<long>(registers, used + 1);
        if (registers > most_registers || part < 0 || part >= most_parts) throw std::invalid_argument("too large a program");
    }

    Program program() const { return {instructions.data(), static_cast<long>(instructions.size()), registers}; }
};

void check(const GatedScan& call) {
    if (call.way != Way::float32 && call.way != Way::float64 && call.way != Way::bfloat16) {
        throw std::invalid_argument("a scan runs in float32, float64 or bfloat16");
    }
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "The C++ kernels. Pointers are integers; nothing is checked here: rnnkit.kernels.native is the caller.";

    nb::set_leak_warnings(false);  // a session in a global variable lives until the end, and is no leak

    nb::enum_<Way>(m, "Way")
        .value("float32", Way::float32)
        .value("float64", Way::float64)
        .value("bfloat16_weights", Way::bfloat16_weights)
        .value("bfloat16", Way::bfloat16)
        .value("int8", Way::int8);
    nb::enum_<Formula>(m, "Formula")
        .value("rnn_tanh", Formula::rnn_tanh)
        .value("rnn_relu", Formula::rnn_relu)
        .value("lstm", Formula::lstm)
        .value("gru", Formula::gru)
        .value("gru_reset_before", Formula::gru_reset_before)
        .value("program", Formula::program);
    nb::enum_<Operation> operation(m, "Operation");
    for (size_t n = 0; n < std::size(operation_names); ++n) operation.value(operation_names[n], Operation(n));
    nb::enum_<Array> array(m, "Array");
    for (size_t n = 0; n < std::size(array_names); ++n) array.value(array_names[n], Array(n));
    nb::class_<OwnedProgram>(m, "Program").def(nb::init<>()).def("add", &OwnedProgram::add);

    nb::class_<Packed>(m, "Packed")
        .def(nb::init<>())
        .def("__init__", [](Packed* self, uintptr_t data, long rows, long columns, long stride, bool transposed) {
            new (self) Packed{pointer<void>(data), rows, columns, stride, transposed};
        });

    nb::class_<GatedScan> scan(m, "GatedScan");
    scan.def(nb::init<>())
        .def_rw("formula", &GatedScan::formula)
        .def_rw("way", &GatedScan::way)
        .def_rw("sequences", &GatedScan::sequences)
        .def_rw("total", &GatedScan::total)
        .def_rw("size", &GatedScan::size)
        .def_rw("output_size", &GatedScan::output_size)
        .def_rw("joined_gates", &GatedScan::joined_gates)
        .def_rw("apart_gates", &GatedScan::apart_gates)
        .def_rw("lone_gates", &GatedScan::lone_gates)
        .def_rw("num_states", &GatedScan::num_states)
        .def_rw("num_parameters", &GatedScan::num_parameters)
        .def_rw("joined", &GatedScan::joined)
        .def_rw("apart", &GatedScan::apart)
        .def_rw("projection", &GatedScan::projection)
        .def_rw("recording", &GatedScan::recording)
        .def_rw("split_units", &GatedScan::split_units)
        .def_rw("threads", &GatedScan::threads)
        .def("set_program", [](GatedScan& self, const OwnedProgram& program) { self.program = program.program(); })
        .def("set_steps",
             [](GatedScan& self, long groups, long steps, uintptr_t first, uintptr_t count, uintptr_t starts) {
                 self.steps = Steps{groups, steps, pointer<int64_t>(first), pointer<int64_t>(count),
                                    pointer<int64_t>(starts)};
             });
    address(scan, "apart_bias", &GatedScan::apart_bias);
    address(scan, "inputs", &GatedScan::inputs);
    address(scan, "gates", &GatedScan::gates);
    address(scan, "hidden_gates", &GatedScan::hidden_gates);
    address(scan, "outputs", &GatedScan::outputs);
    address(scan, "unprojected", &GatedScan::unprojected);
    addresses(scan, "states", &GatedScan::states);
    addresses(scan, "initial", &GatedScan::initial);
    address(scan, "mask", &GatedScan::mask);
    addresses(scan, "keep", &GatedScan::keep);
    addresses(scan, "parameters", &GatedScan::parameters);

    nb::class_<GatedScanBackward> back(m, "GatedScanBackward");
    back.def(nb::init<>())
        .def_rw("forward", &GatedScanBackward::forward)
        .def_rw("hidden", &GatedScanBackward::hidden)
        .def_rw("apart", &GatedScanBackward::apart)
        .def_rw("projection", &GatedScanBackward::projection)
        .def_rw("parameter_stride", &GatedScanBackward::parameter_stride)
        .def("set_program",
             [](GatedScanBackward& self, const OwnedProgram& program) { self.program = program.program(); });
    address(back, "outputs", &GatedScanBackward::outputs);
    addresses(back, "states", &GatedScanBackward::states);
    address(back, "gates", &GatedScanBackward::gates);
    address(back, "hidden_gates", &GatedScanBackward::hidden_gates);
    addresses(back, "parameters", &GatedScanBackward::parameters);
    address(back, "projected", &GatedScanBackward::projected);

    const auto free_lock = nb::call_guard<nb::gil_scoped_release>();
    m.def("gated_scan", [](const GatedScan& call) { check(call), level_in_use().gated_scan(call); }, free_lock);
    m.def(
        "gated_scan_backward",
        [](const GatedScanBackward& call) { check(call.forward), level_in_use().gated_scan_backward(call); }, free_lock);
    m.def(
        "dense_product",
        [](bool float64, long rows, long columns, long outputs, uintptr_t values, uintptr_t matrix, long row_stride,
           long column_stride, uintptr_t bias, uintptr_t joined_bias, long joined, uintptr_t sums, int threads) {
            level_in_use().dense_product({float64, rows, columns, outputs, pointer<void>(values), columns,
                                          pointer<void>(matrix), row_stride, column_stride, pointer<void>(bias),
                                          pointer<void>(joined_bias), joined, pointer<void>(sums), threads});
        },
        free_lock);
    m.def(
        "outer_product",
        [](bool float64, long rows, uintptr_t left, long left_stride, long left_columns, uintptr_t totals,
           const std::vector<std::tuple<uintptr_t, long, long, uintptr_t>>& rights, int threads) {
            OuterProduct call{float64, rows, pointer<void>(left), left_stride, left_columns, pointer<void>(totals)};
            if (rights.size() > std::size(call.right)) throw std::invalid_argument("too many right buffers");
            for (size_t n = 0; n < rights.size(); ++n) {
                const auto [values, stride, columns, sums] = rights[n];
                call.right[n] = {pointer<void>(values), stride, columns, pointer<void>(sums)};
            }
            call.threads = threads;
            level_in_use().outer_product(call);
        },
        free_lock);
    m.def(
        "diagonal_scan",
        [](bool float64, long sequences, long steps, long size, uintptr_t decay, uintptr_t drive, uintptr_t initial,
           uintptr_t hidden, int threads) {
            level_in_use().diagonal_scan({float64, sequences, steps, size, pointer<void>(decay), pointer<void>(drive),
                                   pointer<void>(initial), pointer<void>(hidden), threads});
        },
        free_lock);
    m.def(
        "diagonal_scan_backward",
        [](bool float64, long sequences, long steps, long size, uintptr_t decay, uintptr_t initial, uintptr_t hidden,
           uintptr_t outputs, uintptr_t by_decay, uintptr_t by_drive, uintptr_t by_initial, int threads) {
            level_in_use().diagonal_scan_backward({{float64, sequences, steps, size, pointer<void>(decay), nullptr,
                                             pointer<void>(initial), pointer<void>(hidden), threads},
                                            pointer<void>(outputs), pointer<void>(by_decay), pointer<void>(by_drive),
                                            pointer<void>(by_initial)});
        },
        free_lock);
    m.def("panel_columns", [](Way way) { return level_in_use().panel_columns(way); });
    m.def("products_of_a_round", [](Way way) { return level_in_use().products_of_a_round(way); });
    m.def(
        "only_multiply", [](Way way, long rounds, int threads) { level_in_use().only_multiply(way, rounds, threads); },
        free_lock);
    m.def(
        "only_read",
        [](uintptr_t memory, long bytes, long rounds, int threads) {
            level_in_use().only_read(pointer<void>(memory), bytes, rounds, threads);
        },
        free_lock);
    m.def("sigmoid", [](uintptr_t x, uintptr_t y, long count) { level_in_use().sigmoid(pointer<float>(x), pointer<float>(y), count); });
    m.def("tanh", [](uintptr_t x, uintptr_t y, long count) { level_in_use().tanh(pointer<float>(x), pointer<float>(y), count); });

    m.def("levels", [] {
        std::vector<std::string> names;
        for (const Level* level : levels()) names.emplace_back(level->name);
        return names;
    });
    m.def("level", [] { return std::string(level_in_use().name); });
    m.def("use_level", &use_level);
    bind_session(m);
}
