// A warp's fragments: the first of its threads holds them whole and does the work of all.
#pragma once
#include "cuda_fp16.h"

namespace nvcuda::wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };

template <typename Use, int M, int N, int K, typename T, typename Layout = void>
struct fragment {
  static_assert(M == 16 && N == 16 && K == 16);
  T values[16][16];
};

inline bool first() { return emulation::lane() == 0; }

template <typename Use, typename T, typename Layout>
void load_matrix_sync(fragment<Use, 16, 16, 16, T, Layout>& into, const T* from, unsigned stride) {
  if (first())
    for (int row = 0; row < 16; ++row)
      for (int column = 0; column < 16; ++column)
        into.values[row][column] =
            from[std::is_same_v<Layout, row_major> ? row * stride + column : column * stride + row];
  __syncwarp();
}

template <typename T>
void fill_fragment(fragment<accumulator, 16, 16, 16, T>& into, T value) {
  for (auto& row : into.values) std::fill(row, row + 16, value);
}

template <typename A, typename B>
void mma_sync(fragment<accumulator, 16, 16, 16, float>& into, const fragment<matrix_a, 16, 16, 16, half, A>& a,
              const fragment<matrix_b, 16, 16, 16, half, B>& b, const fragment<accumulator, 16, 16, 16, float>& c) {
  if (!first()) return;
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 16; ++column) {
      float sum = c.values[row][column];
      for (int term = 0; term < 16; ++term) sum += float(a.values[row][term]) * float(b.values[term][column]);
      into.values[row][column] = sum;
    }
}

template <typename T>
void store_matrix_sync(T* into, const fragment<accumulator, 16, 16, 16, T>& from, unsigned stride, layout_t) {
  if (first())
    for (int row = 0; row < 16; ++row) std::copy(from.values[row], from.values[row] + 16, into + row * stride);
  __syncwarp();
}

}  // namespace nvcuda::wmma
