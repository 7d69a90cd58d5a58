// Run the compiled network of a bundle without Python: `run predict` and `run bench`, as run.py does.
//
//     ./run predict photo.ppm [more.npy ...]        the three likeliest labels of each image
//     ./run predict a.npy b.bin [--to FOLDER]       the outputs of a network that takes arrays, its inputs in order
//     ./run bench [--repeat N]                      the latency on this machine, beside the claimed one
//
// Needs the TVM runtime's two libraries beside it and nothing else. build.sh is the command that built it.
// Images are binary .ppm or .pgm, or .npy of uint8 (height, width[, channels]); every other file holds an input as
// .npy (exactly its dtype and shape) or as bare bytes. The steps from image to input are those of run.py, in its order
// and precision, so both give the same input.

#include <dlfcn.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <numeric>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <tvm/ffi/c_api.h>
// Not exported: the runtime throws and catches this type by the system's C++ library, this program by its own.
#undef TVM_FFI_DLL
#define TVM_FFI_DLL

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/container/shape.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/extra/json.h>
#include <tvm/ffi/function.h>

namespace ffi = tvm::ffi;

namespace {

constexpr int kFewestSamples = 15;
constexpr double kSampleSeconds = 2e-3;
constexpr size_t kShownValues = 6;

// A bundle, file or machine that cannot be used; the text says what is wrong and what to do.
struct Problem : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// ------------------------------------------------------------------ the manifest

using Object = ffi::json::Object;
using Values = ffi::json::Array;

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Problem("cannot read " + path + " (" + std::strerror(errno) + ")");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) throw Problem("cannot read " + path + ": is it a file?");
  return text;
}

ffi::Any at(const Object& object, const char* key) {
  auto found = object.Get(ffi::String(key));
  if (!found.has_value()) throw Problem(std::string("manifest.json has no ") + key + ": make the bundle again");
  return *found;
}

bool has(const Object& object, const char* key) { return object.count(ffi::String(key)) > 0; }

double number(const ffi::Any& value) {
  auto whole = value.as<int64_t>();
  return whole.has_value() ? static_cast<double>(*whole) : value.cast<double>();
}

std::string text(const Object& object, const char* key) { return std::string(at(object, key).cast<ffi::String>()); }

std::vector<double> numbers(const ffi::Any& list) {
  std::vector<double> found;
  for (const ffi::Any& each : list.cast<Values>()) found.push_back(number(each));
  return found;
}

Object read_manifest(const std::string& folder) {
  ffi::String problem;
  ffi::json::Value parsed = ffi::json::Parse(read_file(folder + "/manifest.json"), &problem);
  auto manifest = parsed.as<Object>();
  if (!problem.empty() || !manifest.has_value()) {
    throw Problem("manifest.json is damaged (" + std::string(problem) + "): copy the bundle again");
  }
  if (number(at(*manifest, "format")) != 2) throw Problem("this reads bundles of format 2: make the bundle again");
  return *manifest;
}

// The machine must have the target's instruction sets: code for others ends the process.
void check_target(const Object& target) {
  utsname machine{};
  uname(&machine);
  if (text(target, "isa") != machine.machine) {
    throw Problem("this bundle is for " + text(target, "isa") + ", but this machine is " + machine.machine);
  }
  std::ifstream lines("/proc/cpuinfo");
  std::string heading = text(target, "isa") == "aarch64" ? "Features" : "flags";
  std::set<std::string> present;
  for (std::string line; present.empty() && std::getline(lines, line);) {
    if (line.rfind(heading, 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    present.insert(std::istream_iterator<std::string>(words), {});
  }
  for (const ffi::Any& each : at(target, "features").cast<Values>()) {
    std::string feature(each.cast<ffi::String>());
    if (!present.empty() && !present.count(feature)) {
      throw Problem("this bundle needs a processor with " + feature + " (it is for " + text(target, "profile") +
                    "), which this one lacks");
    }
  }
}

// ------------------------------------------------------------------ arrays

struct Array {
  std::string dtype;  // numpy's name, such as float32
  std::vector<int64_t> shape;
  std::string bytes;

  template <typename T>
  T* data() { return reinterpret_cast<T*>(bytes.data()); }
};

struct Kind {
  const char* dtype;
  const char* descr;  // as .npy files write it
  size_t size;
};
constexpr Kind kKinds[] = {{"float32", "<f4", 4}, {"float16", "<f2", 2}, {"float64", "<f8", 8}, {"int64", "<i8", 8},
                           {"int32", "<i4", 4},   {"int16", "<i2", 2},   {"int8", "|i1", 1},    {"uint8", "|u1", 1},
                           {"bool", "|b1", 1}};

const Kind& kind_of(const std::string& name) {
  for (const Kind& kind : kKinds) {
    if (name == kind.dtype || name == kind.descr) return kind;
  }
  throw Problem("arrays of " + name + " are not known to this runner: use run.py");
}

size_t count(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), size_t{1}, std::multiplies<size_t>());
}

