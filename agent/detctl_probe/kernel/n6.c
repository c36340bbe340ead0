/* n6.v1 on the CPU: the sums of detctl_probe/digest.py over contiguous memory.
 *
 * Freestanding: no libc symbol, no thread of its own, no Python ABI, so one shared object serves every interpreter that trains.
 * Forms: 0 scalar, 1 AVX2, 2 AVX-512F (x86-64); the caller asks n6_best() what this CPU and its kernel allow.
 * A word is one item of 1, 2 or 4 bytes, zero-extended; 8-byte items are passed as twice as many 4-byte ones.
 */
#include <stdint.h>

#define G 0x9E3779B97F4A7C15ull
#define S0 0x243F6A8885A308D3ull
#define KA 0x9E3779B1ull

typedef struct { uint64_t a, b; } lanes;

/* Counts up with each change of a function's arguments: a library that was compiled from another source is not called. */
int n6_interface(void) { return 2; }

static inline uint32_t item(const void *data, uint64_t i, int width) {
    if (width == 4) return ((const uint32_t *)data)[i];
    if (width == 2) return ((const uint16_t *)data)[i];
    return ((const uint8_t *)data)[i];
}

static inline lanes scalar(const void *data, uint64_t from, uint64_t to, int width, uint64_t first, lanes sum) {
    for (uint64_t i = from; i < to; i++) {
        uint64_t k = (first + i) * G + S0;
        uint64_t p = (uint64_t)((uint32_t)k ^ item(data, i, width)) * ((k >> 32) | 1) + k;
        uint64_t q = p ^ (p >> 32);
        uint64_t r = (q & 0xFFFFFFFFu) * KA + ((q >> 32) | (q << 32));
        uint64_t h = r >> 32;
        sum.a += r ^ h;
        sum.b += (r & 0xFFFFFFFFu) * h;
    }
    return sum;
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#define ROUND(P, k, x, a, b)                                                                                        \
    do {                                                                                                            \
        P##V p = P##ADD(P##MUL(P##XOR(k, x), P##OR(P##SHR(k), one)), k);                                             \
        P##V q = P##XOR(p, P##SHR(p));                                                                              \
        P##V r = P##ADD(P##MUL(q, ka), P##ROT(q));                                                                  \
        P##V h = P##SHR(r);                                                                                         \
        a = P##ADD(a, P##XOR(r, h));                                                                                \
        b = P##ADD(b, P##MUL(r, h));                                                                                \
    } while (0)

#define ZV __m512i
#define ZADD _mm512_add_epi64
#define ZMUL _mm512_mul_epu32
#define ZXOR _mm512_xor_si512
#define ZOR _mm512_or_si512
#define ZSHR(v) _mm512_srli_epi64(v, 32)
#define ZROT(v) _mm512_ror_epi64(v, 32)

__attribute__((target("avx512f"))) static lanes avx512(const void *data, uint64_t count, int width, uint64_t first) {
    const __m512i one = _mm512_set1_epi64(1), ka = _mm512_set1_epi64(KA);
    const __m512i step = _mm512_set1_epi64((long long)(16 * G));
    long long start[16];
    for (int i = 0; i < 16; i++) start[i] = (long long)((first + i) * G + S0);
    __m512i k0 = _mm512_loadu_si512(start), k1 = _mm512_loadu_si512(start + 8);
    __m512i a0 = _mm512_setzero_si512(), b0 = a0, a1 = a0, b1 = a0, x0, x1;
    uint64_t i = 0;
    for (; i + 16 <= count; i += 16) {
        if (width == 4) {
            x0 = _mm512_cvtepu32_epi64(_mm256_loadu_si256((const __m256i *)((const uint32_t *)data + i)));
            x1 = _mm512_cvtepu32_epi64(_mm256_loadu_si256((const __m256i *)((const uint32_t *)data + i + 8)));
        } else if (width == 2) {
            x0 = _mm512_cvtepu16_epi64(_mm_loadu_si128((const __m128i *)((const uint16_t *)data + i)));
            x1 = _mm512_cvtepu16_epi64(_mm_loadu_si128((const __m128i *)((const uint16_t *)data + i + 8)));
        } else {
            __m128i bytes = _mm_loadu_si128((const __m128i *)((const uint8_t *)data + i));
            x0 = _mm512_cvtepu8_epi64(bytes);
            x1 = _mm512_cvtepu8_epi64(_mm_bsrli_si128(bytes, 8));
        }
        ROUND(Z, k0, x0, a0, b0);
        ROUND(Z, k1, x1, a1, b1);
        k0 = _mm512_add_epi64(k0, step);
        k1 = _mm512_add_epi64(k1, step);
    }
    lanes sum;
    sum.a = (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(a0, a1));
    sum.b = (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(b0, b1));
    return scalar(data, i, count, width, first, sum);
}

#define YV __m256i
#define YADD _mm256_add_epi64
#define YMUL _mm256_mul_epu32
#define YXOR _mm256_xor_si256
#define YOR _mm256_or_si256
#define YSHR(v) _mm256_srli_epi64(v, 32)
#define YROT(v) _mm256_shuffle_epi32(v, 0xB1)

/* A 64-bit lane holds `per` words; loads that start a word further bring the next one of each lane to its low end, where a mask leaves
 * it alone: cheaper than widening. Only the low half of a lane enters the product, so 4-byte words need no mask. */
#define AHEAD 4096 /* bytes; the hardware's own prefetching alone reads 100 MB a tenth slower */

static inline __attribute__((target("avx2"), always_inline)) lanes avx2_of(const void *data, uint64_t count, const int width,
                                                                           uint64_t first) {
    const int per = 8 / width, vectors = 64 / (4 * width) < 8 ? 64 / (4 * width) : 8;
    const uint64_t block = 4 * (uint64_t)vectors; /* words a turn: 64 bytes, of 1-byte words 32 */
    const __m256i one = _mm256_set1_epi64x(1), ka = _mm256_set1_epi64x(KA);
    const __m256i step = _mm256_set1_epi64x((long long)(block * G)), mask = _mm256_set1_epi64x(width == 1 ? 0xFF : 0xFFFF);
    __m256i k[8], a[2], b[2];
    for (int v = 0; v < vectors; v++) {
        long long start[4];
        for (int lane = 0; lane < 4; lane++) {
            uint64_t i = first + (uint64_t)((v / per * 4 + lane) * per + v % per);
            start[lane] = (long long)(i * G + S0);
        }
        k[v] = _mm256_loadu_si256((const __m256i *)start);
    }
    a[0] = a[1] = b[0] = b[1] = _mm256_setzero_si256();
    uint64_t i = 0;
    for (; i + block + (uint64_t)per - 1 <= count; i += block) {
        const uint8_t *at = (const uint8_t *)data + i * (uint64_t)width;
        _mm_prefetch((const char *)at + AHEAD, _MM_HINT_T0);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            __m256i x = _mm256_loadu_si256((const __m256i *)(at + v / per * 32 + v % per * width));
            if (width < 4) x = _mm256_and_si256(x, mask);
            ROUND(Y, k[v], x, a[v & 1], b[v & 1]);
            k[v] = _mm256_add_epi64(k[v], step);
        }
    }
    long long ra[4], rb[4];
    _mm256_storeu_si256((__m256i *)ra, _mm256_add_epi64(a[0], a[1]));
    _mm256_storeu_si256((__m256i *)rb, _mm256_add_epi64(b[0], b[1]));
    lanes sum = {(uint64_t)ra[0] + (uint64_t)ra[1] + (uint64_t)ra[2] + (uint64_t)ra[3],
                 (uint64_t)rb[0] + (uint64_t)rb[1] + (uint64_t)rb[2] + (uint64_t)rb[3]};
    return scalar(data, i, count, width, first, sum);
}

