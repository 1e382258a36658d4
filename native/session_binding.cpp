// A Session as Python sees it: it owns the packed weights, the state and all memory of a step.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "levels.hpp"

namespace nb = nanobind;
using namespace rnnkit;

namespace {

using View = nb::ndarray<nb::numpy, float, nb::ndim<2>>;

struct Free {
    void operator()(void* memory) const { operator delete(memory, std::align_val_t(64)); }
};

class PackedSession {
  public:
    PackedSession(Way way, long rows) : level_(level_in_use()), most_(rows) {
        session_.way = way;
        session_.rows = rows;
    }
    PackedSession(const PackedSession&) = delete;
    PackedSession& operator=(const PackedSession&) = delete;

    // Pointers to float32 matrices as torch.nn stores them; 0 is none. Returns nothing that refers to them.
    void add_layer(Formula formula, long joined, long apart, long input_size, long size, long output_size,
                   uintptr_t input_weight, uintptr_t hidden_weight, uintptr_t input_bias, uintptr_t hidden_bias,
                   uintptr_t projection) {
        SessionLayer layer;
        layer.formula = formula;
        layer.input_size = input_size;
        layer.size = size;
        layer.output_size = output_size;
        const auto* const ours = reinterpret_cast<const float*>(input_bias);
        const auto* const theirs = reinterpret_cast<const float*>(hidden_bias);
        const auto* const recurrent = reinterpret_cast<const float*>(hidden_weight);
        const long gates = (joined + apart) * size, both = joined * size;
        float* const bias = memory<float>(gates);
        for (long n = 0; n < gates; ++n) bias[n] = (ours ? ours[n] : 0) + (theirs && n < both ? theirs[n] : 0);
        const auto* const input = reinterpret_cast<const float*>(input_weight);
        layer.input = dense(input, both, input_size, bias);
        layer.hidden = dense(recurrent, both, output_size, nullptr);
        if (apart) {
            layer.input_apart = dense(input + both * input_size, gates - both, input_size, bias + both);
            layer.apart = dense(recurrent + both * output_size, gates - both, output_size,
                                theirs ? copy(theirs + both, gates - both) : nullptr);
        }
        if (projection) layer.projection = dense(reinterpret_cast<const float*>(projection), output_size, size, nullptr);
        layer.inputs = rows_of(input_size);
        layer.states[0] = rows_of(output_size);
        layer.states[1] = rows_of(size);
        layer.gates = memory<float>(session_.rows * gates);
        layer.apart_gates = memory<float>(session_.rows * apart * size);
        layer.unprojected = rows_of(size);
        layers_.push_back(layer);
    }

    // What surrounds the layer added last.
    void surround(Norm norm, uintptr_t weight, uintptr_t bias, float epsilon, bool residual, float keep, float keep_cell) {
        SessionLayer& layer = layers_.back();
        layer.norm = norm;
        layer.norm_epsilon = epsilon;
        layer.norm_weight = weight ? copy(reinterpret_cast<const float*>(weight), layer.input_size) : nullptr;
        layer.norm_bias = bias ? copy(reinterpret_cast<const float*>(bias), layer.input_size) : nullptr;
        layer.normed = rows_of(layer.input_size);
        layer.residual = residual;
        layer.keep[0] = keep;
        layer.keep[1] = keep_cell;
    }

    void set_head(uintptr_t weight, uintptr_t bias, long size) {
        const long columns = layers_.back().output_size;
        session_.head = dense(reinterpret_cast<const float*>(weight), size, columns,
                              bias ? copy(reinterpret_cast<const float*>(bias), size) : nullptr);
        session_.head_outputs = memory<float>(session_.rows * size);
    }

    // Join the layers; nothing can be added afterwards.
    void finish() {
        for (size_t depth = 0; depth + 1 < layers_.size(); ++depth) layers_[depth].outputs = layers_[depth + 1].inputs;
        layers_.back().outputs = rows_of(layers_.back().output_size);
        session_.layer = layers_.data();
        session_.layers = layers_.size();
        if (session_.way != Way::int8) return;
        session_.bytes.bytes = memory<uint8_t>(session_.rows * spread(most_columns_));
        session_.bytes.scales = memory<float>(session_.rows);
        session_.bytes.sums = memory<int32_t>(session_.rows * most_rows_);
    }

    // (rows, input_size) of contiguous float32 in; the outputs lie in `outputs`. The plain buffer of an array is had in a
    // third of the time of an exchange.
    void step(nb::handle inputs) {
        Py_buffer view;
        if (PyObject_GetBuffer(inputs.ptr(), &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) != 0) throw nb::python_error();
        const bool fits = view.ndim == 2 && view.shape[0] == session_.rows && view.shape[1] == layers_.front().input_size &&
                          std::strcmp(view.format, "f") == 0;
        if (fits) advance(static_cast<const float*>(view.buf));
        PyBuffer_Release(&view);
        if (!fits) throw std::invalid_argument("shape");  // the caller says which was expected
    }

    // From now on only the first rows advance; no more than there is memory for.
    void use(long rows) {
        if (rows < 0 || rows > most_) throw std::invalid_argument("rows");
        session_.rows = rows;
    }

