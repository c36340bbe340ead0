/* n6.v1 on the CPU: the sums of detctl_probe/digest/n6.py over contiguous memory.
 *
 * Freestanding: no libc symbol, no thread of its own, no Python ABI, so one shared object serves every interpreter that trains.
 * Forms: 0 scalar, 1 AVX2, 2 AVX-512, 3 AVX-512 with vpmullq (x86-64); the caller asks n6_best() what suits this CPU and its kernel.
 * A word is one item of 1, 2 or 4 bytes, zero-extended; 8-byte items are passed as twice as many 4-byte ones.
 */
#include <stdint.h>

#define G 0x9E3779B97F4A7C15ull
#define S0 0x243F6A8885A308D3ull
#define KA 0x9E3779B1ull

typedef struct { uint64_t a, b; } lanes;

/* Counts up with each change of a function's arguments or of the forms: a library that was compiled from another source is not called. */
int n6_interface(void) { return 3; }

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

/* A 64-bit lane holds `per` words; loads that start a word further bring the next one of each lane to its low end, where a mask leaves
 * it alone: cheaper than widening. Only the low half of a lane enters the product, so 4-byte words need no mask. */
#define VECTORS 8 /* of keys at most */
#define AHEAD 4096 /* bytes; the hardware's own prefetching alone reads 100 MB a tenth slower */

/* keys[v * lanes_ + lane] of the word that vector v's load brings to that lane. */
static inline void first_keys(long long *keys, int vectors, int lanes_, int per, uint64_t first) {
    for (int v = 0; v < vectors; v++)
        for (int lane = 0; lane < lanes_; lane++) {
            uint64_t i = first + (uint64_t)((v / per * lanes_ + lane) * per + v % per);
            keys[v * lanes_ + lane] = (long long)(i * G + S0);
        }
}

#define AVX512 "avx512f,avx512dq"
/* What two-operand instructions cannot do in one: xor under a mask is one here, and the high halves of two vectors of keys share
 * one vector. With `quick`, r is lo32(q) * (2^32 + KA) + (q >> 32) by one 64-bit product: one operation on AMD, three on Intel. */
static inline __attribute__((target(AVX512), always_inline)) lanes avx512_of(const void *data, uint64_t count, const int width,
                                                                             uint64_t first, const int quick) {
    const int per = 8 / width, vectors = per < 4 ? 4 : per, halves = 0x5555;
    const uint64_t block = 8 * (uint64_t)vectors; /* words a turn */
    const __m512i ka = _mm512_set1_epi64((long long)(quick ? (1ull << 32) + KA : KA)), low = _mm512_set1_epi64(0xFFFFFFFF);
    const __m512i ones = _mm512_set1_epi32(1), mask = _mm512_set1_epi64(width == 1 ? 0xFF : 0xFFFF);
    const __m512i step = _mm512_set1_epi64((long long)(block * G));
    long long keys[8 * VECTORS];
    first_keys(keys, vectors, 8, per, first);
    __m512i k[VECTORS], odd[VECTORS], a[2], b[2];
    for (int v = 0; v < vectors; v++) k[v] = _mm512_loadu_si512(keys + 8 * v);
    a[0] = a[1] = b[0] = b[1] = _mm512_setzero_si512();
    uint64_t i = 0;
    for (; i + block + (uint64_t)per - 1 <= count; i += block) {
        const uint8_t *at = (const uint8_t *)data + i * (uint64_t)width;
        for (int line = 0; line < (int)block * width; line += 64) _mm_prefetch((const char *)at + AHEAD + line, _MM_HINT_T0);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v += 2) { /* high halves or 1, where a product reads them */
            odd[v] = _mm512_or_si512(_mm512_mask_shuffle_epi32(k[v + 1], (__mmask16)halves, k[v], 0xB1), ones);
            odd[v + 1] = _mm512_srli_epi64(odd[v], 32);
        }
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            __m512i x = _mm512_loadu_si512(at + v / per * 64 + v % per * width), r;
            x = width < 4 ? _mm512_ternarylogic_epi64(k[v], x, mask, 0x78) /* k ^ (x & mask) */ : _mm512_xor_si512(k[v], x);
            __m512i p = _mm512_add_epi64(_mm512_mul_epu32(x, odd[v]), k[v]), high = _mm512_srli_epi64(p, 32);
            if (quick) {
                __m512i q = _mm512_ternarylogic_epi64(p, high, low, 0x28); /* (p ^ high) & low */
                r = _mm512_add_epi64(_mm512_mullo_epi64(q, ka), high);
            } else {
                __m512i q = _mm512_xor_si512(p, high);
                r = _mm512_add_epi64(_mm512_mul_epu32(q, ka), _mm512_ror_epi64(q, 32));
            }
            __m512i h = _mm512_srli_epi64(r, 32);
            a[v & 1] = _mm512_add_epi64(a[v & 1], _mm512_xor_si512(r, h));
            b[v & 1] = _mm512_add_epi64(b[v & 1], _mm512_mul_epu32(r, h));
            k[v] = _mm512_add_epi64(k[v], step);
        }
    }
    lanes sum;
    sum.a = (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(a[0], a[1]));
    sum.b = (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(b[0], b[1]));
    return scalar(data, i, count, width, first, sum);
}

