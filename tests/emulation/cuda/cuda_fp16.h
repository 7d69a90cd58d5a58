// CUDA's half as the compiler's own.
#pragma once
#include "cuda.h"

using __half = _Float16;
using half = _Float16;
struct __half2 {
  half x, y;
};
using half2 = __half2;
inline half2 make_half2(half x, half y) { return {x, y}; }

inline half __float2half(float value) { return half(value); }
inline half __float2half_rn(float value) { return half(value); }
inline float __half2float(half value) { return float(value); }
inline bool __hgt(half a, half b) { return a > b; }
inline bool __hlt(half a, half b) { return a < b; }
inline half hexp(half value) { return half(std::exp(float(value))); }
inline half htanh(half value) { return half(std::tanh(float(value))); }
inline half hsqrt(half value) { return half(std::sqrt(float(value))); }
inline half __habs(half value) { return value < 0 ? half(-value) : value; }