__attribute__((target("avx2"))) static lanes avx2(const void *data, uint64_t count, int width, uint64_t first) {
    if (width == 4) return avx2_of(data, count, 4, first);
    if (width == 2) return avx2_of(data, count, 2, first);
    return avx2_of(data, count, 1, first);
}

/* CPUID says what the chip can, XCR0 what the operating system saves. */
int n6_best(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (low & 0x06) != 0x06 || !(b & bit_AVX2)) return 0;
    return (low & 0xE6) == 0xE6 && (b & bit_AVX512F) ? 2 : 1;
}
#else
int n6_best(void) { return 0; }
#endif

static lanes sum_of(const void *data, uint64_t count, int width, uint64_t first, int form) {
#if defined(__x86_64__)
    if (form == 2) return avx512(data, count, width, first);
    if (form == 1) return avx2(data, count, width, first);
#endif
    lanes zero = {0, 0};
    return scalar(data, 0, count, width, first, zero);
}

/* out: two 64-bit lanes. */
void n6_sum(const void *data, uint64_t count, int width, uint64_t first, int form, uint64_t *out) {
    lanes sum = sum_of(data, count, width, first, form);
    out[0] = sum.a;
    out[1] = sum.b;
}

/* out: two lanes a row; the index starts at 0 in each row. */
void n6_rows(const void *data, uint64_t rows, uint64_t count, int width, int form, uint64_t *out) {
    for (uint64_t row = 0; row < rows; row++)
        n6_sum((const uint8_t *)data + row * count * (uint64_t)width, count, width, 0, form, out + 2 * row);
}