std::string describe(const std::string& dtype, const std::vector<int64_t>& shape) {
  std::ostringstream out;
  out << dtype << " (";
  for (size_t axis = 0; axis < shape.size(); ++axis) out << (axis ? ", " : "") << shape[axis];
  out << (shape.size() == 1 ? ",)" : ")");
  return out.str();
}

std::string between(const std::string& header, const std::string& from, const std::string& to,
                    const std::string& path) {
  size_t start = header.find(from);
  size_t end = start == std::string::npos ? start : header.find(to, start + from.size());
  if (end == std::string::npos) throw Problem(path + " is no .npy file that this runner reads");
  return header.substr(start + from.size(), end - start - from.size());
}

// NumPy's .npy format, versions 1 to 3 (numpy.lib.format); C order only.
Array read_npy(const std::string& path) {
  std::string file = read_file(path);
  if (file.size() < 12 || file.compare(0, 6, "\x93NUMPY") != 0) throw Problem(path + " is no .npy file");
  size_t wide = file[6] == 1 ? 2 : 4, length = 0;
  for (size_t byte = 0; byte < wide; ++byte) length |= size_t{static_cast<uint8_t>(file[8 + byte])} << (8 * byte);
  std::string header = file.substr(8 + wide, length);
  if (header.find("'fortran_order': False") == std::string::npos) {
    throw Problem(path + " must be in C order: save it with numpy.ascontiguousarray");
  }
  const Kind& kind = kind_of(between(header, "'descr': '", "'", path));
  Array array{kind.dtype, {}, {}};
  std::istringstream extents(between(header, "'shape': (", ")", path));
  for (std::string extent; std::getline(extents, extent, ',');) {
    if (extent.find_first_not_of(' ') != std::string::npos) array.shape.push_back(std::stoll(extent));
  }
  if (file.size() < 8 + wide + length + count(array.shape) * kind.size) throw Problem(path + " ends too early");
  array.bytes = file.substr(8 + wide + length, count(array.shape) * kind.size);
  return array;
}

void write_npy(const std::string& path, const Array& array) {
  std::string shape = describe("", array.shape).substr(1);
  std::string header = std::string("{'descr': '") + kind_of(array.dtype).descr +
                       "', 'fortran_order': False, 'shape': " + shape + ", }";
  header.append(63 - (10 + header.size()) % 64, ' ').push_back('\n');
  std::ofstream file(path, std::ios::binary);
  file << "\x93NUMPY" << '\1' << '\0' << static_cast<char>(header.size() & 255) << static_cast<char>(header.size() >> 8)
       << header << array.bytes;
  file.flush();
  if (!file) throw Problem("cannot write " + path + " (" + std::strerror(errno) + ")");
}

