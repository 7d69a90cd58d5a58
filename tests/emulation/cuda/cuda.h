// CUDA's threads as fibers of one processor's thread: enough of it to run the kernels that TVM writes.
//
// A block's threads run one after the other, each until it waits for others; blocks and threads go up or down in
// order, so that what depends on the order shows. Warps are of 32 threads.
#pragma once
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <type_traits>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define alignas(bytes) __attribute__((aligned(bytes)))
#define __align__(bytes) __attribute__((aligned(bytes)))

using std::max;
using std::min;

struct dim3 {
  int x, y, z;
};
inline dim3 threadIdx, blockIdx;

struct uint2 { unsigned x, y; };
struct uint4 { unsigned x, y, z, w; };
struct float2 { float x, y; };
struct float4 { float x, y, z, w; };
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

inline float rsqrtf(float value) { return 1.0f / std::sqrt(value); }

namespace emulation {

enum class Waits { nothing, block, warp, done };

struct Fiber {
  ucontext_t context;
  std::vector<char> stack;
  dim3 index;
  Waits waits = Waits::nothing;
};

inline std::vector<Fiber> fibers;
inline ucontext_t scheduler;
inline size_t running;
inline std::function<void()> body;
inline std::vector<uint64_t> exchanged;

inline void wait(Waits reason) {
  Fiber& self = fibers[running];
  self.waits = reason;
  swapcontext(&self.context, &scheduler);
}

inline void begin() {
  body();
  wait(Waits::done);
}

inline bool all(size_t first, size_t last, Waits reason) {
  bool any = false;
  for (size_t each = first; each < std::min(last, fibers.size()); ++each) {
    if (fibers[each].waits == Waits::done) continue;
    if (fibers[each].waits != reason) return false;
    any = true;
  }
  return any;
}

inline void release(size_t first, size_t last, Waits reason) {
  for (size_t each = first; each < std::min(last, fibers.size()); ++each)
    if (fibers[each].waits == reason) fibers[each].waits = Waits::nothing;
}

inline bool run_ready(bool down) {
  bool ran = false;
  for (size_t step = 0; step < fibers.size(); ++step) {
    running = down ? fibers.size() - 1 - step : step;
    if (fibers[running].waits != Waits::nothing) continue;
    threadIdx = fibers[running].index;
    swapcontext(&scheduler, &fibers[running].context);
    ran = true;
  }
  return ran;
}

inline void run_block(dim3 block, bool down) {
  fibers.resize(size_t(block.x) * block.y * block.z);
  exchanged.assign(fibers.size(), 0);
  for (size_t each = 0; each < fibers.size(); ++each) {
    Fiber& fiber = fibers[each];
    fiber.stack.resize(64 << 10);
    fiber.index = {int(each % block.x), int(each / block.x % block.y), int(each / block.x / block.y)};
    fiber.waits = Waits::nothing;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, begin, 0);
  }
  while (true) {
    const bool ran = run_ready(down);
    bool released = false;
    for (size_t first = 0; first < fibers.size(); first += 32)
      if (all(first, first + 32, Waits::warp)) release(first, first + 32, Waits::warp), released = true;
    if (all(0, fibers.size(), Waits::block)) release(0, fibers.size(), Waits::block), released = true;
    if (!ran && !released) break;
  }
  for (const Fiber& fiber : fibers)
    if (fiber.waits != Waits::done) std::fprintf(stderr, "threads wait for others that never come\n"), std::abort();
}

inline void launch(dim3 grid, dim3 block, bool down, std::function<void()> kernel) {
  body = std::move(kernel);
  const int blocks = grid.x * grid.y * grid.z;
  for (int step = 0; step < blocks; ++step) {
    const int each = down ? blocks - 1 - step : step;
    blockIdx = {each % grid.x, each / grid.x % grid.y, each / grid.x / grid.y};
    run_block(block, down);
  }
}

template <typename T>
T from_lane(T value, int lane) {
  std::memcpy(&exchanged[running], &value, sizeof value);
  const size_t self = running;
  wait(Waits::warp);
  T other;
  std::memcpy(&other, &exchanged[std::min(self / 32 * 32 + lane, fibers.size() - 1)], sizeof other);
  wait(Waits::warp);
  return other;
}

inline int lane() { return int(running % 32); }

}  // namespace emulation

inline void __syncthreads() { emulation::wait(emulation::Waits::block); }
inline void __syncwarp(unsigned = ~0u) { emulation::wait(emulation::Waits::warp); }
inline unsigned __activemask() { return ~0u; }

template <typename T>
T __shfl_sync(unsigned, T value, int lane, int width = 32) {
  return emulation::from_lane(value, emulation::lane() / width * width + lane % width);
}

template <typename T>
T __shfl_down_sync(unsigned, T value, unsigned delta, int width = 32) {
  const int lane = emulation::lane();
  return emulation::from_lane(value, lane % width + int(delta) < width ? lane + int(delta) : lane);
}

template <typename T>
T __shfl_up_sync(unsigned, T value, unsigned delta, int width = 32) {
  const int lane = emulation::lane();
  return emulation::from_lane(value, lane % width >= int(delta) ? lane - int(delta) : lane);
}