/* out: two lanes over `runs` runs of `count` items, whose indices start at first, first + stride, ... */
void n6_runs(const void *data, uint64_t runs, uint64_t count, int width, uint64_t first, uint64_t stride, int form,
             uint64_t *out) {
    lanes sum = {0, 0};
    for (uint64_t run = 0; run < runs; run++) {
        const void *at = (const uint8_t *)data + run * count * (uint64_t)width;
        lanes more = sum_of(at, count, width, first + run * stride, form);
        sum.a += more.a;
        sum.b += more.b;
    }
    out[0] = sum.a;
    out[1] = sum.b;
}

/* What n6_many shares out: pieces of PIECE words of the table's rows, numbered through all rows; who is free takes the next. */
#define PIECE 16384
#define ALONE 8 /* pieces that are not worth waking a team for */

typedef struct {
    const uint64_t *table;
    uint64_t rows, next, *out;
    int form;
} work;

static inline uint64_t words_of(const uint64_t *row) { return row[1] << (row[2] == 8); }
static inline uint64_t pieces_of(const uint64_t *row) { return (words_of(row) + PIECE - 1) / PIECE; }

static void take_pieces(void *argument) {
    work *all = argument;
    uint64_t row = 0, before = 0; /* pieces of the rows before this one */
    for (;;) {
        uint64_t piece = __atomic_fetch_add(&all->next, 1, __ATOMIC_RELAXED);
        const uint64_t *at = all->table + 4 * row;
        for (; row < all->rows && piece - before >= pieces_of(at); row++, at += 4) before += pieces_of(at);
        if (row == all->rows) return;
        uint64_t from = (piece - before) * PIECE, left = words_of(at) - from;
        int width = at[2] == 8 ? 4 : (int)at[2];
        const uint8_t *data = (const uint8_t *)(uintptr_t)at[0] + from * (uint64_t)width;
        lanes sum = sum_of(data, left < PIECE ? left : PIECE, width, at[3] + from, all->form);
        __atomic_fetch_add(all->out + 2 * row, sum.a, __ATOMIC_RELAXED);
        __atomic_fetch_add(all->out + 2 * row + 1, sum.b, __ATOMIC_RELAXED);
    }
}

/* GOMP_parallel(function, argument, threads, flags) of the OpenMP runtime whose threads may help. */
typedef void team(void (*)(void *), void *, unsigned, unsigned);

/* table: n rows of address, count, width (8-byte items too), first index; out: two lanes a row, zeros before. parallel may be null. */
void n6_many(const uint64_t *table, uint64_t n, int form, team *parallel, unsigned threads, uint64_t *out) {
    work all = {table, n, 0, out, form};
    uint64_t pieces = 0;
    for (uint64_t row = 0; row < n; row++) pieces += pieces_of(table + 4 * row);
    if (parallel && threads > 1 && pieces >= ALONE)
        parallel(take_pieces, &all, threads, 0);
    else
        take_pieces(&all);
}