// Netpbm's binary .pgm (P5) and .ppm (P6) of 8 bits: uint8 (height, width, channels).
Array read_netpbm(const std::string& path) {
  std::string file = read_file(path);
  std::istringstream header(file);
  std::string magic;
  std::vector<int64_t> sizes;
  header >> magic;
  for (std::string word; sizes.size() < 3 && header >> word;) {
    if (word[0] == '#') {
      std::getline(header, word);
    } else {
      sizes.push_back(std::atoll(word.c_str()));
    }
  }
  int64_t channels = magic == "P6" ? 3 : 1;
  if ((magic != "P5" && magic != "P6") || sizes.size() < 3 || sizes[2] != 255) {
    throw Problem(path + " is no binary .ppm or .pgm of 8 bits: convert it, or pass a .npy file");
  }
  Array image{"uint8", {sizes[1], sizes[0], channels}, {}};
  size_t start = static_cast<size_t>(header.tellg()) + 1;
  if (sizes[0] < 1 || sizes[1] < 1 || file.size() < start + count(image.shape)) throw Problem(path + " ends too early");
  image.bytes = file.substr(start, count(image.shape));
  return image;
}

bool ends_with(const std::string& path, const std::string& end) {
  return path.size() >= end.size() && path.compare(path.size() - end.size(), end.size(), end) == 0;
}

// ------------------------------------------------------------------ from an image to an input

struct Tap {
  std::vector<int64_t> lines;   // of each output line, the input line that this tap reads
  std::vector<float> weights;
};

// The triangular filter of run.py's _taps, which widens with the step when it scales down.
std::vector<Tap> make_taps(int64_t source, int64_t target) {
  double step = static_cast<double>(source) / static_cast<double>(target), reach = std::max(step, 1.0);
  int64_t many = static_cast<int64_t>(std::ceil(2 * reach)) + 1;
  std::vector<Tap> taps(many, Tap{std::vector<int64_t>(target), std::vector<float>(target)});
  for (int64_t out = 0; out < target; ++out) {
    double centre = (static_cast<double>(out) + 0.5) * step, sum = 0;
    auto first = static_cast<int64_t>(std::floor(centre - reach));
    std::vector<double> weights(many);
    for (int64_t tap = 0; tap < many; ++tap) {
      int64_t line = first + tap;
      bool inside = line >= 0 && line < source;
      double distance = std::abs(static_cast<double>(line) + 0.5 - centre);
      weights[tap] = inside ? std::max(0.0, 1 - distance / reach) : 0;
      sum += weights[tap];
      taps[tap].lines[out] = std::clamp<int64_t>(line, 0, source - 1);
    }
    for (int64_t tap = 0; tap < many; ++tap) taps[tap].weights[out] = static_cast<float>(weights[tap] / sum);
  }
  return taps;
}

// Weighted sums of lines of so many values: (source, width) -> (target, width).
std::vector<float> weigh(const std::vector<float>& lines, int64_t width, const std::vector<Tap>& taps) {
  auto target = static_cast<int64_t>(taps[0].lines.size());
  std::vector<float> total(target * width);
  for (const Tap& tap : taps) {
    for (int64_t out = 0; out < target; ++out) {
      const float* line = &lines[tap.lines[out] * width];
      for (int64_t value = 0; value < width; ++value) total[out * width + value] += line[value] * tap.weights[out];
    }
  }
  return total;
}

std::vector<float> transposed(const std::vector<float>& image, int64_t rows, int64_t columns, int64_t channels) {
  std::vector<float> turned(image.size());
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      std::copy_n(&image[(row * columns + column) * channels], channels,
                  &turned[(column * rows + row) * channels]);
    }
  }
  return turned;
}

// The middle square of the image scaled to (size, size, channels), grey levels as whole numbers.
std::vector<float> resized(Array& image, int64_t size) {
  int64_t height = image.shape[0], width = image.shape[1], channels = image.shape[2];
  int64_t side = std::min(height, width), top = (height - side) / 2, left = (width - side) / 2;
  std::vector<float> square;
  for (int64_t row = 0; row < side; ++row) {
    const uint8_t* line = image.data<uint8_t>() + ((top + row) * width + left) * channels;
    square.insert(square.end(), line, line + side * channels);
  }
  if (side == size) return square;
  std::vector<Tap> taps = make_taps(side, size);
  std::vector<float> rows = weigh(square, side * channels, taps);
  std::vector<float> both = weigh(transposed(rows, size, side, channels), size * channels, taps);
  for (float& value : both) value = static_cast<float>(static_cast<uint8_t>(std::nearbyint(value)));
  return transposed(both, size, size, channels);
}