__attribute__((target(AVX512))) static lanes avx512(const void *data, uint64_t count, int width, uint64_t first, int quick) {
    if (width == 4) return quick ? avx512_of(data, count, 4, first, 1) : avx512_of(data, count, 4, first, 0);
    if (width == 2) return quick ? avx512_of(data, count, 2, first, 1) : avx512_of(data, count, 2, first, 0);
    return quick ? avx512_of(data, count, 1, first, 1) : avx512_of(data, count, 1, first, 0);
}

static inline __attribute__((target("avx2"), always_inline)) lanes avx2_of(const void *data, uint64_t count, const int width,
                                                                           uint64_t first) {
    const int per = 8 / width, vectors = 64 / (4 * width) < 8 ? 64 / (4 * width) : 8;
    const uint64_t block = 4 * (uint64_t)vectors; /* words a turn: 64 bytes, of 1-byte words 32 */
    const __m256i one = _mm256_set1_epi64x(1), ka = _mm256_set1_epi64x(KA);
    const __m256i step = _mm256_set1_epi64x((long long)(block * G)), mask = _mm256_set1_epi64x(width == 1 ? 0xFF : 0xFFFF);
    long long keys[4 * VECTORS];
    first_keys(keys, vectors, 4, per, first);
    __m256i k[VECTORS], a[2], b[2];
    for (int v = 0; v < vectors; v++) k[v] = _mm256_loadu_si256((const __m256i *)(keys + 4 * v));
    a[0] = a[1] = b[0] = b[1] = _mm256_setzero_si256();
    uint64_t i = 0;
    for (; i + block + (uint64_t)per - 1 <= count; i += block) {
        const uint8_t *at = (const uint8_t *)data + i * (uint64_t)width;
        _mm_prefetch((const char *)at + AHEAD, _MM_HINT_T0);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            __m256i x = _mm256_loadu_si256((const __m256i *)(at + v / per * 32 + v % per * width));
            if (width < 4) x = _mm256_and_si256(x, mask);
            __m256i odd = _mm256_or_si256(_mm256_srli_epi64(k[v], 32), one);
            __m256i p = _mm256_add_epi64(_mm256_mul_epu32(_mm256_xor_si256(k[v], x), odd), k[v]);
            __m256i q = _mm256_xor_si256(p, _mm256_srli_epi64(p, 32));
            __m256i r = _mm256_add_epi64(_mm256_mul_epu32(q, ka), _mm256_shuffle_epi32(q, 0xB1));
            __m256i h = _mm256_srli_epi64(r, 32);
            a[v & 1] = _mm256_add_epi64(a[v & 1], _mm256_xor_si256(r, h));
            b[v & 1] = _mm256_add_epi64(b[v & 1], _mm256_mul_epu32(r, h));
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

/* CPUID lists what the processor supports, and XCR0 which registers the operating system saves. */
int n6_best(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (low & 0x06) != 0x06 || !(b & bit_AVX2)) return 0;
    if ((low & 0xE6) != 0xE6 || !(b & bit_AVX512F) || !(b & bit_AVX512DQ)) return 1;
    return __get_cpuid(0, &a, &b, &c, &d) && b == signature_AMD_ebx ? 3 : 2;
}
#else
int n6_best(void) { return 0; }
#endif

static lanes sum_of(const void *data, uint64_t count, int width, uint64_t first, int form) {
#if defined(__x86_64__)
    if (form >= 2) return avx512(data, count, width, first, form == 3);
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