    // (rows, steps, input_size) in, (rows, steps, output size) out.
    void run(uintptr_t inputs, uintptr_t outputs, long steps) {
        const long size = layers_.front().input_size, wide = output_size();
        std::vector<float> now(session_.rows * size);
        for (long step = 0; step < steps; ++step) {
            for (long row = 0; row < session_.rows; ++row) {
                std::memcpy(&now[row * size], reinterpret_cast<const float*>(inputs) + (row * steps + step) * size,
                            size * sizeof(float));
            }
            advance(now.data());
            const float* const from = session_.head.matrix.data ? session_.head_outputs : layers_.back().outputs;
            const long stride = session_.head.matrix.data ? wide : spread(wide);
            for (long row = 0; row < session_.rows; ++row) {
                std::memcpy(reinterpret_cast<float*>(outputs) + (row * steps + step) * wide, from + row * stride,
                            wide * sizeof(float));
            }
        }
    }

    View outputs_view() {
        if (session_.head.matrix.data) return view(session_.head_outputs, output_size(), output_size());
        return view(layers_.back().outputs, output_size(), spread(output_size()));
    }

    View state_view(long depth, long part) {
        SessionLayer& layer = layers_.at(depth);
        const long size = part == 0 ? layer.output_size : layer.size;
        return view(layer.states[part], size, spread(size));
    }

    long output_size() const {
        return session_.head.matrix.data ? session_.head.matrix.rows : layers_.back().output_size;
    }

    size_t weight_bytes() const { return weight_bytes_; }

    std::string level() const { return level_.name; }

  private:
    const Level& level_;
    const long most_;  // rows
    Session session_;
    std::vector<SessionLayer> layers_;
    std::vector<std::unique_ptr<void, Free>> memory_;
    long most_rows_ = 0, most_columns_ = 0;
    size_t weight_bytes_ = 0;

    void advance(const float* inputs) {
        const long size = layers_.front().input_size, stride = spread(size);
        for (long row = 0; row < session_.rows; ++row) {
            std::memcpy(layers_.front().inputs + row * stride, inputs + row * size, size * sizeof(float));
        }
        level_.step(session_);
    }

    template <typename T>
    T* memory(long count) {
        void* found = operator new(std::max<size_t>(1, count * sizeof(T)), std::align_val_t(64));
        memory_.emplace_back(found);
        std::memset(found, 0, count * sizeof(T));
        return static_cast<T*>(found);
    }

    float* rows_of(long columns) { return memory<float>(session_.rows * spread(columns)); }

    const float* copy(const float* from, long count) {
        float* const to = memory<float>(count);
        std::memcpy(to, from, count * sizeof(float));
        return to;
    }

    Dense dense(const float* matrix, long rows, long columns, const float* bias) {
        Dense made;
        made.bias = bias;
        if (session_.way == Way::int8) scale(made, matrix, rows, columns);
        const long bytes = level_.packed_bytes(session_.way, rows, columns);
        auto* const packed = memory<uint8_t>(bytes);
        level_.pack(session_.way, matrix, rows, columns, columns, 1, made.scales, packed);
        made.matrix = {packed, rows, columns};
        most_rows_ = std::max(most_rows_, rows);
        most_columns_ = std::max(most_columns_, columns);
        weight_bytes_ += bytes;
        return made;
    }

    // Each row of an int8 matrix by its own scale, so that its largest number becomes 127.
    void scale(Dense& dense, const float* matrix, long rows, long columns) {
        float* const scales = memory<float>(rows);
        int32_t* const offsets = memory<int32_t>(rows);
        for (long n = 0; n < rows; ++n) {
            float largest = 1e-12f;
            for (long k = 0; k < columns; ++k) largest = std::max(largest, std::abs(matrix[n * columns + k]));
            scales[n] = largest / 127.0f;
            for (long k = 0; k < columns; ++k) {
                offsets[n] -= 128 * static_cast<int32_t>(std::nearbyint(matrix[n * columns + k] / scales[n]));
            }
        }
        dense.scales = scales;
        dense.offsets = offsets;
    }

    View view(float* data, long columns, long stride) {
        const size_t shape[2] = {static_cast<size_t>(session_.rows), static_cast<size_t>(columns)};
        const int64_t strides[2] = {stride, 1};
        return View(data, 2, shape, nb::find(this), strides);
    }
};

}  // namespace

void bind_session(nb::module_& m) {
    nb::enum_<Norm>(m, "Norm").value("none", Norm::none).value("layer", Norm::layer).value("rms", Norm::rms);
    nb::class_<PackedSession>(m, "PackedSession")
        .def(nb::init<Way, long>())
        .def("add_layer", &PackedSession::add_layer)
        .def("surround", &PackedSession::surround)
        .def("set_head", &PackedSession::set_head)
        .def("finish", &PackedSession::finish)
        .def("step", &PackedSession::step)
        .def("use", &PackedSession::use)
        .def("run", &PackedSession::run, nb::call_guard<nb::gil_scoped_release>())
        .def("outputs", &PackedSession::outputs_view)
        .def("state", &PackedSession::state_view)
        .def_prop_ro("output_size", &PackedSession::output_size)
        .def_prop_ro("weight_bytes", &PackedSession::weight_bytes)
        .def_prop_ro("level", &PackedSession::level);
}