// The network's input, float32 (1, channels, size, size), as run.py's preprocess gives it.
Array preprocess(const std::string& path, const Object& spec) {
  Array image = ends_with(path, ".npy") ? read_npy(path) : read_netpbm(path);
  if (image.shape.size() == 2) image.shape.push_back(1);
  auto channels = static_cast<int64_t>(number(at(spec, "channels")));
  auto size = static_cast<int64_t>(number(at(spec, "size")));
  if (image.dtype != "uint8" || image.shape.size() != 3 || image.shape[2] != channels || !count(image.shape)) {
    throw Problem(path + " must hold a uint8 image of " + std::to_string(channels) +
                  " channels (height, width, channels), but got " + describe(image.dtype, image.shape));
  }
  std::vector<float> pixels = resized(image, size);
  std::vector<double> mean = numbers(at(spec, "mean")), std = numbers(at(spec, "std"));
  Array input{"float32", {1, channels, size, size}, std::string(pixels.size() * 4, '\0')};
  for (int64_t channel = 0; channel < channels; ++channel) {
    auto centre = static_cast<float>(mean[channel]), scale = static_cast<float>(std[channel]);
    for (int64_t pixel = 0; pixel < size * size; ++pixel) {
      float level = pixels[pixel * channels + channel] / 255.0f;
      input.data<float>()[channel * size * size + pixel] = (level - centre) / scale;
    }
  }
  return input;
}

// ------------------------------------------------------------------ the compiled network

ffi::Any call_packed(const ffi::Function& function, ffi::AnyView* arguments, size_t many) {
  ffi::Any result;
  TVMFFIObjectHandle handle = ffi::details::ObjectUnsafe::TVMFFIObjectPtrFromObjectRef(function);
  TVM_FFI_CHECK_SAFE_CALL(TVMFFIFunctionCall(handle, reinterpret_cast<TVMFFIAny*>(arguments),
                                             static_cast<int32_t>(many), reinterpret_cast<TVMFFIAny*>(&result)));
  return result;
}

ffi::Function global(const char* name) {
  auto found = ffi::Function::GetGlobal(name);
  if (!found.has_value()) throw Problem(std::string("the TVM runtime beside this program has no ") + name);
  return *found;
}

// Calls into the runtime go through its C interface: no exception passes from one C++ library to another.
template <typename... Arguments>
ffi::Any call(const ffi::Function& function, Arguments&&... arguments) {
  ffi::AnyView packed[sizeof...(Arguments) + 1];
  ffi::PackedArgs::Fill(packed, std::forward<Arguments>(arguments)...);
  return call_packed(function, packed, sizeof...(Arguments));
}

class Network {
 public:
  Network(const std::string& folder, const Object& target) : threads_(static_cast<int>(number(at(target, "threads")))) {
    // A pool as large as the machine, of which `threads` take part, bound to no core: as in run.py.
    int pool = std::max<int>(threads_, static_cast<int>(std::thread::hardware_concurrency()));
    setenv("TVM_NUM_THREADS", std::to_string(pool).c_str(), 1);
    setenv("TVM_BIND_THREADS", "0", 0);
    if (has(target, "gpu")) use_cuda(folder);
    ffi::Any library = call(global("ffi.ModuleLoadFromFile"), ffi::String(folder + "/student.so"));
    ffi::Any machine = call(function(library, "vm_load_executable"));
    ffi::Function initialise = function(machine, "vm_initialization");
    constexpr int kPooled = 2;
    if (device_.device_type == kDLCPU) {
      call(initialise, int{kDLCPU}, 0, kPooled);
    } else {
      call(initialise, int{device_.device_type}, 0, kPooled, int{kDLCPU}, 0, kPooled);
    }
    main_ = function(machine, "main");
    call(global("runtime.config_threadpool"), 1, threads_);
  }

