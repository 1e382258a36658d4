// A Session, and a classifier of series around one, as Python sees them: they own packed weights, state and the memory of a step.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "packing.hpp"

namespace nb = nanobind;
using namespace rnnkit;

namespace {

using View = nb::ndarray<nb::numpy, float, nb::ndim<2>>;

class PackedSession : public Packing {
  public:
    PackedSession(Way way, long rows) : Packing(rows) {
        session_.way = way;
        session_.rows = rows;
    }

    // Pointers to float32 matrices as torch.nn stores them; 0 is none. Returns nothing that refers to them.
    void add_layer(Formula formula, long joined, long apart, long input_size, long size, long output_size,
                   uintptr_t input_weight, uintptr_t hidden_weight, uintptr_t input_bias, uintptr_t hidden_bias,
                   uintptr_t projection) {
        SessionLayer layer;
        layer.formula = formula;
        layer.input_size = input_size;
        layer.size = size;
        layer.output_size = output_size;
        const auto* const ours = pointer(input_bias);
        const auto* const theirs = pointer(hidden_bias);
        const auto* const recurrent = pointer(hidden_weight);
        const long gates = (joined + apart) * size, both = joined * size;
        float* const bias = memory<float>(gates);
        for (long n = 0; n < gates; ++n) bias[n] = (ours ? ours[n] : 0) + (theirs && n < both ? theirs[n] : 0);
        const auto* const input = pointer(input_weight);
        layer.input = dense(input, both, input_size, bias);
        layer.hidden = dense(recurrent, both, output_size, nullptr);
        if (apart) {
            layer.input_apart = dense(input + both * input_size, gates - both, input_size, bias + both);
            layer.apart = dense(recurrent + both * output_size, gates - both, output_size,
                                theirs ? copy(theirs + both, gates - both) : nullptr);
        }
        if (projection) layer.projection = dense(pointer(projection), output_size, size, nullptr);
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
        layer.norm_weight = weight ? copy(pointer(weight), layer.input_size) : nullptr;
        layer.norm_bias = bias ? copy(pointer(bias), layer.input_size) : nullptr;
        layer.normed = rows_of(layer.input_size);
        layer.residual = residual;
        layer.keep[0] = keep;
        layer.keep[1] = keep_cell;
    }

    void set_head(uintptr_t weight, uintptr_t bias, long size) {
        const long columns = layers_.back().output_size;
        session_.head = dense(pointer(weight), size, columns,
                              bias ? copy(pointer(bias), size) : nullptr);
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
                std::memcpy(&now[row * size], pointer(inputs) + (row * steps + step) * size,
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

    std::string level() const { return level_.name; }

    const Session& session() const { return session_; }

  private:
    Session session_;
    std::vector<SessionLayer> layers_;
    long most_rows_ = 0, most_columns_ = 0;

    void advance(const float* inputs) {
        const long size = layers_.front().input_size, stride = spread(size);
        for (long row = 0; row < session_.rows; ++row) {
            std::memcpy(layers_.front().inputs + row * stride, inputs + row * size, size * sizeof(float));
        }
        level_.step(session_);
    }

    Dense dense(const float* matrix, long rows, long columns, const float* bias) {
        most_rows_ = std::max(most_rows_, rows);
        most_columns_ = std::max(most_columns_, columns);
        return pack(session_.way, matrix, rows, columns, bias);
    }

    View view(float* data, long columns, long stride) {
        const size_t shape[2] = {static_cast<size_t>(session_.rows), static_cast<size_t>(columns)};
        const int64_t strides[2] = {stride, 1};
        return View(data, 2, shape, nb::find(this), strides);
    }
};

// A classifier of series around a session, which it reads with.
class PackedSeries : public Packing {
  public:
    explicit PackedSeries(PackedSession& session) : Packing(session.session().rows), session_(session) {
        network_.session = &session.session();
    }

    void see(long channels, uintptr_t means, uintptr_t deviations) { network_.views = views(channels, means, deviations); }

    void convolve(long filters, long columns, uintptr_t weight, uintptr_t bias) {
        network_.filters = dense(filters, columns, weight, bias);
        network_.joined = rows_of(columns);
    }

    void pool(Pooling pooling, float limit, uintptr_t weight, uintptr_t bias, uintptr_t vector) {
        const long size = session_.output_size();
        network_.pooling = pooling;
        network_.score_limit = limit;
        network_.pooled_size = pooling == Pooling::concat ? 3 * size : size;
        network_.pooled = rows_of(network_.pooled_size);
        if (pooling != Pooling::attention) return;
        network_.attention = dense(size, size, weight, bias);
        network_.attended = copy(pointer(vector), size);
        network_.attending = rows_of(size);
    }

    void score(long labels, uintptr_t weight, uintptr_t bias) {
        network_.head = dense(labels, network_.pooled_size, weight, bias);
    }

    void convolve_randomly(long channels, uintptr_t means, uintptr_t deviations, const std::vector<int64_t>& offsets,
                           long kernels, uintptr_t kernel, long thresholds, uintptr_t threshold, uintptr_t width) {
        const bool rising = std::is_sorted(offsets.begin(), offsets.end());
        if (offsets.empty() || offsets.front() != 0 || !rising) throw std::invalid_argument("offsets");
        RandomConvolutions& all = network_.convolutions;
        all.views = views(channels, means, deviations);
        all.num_offsets = offsets.size();
        all.reach = offsets.back();
        int64_t* const own = memory<int64_t>(offsets.size());
        std::copy(offsets.begin(), offsets.end(), own);
        all.offsets = own;
        const long columns = 3 * channels * all.num_offsets;
        all.kernels = dense(kernels, columns, kernel, 0);
        all.thresholds = thresholds;
        all.threshold = copy(pointer(threshold), kernels * thresholds);
        all.width = copy(pointer(width), kernels);
        all.seen = rows_of(columns);
        all.outputs = rows_of(kernels);
    }

    void regress(uintptr_t weight, uintptr_t bias, float gain, float short_steps) {
        RandomConvolutions& all = network_.convolutions;
        const long scores = 2 * network_.head.matrix.rows;
        all.regressions = dense(scores, all.kernels.matrix.rows * all.thresholds, weight, 0);
        all.bias = copy(pointer(bias), scores);
        all.gain = gain;
        all.short_steps = short_steps;
        all.said = rows_of(scores);
    }

    // Where the parts of a row's state begin: that of the layers, of the pooling, of the random convolutions; its end.
    void lay_out(long stack, long pooling, long direct, long size) {
        network_.stack_at = stack;
        network_.pooling_at = pooling;
        network_.direct_at = direct;
        network_.state_size = size;
    }

    // (rows, steps, channels) in; (rows, state size), replaced; (rows, steps, labels) out.
    void run(uintptr_t inputs, uintptr_t states, uintptr_t scores, long rows, long steps) {
        session_.use(rows);
        level_.read_series(network_, steps, pointer(inputs), reinterpret_cast<float*>(states),
                           reinterpret_cast<float*>(scores));
    }

  private:
    PackedSession& session_;
    SeriesNetwork network_;

    Views views(long channels, uintptr_t means, uintptr_t deviations) {
        return {channels, copy(pointer(means), 3 * channels), copy(pointer(deviations), 3 * channels)};
    }

    Dense dense(long rows, long columns, uintptr_t weight, uintptr_t bias) {
        return pack(Way::float32, pointer(weight), rows, columns, bias ? copy(pointer(bias), rows) : nullptr);
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
        .def_prop_ro("level", &PackedSession::level);

    nb::enum_<Pooling>(m, "Pooling")
        .value("last", Pooling::last)
        .value("mean", Pooling::mean)
        .value("max", Pooling::max)
        .value("attention", Pooling::attention)
        .value("concat", Pooling::concat);
    nb::class_<PackedSeries>(m, "PackedSeries")
        .def(nb::init<PackedSession&>(), nb::keep_alive<1, 2>())
        .def("see", &PackedSeries::see)
        .def("convolve", &PackedSeries::convolve)
        .def("pool", &PackedSeries::pool)
        .def("score", &PackedSeries::score)
        .def("convolve_randomly", &PackedSeries::convolve_randomly)
        .def("regress", &PackedSeries::regress)
        .def("lay_out", &PackedSeries::lay_out)
        .def("run", &PackedSeries::run, nb::call_guard<nb::gil_scoped_release>());
}