  int threads() const { return threads_; }

  // Sets the inputs; each of the specs must be met exactly.
  void set(std::vector<Array>& inputs) {
    arguments_.clear();
    for (Array& input : inputs) {
      ffi::Tensor held = tensor(input.dtype, input.shape, DLDevice{kDLCPU, 0});
      std::memcpy(held.data_ptr(), input.bytes.data(), input.bytes.size());
      arguments_.push_back(held);
    }
  }

  // One inference, from inputs in the processor's memory to outputs there.
  std::vector<ffi::Tensor> run() {
    std::vector<ffi::AnyView> packed;
    std::vector<ffi::Tensor> placed;
    for (const ffi::Tensor& each : arguments_) placed.push_back(moved(each, device_));
    for (const ffi::Tensor& each : placed) packed.emplace_back(each);
    ffi::Any result = call_packed(main_, packed.data(), packed.size());
    std::vector<ffi::Tensor> outputs;
    if (auto one = result.as<ffi::Tensor>()) return {moved(*one, DLDevice{kDLCPU, 0})};
    for (const ffi::Any& each : result.cast<ffi::Array<ffi::Any>>()) {
      outputs.push_back(moved(each.cast<ffi::Tensor>(), DLDevice{kDLCPU, 0}));
    }
    return outputs;
  }

 private:
  static ffi::Function function(const ffi::Any& module, const char* name) {
    auto found = call(global("ffi.ModuleGetFunction"), module, ffi::String(name), true).as<ffi::Function>();
    if (!found.has_value()) throw Problem(std::string("student.so has no ") + name + ": copy the bundle again");
    return *found;
  }

  void use_cuda(const std::string& folder) {
    if (!dlopen((folder + "/libtvm_runtime_cuda.so").c_str(), RTLD_NOW | RTLD_GLOBAL)) {
      throw Problem(std::string("TVM's CUDA runtime cannot be loaded (") + dlerror() + "): see README.md");
    }
    device_ = DLDevice{kDLCUDA, 0};
  }

  static ffi::Tensor tensor(const std::string& dtype, const std::vector<int64_t>& shape, DLDevice device) {
    static ffi::Function allocate = global("runtime.TVMTensorAllocWithScope");
    return call(allocate, ffi::Shape(shape), ffi::String(dtype), device, nullptr).cast<ffi::Tensor>();
  }

  static ffi::Tensor moved(const ffi::Tensor& from, DLDevice device) {
    if (from.device().device_type == device.device_type) return from;
    static ffi::Function allocate = global("runtime.TVMTensorAllocWithScope");
    static ffi::Function copy = global("runtime.TVMTensorCopyFromTo");
    ffi::ShapeView shape = from.shape();
    ffi::Shape extents(shape.begin(), shape.end());
    ffi::Tensor to = call(allocate, extents, from.dtype(), device, nullptr).cast<ffi::Tensor>();
    call(copy, from, to);
    return to;
  }

  int threads_;
  DLDevice device_{kDLCPU, 0};
  ffi::Function main_;
  std::vector<ffi::Tensor> arguments_;
};

Array to_array(const ffi::Tensor& tensor, const Object& spec) {
  ffi::ShapeView shape = tensor.shape();
  Array array{text(spec, "dtype"), {shape.begin(), shape.end()}, {}};
  array.bytes.assign(static_cast<const char*>(tensor.data_ptr()), count(array.shape) * kind_of(array.dtype).size);
  return array;
}

std::vector<int64_t> shape_of(const Object& spec) {
  std::vector<int64_t> shape;
  for (double extent : numbers(at(spec, "shape"))) shape.push_back(static_cast<int64_t>(extent));
  return shape;
}

// The input of a file: .npy of exactly its dtype and shape, or its bare bytes.
Array read_input(const std::string& path, const Object& spec) {
  Array wanted{text(spec, "dtype"), shape_of(spec), {}};
  std::string what = text(spec, "name") + " must be " + describe(wanted.dtype, wanted.shape);
  if (ends_with(path, ".npy")) {
    Array array = read_npy(path);
    if (array.dtype != wanted.dtype || array.shape != wanted.shape) {
      throw Problem(what + ", but " + path + " holds " + describe(array.dtype, array.shape));
    }
    return array;
  }
  wanted.bytes = read_file(path);
  size_t size = count(wanted.shape) * kind_of(wanted.dtype).size;
  if (wanted.bytes.size() != size) {
    throw Problem(what + ", " + std::to_string(size) + " bytes, but " + path + " has " +
                  std::to_string(wanted.bytes.size()));
  }
  return wanted;
}

// ------------------------------------------------------------------ the commands

void print_labels(const std::string& image, Array& logits, const Values& labels) {
  const float* values = logits.data<float>();
  std::vector<double> shares(values, values + labels.size());
  double most = *std::max_element(shares.begin(), shares.end()), sum = 0;
  for (double& share : shares) sum += share = std::exp(share - most);
  std::vector<size_t> order(shares.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return shares[a] > shares[b]; });
  order.resize(std::min<size_t>(3, order.size()));
  std::printf("%s:", image.c_str());
  for (size_t rank = 0; rank < order.size(); ++rank) {
    std::string label(labels[static_cast<int64_t>(order[rank])].cast<ffi::String>());
    std::printf("%s%s %.1f %%", rank ? "   " : "  ", label.c_str(), 100 * shares[order[rank]] / sum);
  }
  std::printf("\n");
}

void print_output(const std::string& name, Array& output) {
  std::printf("%s %s ", name.c_str(), describe(output.dtype, output.shape).c_str());
  size_t shown = output.dtype == "float32" ? std::min(count(output.shape), kShownValues) : 0;
  for (size_t index = 0; index < shown; ++index) std::printf(" %.5g", static_cast<double>(output.data<float>()[index]));
  std::printf("%s\n", shown < count(output.shape) ? " ..." : "");
}

void predict(Network& network, const Object& manifest, const std::vector<std::string>& files, const std::string& to) {
  bool images = has(manifest, "preprocess");
  auto inputs = at(manifest, "inputs").cast<Values>(), outputs = at(manifest, "outputs").cast<Values>();
  if (files.empty()) throw Problem("name the files to predict: ./run predict FILE ...");
  if (images) {
    if (!to.empty()) throw Problem("--to writes the outputs of networks that take arrays, not of students of images");
    for (const std::string& file : files) {
      std::vector<Array> input{preprocess(file, at(manifest, "preprocess").cast<Object>())};
      network.set(input);
      Array logits = to_array(network.run().at(0), outputs[0].cast<Object>());
      print_labels(file, logits, at(manifest, "labels").cast<Values>());
    }
    return;
  }
  if (files.size() != inputs.size()) {
    throw Problem("the network takes " + std::to_string(inputs.size()) + " inputs, but got " +
                  std::to_string(files.size()) + " files");
  }
  std::vector<Array> given;
  for (size_t index = 0; index < files.size(); ++index) {
    given.push_back(read_input(files[index], inputs[static_cast<int64_t>(index)].cast<Object>()));
  }
  network.set(given);
  std::vector<ffi::Tensor> found = network.run();
  for (size_t index = 0; index < found.size(); ++index) {
    Object spec = outputs[static_cast<int64_t>(index)].cast<Object>();
    Array array = to_array(found[index], spec);
    print_output(text(spec, "name"), array);
    if (!to.empty()) write_npy(to + "/" + text(spec, "name") + ".npy", array);
  }
}

Array random_input(const Object& spec, std::mt19937& generator) {
  Array array{text(spec, "dtype"), shape_of(spec), {}};
  array.bytes.resize(count(array.shape) * kind_of(array.dtype).size);
  std::normal_distribution<float> normal;
  if (array.dtype == "float32") {
    for (size_t index = 0; index < count(array.shape); ++index) array.data<float>()[index] = normal(generator);
  }
  return array;  // zeros are valid ids, masks and halves
}

double seconds_of(Network& network, int calls) {
  auto start = std::chrono::steady_clock::now();
  for (int call = 0; call < calls; ++call) network.run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / calls;
}

// The median of samples of two milliseconds or more, after a warm-up.
void bench(Network& network, const Object& manifest, int repeats) {
  std::mt19937 generator(0);
  std::vector<Array> inputs;
  for (const ffi::Any& spec : at(manifest, "inputs").cast<Values>()) {
    inputs.push_back(random_input(spec.cast<Object>(), generator));
  }
  network.set(inputs);
  double fastest = 1e9;
  for (int call = 0; call < 10; ++call) fastest = std::min(fastest, seconds_of(network, 1));
  int calls = std::max(1, static_cast<int>(std::ceil(kSampleSeconds / fastest)));
  std::vector<double> samples;
  for (int sample = 0; sample < repeats; ++sample) samples.push_back(seconds_of(network, calls));
  std::sort(samples.begin(), samples.end());
  auto quantile = [&](double share) { return 1e3 * samples[static_cast<size_t>(share * (repeats - 1) + 0.5)]; };
  std::printf("here:      %.4g ms a call (quartiles %.4g to %.4g ms, %d samples, %d thread%s)\n", quantile(0.5),
              quantile(0.25), quantile(0.75), repeats, network.threads(), network.threads() == 1 ? "" : "s");
  auto figures = at(manifest, "figures").cast<Object>();
  if (!has(figures, "latency")) return;
  auto claimed = at(figures, "latency").cast<Object>();
  std::printf("manifest:  %.4g ms a call (%s on %s)\n", 1e3 * number(at(claimed, "value")),
              text(claimed, "source").c_str(), text(at(manifest, "target").cast<Object>(), "profile").c_str());
}

int repeats_of(const std::string& given) {
  int repeats = std::atoi(given.c_str());
  if (repeats < 1) throw Problem("--repeat must be a whole number of at least 1, but got " + given);
  return repeats;
}

std::string own_folder() {
  std::vector<char> path(4096);
  ssize_t length = readlink("/proc/self/exe", path.data(), path.size());
  if (length < 0) throw Problem("cannot tell where this program lies: is /proc mounted?");
  std::string whole(path.data(), static_cast<size_t>(length));
  return whole.substr(0, whole.rfind('/'));
}

void run(const std::vector<std::string>& words) {
  std::vector<std::string> files;
  std::string to, repeat = std::to_string(kFewestSamples);
  for (size_t index = 1; index < words.size(); ++index) {
    bool valued = words[index] == "--to" || words[index] == "--repeat";
    if (valued && index + 1 == words.size()) throw Problem(words[index] + " needs a value");
    if (words[index] == "--to") to = words[++index];
    else if (words[index] == "--repeat") repeat = words[++index];
    else files.push_back(words[index]);
  }
  bool benches = !words.empty() && words[0] == "bench";
  if (!benches && (words.empty() || words[0] != "predict")) {
    throw Problem("use it as: ./run predict FILE ... [--to FOLDER]   or   ./run bench [--repeat N]");
  }
  std::string folder = own_folder();
  Object manifest = read_manifest(folder), target = at(manifest, "target").cast<Object>();
  check_target(target);
  Network network(folder, target);
  if (benches) bench(network, manifest, repeats_of(repeat));
  else predict(network, manifest, files, to);
}

// The exit status of the program; what went wrong is said.
int status_of(const std::vector<std::string>& words) {
  try {
    run(words);
  } catch (const ffi::Error& error) {
    std::fprintf(stderr, "run: the TVM runtime refused (%s): copy the bundle again\n", error.message().c_str());
    return 1;
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "run: %s\n", problem.what());
    return 1;
  }
  return 0;
}

}  // namespace

// Ends without waiting for TVM's threads, which may still be yielding their turn for more work: seconds on busy cores.
int main(int count, char** words) {
  int status = status_of({words + 1, words + count});
  std::fflush(nullptr);
  std::_Exit(status);
}
