// The native kernel: it finds the records and fields of strict CSV, digests rows and
// keys, matches two sides and gathers the rows that differ.
//
// It accepts exactly the bytes that `recon_engine/inputs/rfc4180.py` accepts with `width`
// fields in each record. It names no fault: the reader in Python reads again what it
// refuses, and reports the error. No call keeps a pointer to memory of its caller. Two
// threads make no call on one side, except for calls that take it as const.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ || !defined(__SIZEOF_INT128__)
#error "the kernel is for little-endian machines of 64 bits"
#endif

typedef uint8_t u8;
typedef uint32_t u32;
typedef int64_t i64;
typedef uint64_t u64;
typedef unsigned __int128 u128;

#define INLINE static inline __attribute__((always_inline))
#define COLD static __attribute__((noinline, cold))
#define API __attribute__((visibility("default")))
#ifdef __clang__
#define NO_VECTORS _Pragma("clang loop vectorize(disable) interleave(disable)")
#else
#define NO_VECTORS
#endif
#if defined(__x86_64__) && !defined(SCALAR)
#define DISPATCH 1
#else
#define DISPATCH 0
#endif

// The build says what it was made for and from; `binding.py` compares the first.
#ifndef VERSION
#define VERSION ""
#define SOURCE ""
#endif
// Behind the bytes of a block: words and vectors go over its end. A block is padded by
// PAD, once a newline that it may lack is added.
#define SLACK 192
#define PAD 128
#define WORD 64 // bytes of a mask
// A block is shorter: what is packed is counted in 32 bits.
#define LONGEST (1ull << 30)

typedef enum { OK, REFUSED, UNSUPPORTED, IO, MEMORY, CANCELLED, CHANGED } status;

INLINE u64 load(const u8 *p) {
    u64 x;
    memcpy(&x, p, 8);
    return x;
}
INLINE u64 load32(const u8 *p) {
    u32 x;
    memcpy(&x, p, 4);
    return x;
}
// Up to 8 bytes as a number, without a byte more; two texts of one size differ in it.
INLINE u64 short_word(const u8 *p, u64 n) {
    if (n == 8) return load(p);
    if (n >= 4) return load32(p + n - 4) << 32 | load32(p);
    return n ? (u64)p[n - 1] << 16 | (u64)p[n / 2] << 8 | p[0] : 0;
}
INLINE u64 ones(u64 x) { return (u64)__builtin_popcountll(x); }
INLINE u64 lowest(u64 x) { return (u64)__builtin_ctzll(x); }
INLINE u64 below(u64 at) { return (1ull << (at & 63)) - 1; }

// Room for `needed` items in an array that grows by halves; 0 where memory is out.
static int grow(void *array, u64 *room, u64 needed, u64 size) {
    void *old, *new;
    u64 more = *room + *room / 2 > needed ? *room + *room / 2 : needed;
    if (needed <= *room) return 1;
    if (more > (u64)PTRDIFF_MAX / size) return 0;
    memcpy(&old, array, sizeof old);
    new = realloc(old, more * size);
    if (!new) return 0;
    memcpy(array, &new, sizeof new);
    *room = more;
    return 1;
}

// ---------------------------------------------------------------- digests
// NH over words of 64 bits (Black et al., "UMAC", 1999), twice, the second time with
// keys moved on by a pair (Toeplitz); then a multilinear hash mod 2^128 (Lemire and
// Kaser, 2014), strongly universal, of the 128 bits and the length. Longer texts are a
// tree over chunks, with other keys on each level.
//
// By these papers two different texts share one half of a digest with a probability of
// at most 2^-63 a level, and 32 bits of the other with 2^-32 + 2^-63, whoever chose the
// texts, as long as he chose them without knowing the keys. These are new random bytes in
// each run, and no digest leaves the job, so a file cannot be made to collide. A row is
// known by one half and 32 bits: for 10^9 changed rows the chance that one is taken to be
// equal is below 2^-60. Half a digest is enough for a key: pairs are compared as text.
#define CHUNK 1024
#define LEVELS 5 // with 64 children a node 17 GB, where a block is at most one
#define FAN (CHUNK / 16)
typedef struct {
    u64 nh[CHUNK / 8 + 2];
    u64 fin[2][8];
} keys;

INLINE u64 final(const u64 *k, u64 x, u64 y, u64 n) {
    u128 sum = ((u128)k[1] << 64 | k[0]) + (u128)k[2] * x + (u128)k[4] * y + (u128)k[6] * n;
    return (u64)(sum >> 64) + k[3] * x + k[5] * y + k[7] * n;
}

// Of at most CHUNK bytes; 15 more are read, and have no part.
INLINE void nh(const keys *k, const u8 *p, u64 n, u64 out[2]) {
    u128 a = 0, b = 0;
    const u64 *w = k->nh;
    u64 left = n;
    // Sums in vectors would be taken apart again for the products.
    NO_VECTORS
    for (; left >= 16; left -= 16, p += 16, w += 2) {
        u64 x = load(p), y = load(p + 8);
        a += (u128)(x + w[0]) * (y + w[1]);
        b += (u128)(x + w[2]) * (y + w[3]);
    }
    if (left) {
        u64 x = load(p), y = left > 8 ? load(p + 8) & ~0ull >> (128 - 8 * left) : 0;
        if (left < 8) x &= ~0ull >> (64 - 8 * left);
        a += (u128)(x + w[0]) * (y + w[1]);
        b += (u128)(x + w[2]) * (y + w[3]);
    }
    out[0] = final(k->fin[0], (u64)a, (u64)(a >> 64), n);
    out[1] = final(k->fin[1], (u64)b, (u64)(b >> 64), n);
}

typedef struct {
    u64 words[2 * FAN + 2], count;
} node;

// A full node is digested once something follows it, and not before.
static void push(const keys *k, node *level, u32 at, const u64 child[2]) {
    node *to = level + at;
    if (to->count == FAN) {
        u64 full[2];
        nh(k + at, (u8 *)to->words, CHUNK, full);
        to->count = 0;
        push(k, level, at + 1, full);
    }
    to->words[2 * to->count] = child[0], to->words[2 * to->count + 1] = child[1];
    to->count++;
}
COLD void tree(const keys *k, const u8 *p, u64 n, u64 out[2]) {
    node level[LEVELS];
    for (u32 i = 0; i < LEVELS; i++) level[i].count = 0;
    for (u64 take; n; p += take, n -= take) {
        take = n < CHUNK ? n : CHUNK;
        nh(k, p, take, out);
        push(k, level, 1, out);
    }
    for (u32 at = 1;; at++) {
        nh(k + at, (u8 *)level[at].words, 16 * level[at].count, out);
        if (at == LEVELS - 1 || !level[at + 1].count) return;
        push(k, level, at + 1, out);
    }
}
// A half that is not used is not computed, as long as `tree` has no pointer to it.
INLINE void digest(const keys *k, const u8 *p, u64 n, u64 out[2]) {
    u64 of_tree[2];
    if (n <= CHUNK) nh(k, p, n, out);
    else tree(k, p, n, of_tree), out[0] = of_tree[0], out[1] = of_tree[1];
}

// The hash of `recon_engine/compare/sampling.py`, the same in every run: it says which rows are
// drawn for a sample, and nothing is equal or not by it.
INLINE u64 mixed(u64 x) {
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ x >> 27) * 0x94D049BB133111EBull;
    return x ^ x >> 31;
}
#define PRIME 0x100000001B3ull
#define ODD 0x9E3779B97F4A7C15ull
INLINE u64 stable(u64 state, const u8 *p, u64 n) { // 7 more bytes are read
    for (u64 at = 0; at < n; at += 8) {
        u64 word = load(p + at);
        if (n - at < 8) word &= ~0ull >> (64 - 8 * (n - at));
        state = mixed(state * PRIME + word + ODD);
    }
    return mixed(state * PRIME + n);
}
// The same, without a byte more.
static u64 stable_within(u64 state, const u8 *p, u64 n) {
    u64 at = 0, word = 0;
    for (; n - at >= 8; at += 8) state = mixed(state * PRIME + load(p + at) + ODD);
    if (at < n) memcpy(&word, p + at, n - at), state = mixed(state * PRIME + word + ODD);
    return mixed(state * PRIME + n);
}

// ---------------------------------------------------------------- UTF-8
// Whether bytes are UTF-8: no overlong form, no surrogate, none above U+10FFFF.
static __attribute__((noinline)) int is_utf8(const u8 *p, u64 n) {
    for (u64 i = 0; i < n;) {
        u8 a = p[i], low = 0x80, high = 0xBF;
        if (a < 0x80) {
            i++;
            while (i + 8 <= n && !(load(p + i) & 0x8080808080808080ull)) i += 8;
            continue;
        }
        u64 more = a < 0xC2 ? 0 : a < 0xE0 ? 1 : a < 0xF0 ? 2 : a < 0xF5 ? 3 : 0;
        if (!more || n - i <= more) return 0;
        if (a == 0xE0) low = 0xA0;
        else if (a == 0xED) high = 0x9F;
        else if (a == 0xF0) low = 0x90;
        else if (a == 0xF4) high = 0x8F;
        if (p[i + 1] < low || p[i + 1] > high) return 0;
        for (u64 j = 2; j <= more; j++)
            if ((p[i + j] & 0xC0) != 0x80) return 0;
        i += more + 1;
    }
    return 1;
}

// ---------------------------------------------------------------- masks
// A bit a byte, 64 bytes a word. Clang makes one source into AVX-512, AVX2, SSE2 and
// NEON; SCALAR is for other compilers, and for the tests.
typedef struct {
    int nul, cr, quote, high, backslash;
} rarities;
#ifdef SCALAR
INLINE u64 where(const u8 *p, u8 byte) {
    u64 mask = 0;
    for (int i = 0; i < 64; i++) mask |= (u64)(p[i] == byte) << i;
    return mask;
}
typedef rarities seen;
INLINE void note_bytes(seen *s, const u8 *p) {
    for (int i = 0; i < 64; i++) {
        s->nul |= p[i] == 0, s->cr |= p[i] == '\r', s->quote |= p[i] == '"';
        s->high |= p[i] >> 7, s->backslash |= p[i] == '\\';
    }
}
INLINE rarities summed(const seen *s) { return *s; }
#else
typedef u8 v64 __attribute__((vector_size(64)));
typedef _Bool b64 __attribute__((ext_vector_type(64)));
INLINE v64 vec(const u8 *p) {
    v64 x;
    memcpy(&x, p, 64);
    return x;
}
INLINE u64 where(const u8 *p, u8 byte) {
    b64 bits = __builtin_convertvector((v64)(vec(p) == byte), b64);
    u64 mask;
    memcpy(&mask, &bits, 8);
    return mask;
}
typedef struct {
    v64 nul, cr, quote, high, backslash;
} seen;
INLINE void note_bytes(seen *s, const u8 *p) {
    v64 x = vec(p);
    s->nul |= (v64)(x == 0), s->cr |= (v64)(x == '\r'), s->quote |= (v64)(x == '"');
    s->high |= x, s->backslash |= (v64)(x == '\\');
}
INLINE int any(v64 x) {
    u64 w[8];
    memcpy(w, &x, 64);
    u64 all = w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7];
    return (all & 0x8080808080808080ull) != 0;
}
INLINE rarities summed(const seen *s) {
    return (rarities){any(s->nul), any(s->cr), any(s->quote), any(s->high), any(s->backslash)};
}
#endif
// From an opening quote up to, not including, the closing one.
INLINE u64 inside(u64 quotes) {
    for (int i = 1; i < 64; i *= 2) quotes ^= quotes << i;
    return quotes;
}
// The set bit behind `skip` others, from a place on; there has to be one.
INLINE u64 nth(const u64 *mask, u64 from, u64 skip) {
    u64 w = from >> 6, m = mask[w] & ~below(from);
    for (u64 c; (c = ones(m)) <= skip; m = mask[++w]) skip -= c;
    while (skip--) m &= m - 1;
    return w * 64 + lowest(m);
}
// How many bits are set in [from, to).
static u64 between(const u64 *mask, u64 from, u64 to) {
    u64 w = from >> 6, last = to >> 6, count = 0;
    u64 m = mask[w] & ~below(from);
    for (; w < last; m = mask[++w]) count += ones(m);
    return count + ones(m & below(to));
}
INLINE int is_set(const u64 *mask, u64 at) { return mask[at >> 6] >> (at & 63) & 1; }

// The bytes of a word that `keep` has, as AVX-512 does it and as all others do.
typedef u8 *(*packer)(u8 *, const u8 *, u64);
INLINE u8 *pack_runs(u8 *out, const u8 *p, u64 keep) { // reads and writes 64 bytes more
    u64 at = 0;
    for (u64 drop = ~keep; drop; drop &= drop - 1) {
        u64 to = lowest(drop);
        if (to > at) {
            memcpy(out, p + at, 16);
            if (to - at > 16) memcpy(out + 16, p + at + 16, 48);
            out += to - at;
        }
        at = to + 1;
    }
    if (at < 64) memcpy(out, p + at, 64), out += 64 - at;
    return out;
}

// ---------------------------------------------------------------- a block
// What a block is made of. `borders` and `ends` are the delimiters and newlines that
// are no text, `inner` the newlines that are; `packed`, where `packing`, is the block
// without the quotes that are no text, so that the quoted and the unquoted spelling of
// a record are the same bytes: those at `kept`, of which `before` counts the ones below
// each word. There a structural delimiter is `separator`, which as text is 0xFF, a byte
// that UTF-8 never has.
typedef struct {
    u8 delimiter, separator;
    u32 width, field_lines;
    u32 trailing; // 1: each record has one more, empty field, which is no column
    u64 field_bytes;
    u64 *borders, *ends, *inner, *kept;
    u32 *before;
    u8 *packed;
    u64 words;
    rarities rare;
    int packing, masked;
    u64 newlines_inside;
} scanner;

static void scanner_free(scanner *s) {
    free(s->borders), free(s->ends), free(s->inner), free(s->kept);
    free(s->before), free(s->packed);
    s->borders = s->ends = s->inner = s->kept = 0, s->before = 0, s->packed = 0;
    s->words = 0;
}
COLD int scanner_room(scanner *s, u64 words) {
    scanner_free(s);
    s->borders = malloc(8 * words + 16), s->ends = malloc(8 * words + 16);
    s->inner = malloc(8 * words + 16), s->kept = malloc(8 * words + 16);
    s->before = malloc(4 * words + 16), s->packed = malloc(64 * words + 256);
    int all = s->borders && s->ends && s->inner && s->kept && s->before && s->packed;
    if (all) s->words = words;
    return all;
}
INLINE u64 packed_at(const scanner *s, u64 at) {
    return s->before[at >> 6] + ones(s->kept[at >> 6] & below(at));
}

// Takes what is quoted out of the masks and packs; whether each quote and carriage
// return is where it may be. The block begins with a record.
INLINE int unquote(scanner *s, const u8 *p, u64 n, u64 words, packer pack) {
    u64 carry = 0, border1 = 1, close1 = 0, cr1 = 0, wrong = 0, inner = 0, text = 0;
    int quoted = s->rare.quote, cr = s->rare.cr;
    u8 *out = s->packed;
    for (u64 w = 0; w < words; w++) {
        const u8 *x = p + 64 * w;
        u64 quotes = quoted ? where(x, '"') : 0, returns = cr ? where(x, '\r') : 0;
        u64 delimiters = s->borders[w], newlines = s->ends[w];
        u64 real = w + 1 < words || !(n & 63) ? ~0ull : below(n);
        u64 in = inside(quotes) ^ carry;
        carry = (u64)((i64)in >> 63);
        u64 open = quotes & in, close = quotes & ~in;
        s->borders[w] = delimiters & ~in, s->ends[w] = newlines & ~in;
        s->inner[w] = newlines & in & real;
        inner += ones(s->inner[w]);
        returns &= ~in;
        u64 border = s->borders[w] | s->ends[w];
        u64 closed = close << 1 | close1, returned = returns << 1 | cr1;
        // A quote opens behind a border, or doubles the one before it.
        u64 fault = open & ~((border | close) << 1 | border1 | close1);
        fault |= closed & ~(border | open | returns);
        fault |= returned & ~s->ends[w];
        wrong |= fault & real;
        border1 = border >> 63, close1 = close >> 63, cr1 = returns >> 63;
        if (!s->packing) continue;
        // Of a doubled quote the second is kept.
        u64 keep = ~(quotes & ~(open & closed)), odd = delimiters & in;
        s->kept[w] = keep, s->before[w] = (u32)(out - s->packed);
        u8 *here = out;
        out = pack(out, x, keep);
        if (s->separator != s->delimiter) {
            odd = where(x, s->separator);
            for (u64 m = s->borders[w]; m; m &= m - 1)
                here[ones(keep & (m - 1) & ~m)] = s->separator;
        }
        text |= odd;
        for (; odd; odd &= odd - 1) here[ones(keep & (odd - 1) & ~odd)] = 0xFF;
    }
    s->kept[words] = ~0ull, s->before[words] = (u32)(out - s->packed);
    s->newlines_inside = inner, s->masked = text != 0;
    return !wrong;
}

// How many bytes of a block are whole records, of any width: their masks are made. A
// block begins with a record; PAD bytes behind it are written to.
INLINE status index_block(scanner *s, u8 *p, u64 n, u64 *whole, packer pack) {
    u64 words = (n + 63) / 64;
    if (words > s->words && !scanner_room(s, words)) return MEMORY;
    memset(p + n, s->delimiter == 'x' ? 'y' : 'x', PAD);
    seen all = {0};
    for (u64 w = 0; w < words; w++) {
        s->borders[w] = where(p + 64 * w, s->delimiter);
        s->ends[w] = where(p + 64 * w, '\n');
        note_bytes(&all, p + 64 * w);
    }
    s->borders[words] = s->ends[words] = s->inner[words] = 0;
    s->rare = summed(&all), s->masked = 0, s->newlines_inside = 0;
    s->packing = s->rare.quote || s->separator != s->delimiter;
    int right = !s->rare.nul;
    if (s->packing || s->rare.cr) right &= unquote(s, p, n, words, pack);
    *whole = 0;
    for (u64 w = words; w-- && !*whole;)
        if (s->ends[w]) *whole = 64 * w + 64 - (u64)__builtin_clzll(s->ends[w]);
    if (right && s->rare.high) right = is_utf8(p, *whole);
    return right ? OK : REFUSED;
}

// Whether no field of a record is longer, or spans more lines, than it may.
COLD int within(const scanner *s, u64 start, u64 stop) {
    for (u64 at = start;;) {
        u64 border = between(s->borders, at, stop) ? nth(s->borders, at, 0) : stop;
        if (border - at > s->field_bytes) return 0;
        u64 lines = s->newlines_inside >= s->field_lines ? between(s->inner, at, border) : 0;
        if (lines && lines >= s->field_lines) return 0;
        if (border == stop) return 1;
        at = border + 1;
    }
}

// ---------------------------------------------------------------- amounts
typedef struct {
    const u8 *at, *end;
} span;
typedef struct {
    u128 digits;
    u32 places;
    int negative, large; // large: the digits are not in 38
} amount;
INLINE int is_digit(u8 c) { return c >= '0' && c <= '9'; }
#define LARGEST ((u128)10000000000000000000ull * 10000000000000000000ull / 10)
static int digits_of(const u8 **at, const u8 *end, amount *a) { // how many
    const u8 *p = *at;
    if (!(a->digits >> 59)) { // in words, as long as one more digit is within 64 bits
        u64 digits = (u64)a->digits;
        for (; p < end && *p >= '0' && *p <= '9' && !(digits >> 59); p++) digits = 10 * digits + (*p - '0');
        a->digits = digits;
    }
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        if (a->digits >= LARGEST) a->large = 1;
        else a->digits = 10 * a->digits + (*p - '0');
    }
    int count = (int)(p - *at);
    *at = p;
    return count;
}
// Whether a text is an amount, as AMOUNT_PATTERN of `recon_engine/analysis/totals.py` says.
static int read_amount(span s, amount *a) {
    const u8 *p = s.at, *begin;
    *a = (amount){0};
    if (p < s.end && (*p == '+' || *p == '-')) a->negative = *p++ == '-';
    begin = p;
    if (p < s.end && *p != '.') {
        int count = digits_of(&p, s.end, a);
        if (!count || (*begin == '0' && count > 1)) return 0;
        if (p < s.end && *p == ',' && (count > 3 || *begin == '0')) return 0;
        while (p < s.end && *p == ',') {
            p++;
            if (digits_of(&p, s.end, a) != 3) return 0;
        }
    }
    int whole = p > begin;
    if (p < s.end && *p == '.') {
        p++;
        int count = digits_of(&p, s.end, a);
        if (!whole && !count) return 0;
        a->places = (u32)count;
        whole = 1;
    }
    return whole && p == s.end;
}
static int raise10(__int128 *x, u32 places) {
    // A product within 128 bits needs no check, which takes longer than it.
    const __int128 safe = (__int128)1 << 120;
    for (; places && *x < safe && *x > -safe; places--) *x *= 10;
    for (; places; places--)
        if (__builtin_mul_overflow(*x, (__int128)10, x)) return 0;
    return 1;
}

// A number as the rule `decimal` reads it: its digits, and how many are behind its point;
// UNREAD for another text, and for a number of more digits. `exactly`: also for one that is
// not written as a sum is.
#define UNREAD INT64_MIN
#define PLACES 8 // bits
#define MOST_DIGITS (INT64_MAX >> PLACES)
static __attribute__((noinline)) i64 read_summand(span s, int exactly) {
    const u8 *p = s.at;
    amount a;
    int has_sign = p < s.end && (*p == '+' || *p == '-'), negative = has_sign && *p == '-';
    p += has_sign;
    if (p < s.end && (*p == '+' || *p == '-')) return UNREAD;
    const u8 *begin = p;
    while (s.end - p > 1 && *p == '0' && p[1] >= '0' && p[1] <= '9') p++;
    int has_commas = memchr(p, ',', (u64)(s.end - p)) != 0;
    // Commas are in the right places only if zeros count as digits.
    if ((p > begin && has_commas) || !read_amount((span){p, s.end}, &a)) return UNREAD;
    if (a.large || a.digits > MOST_DIGITS || a.places >> PLACES) return UNREAD;
    int as_sum = p == begin && !has_commas && *p != '.' && s.end[-1] != '.' &&
                 has_sign == (negative && a.digits);
    i64 digits = negative ? -(i64)a.digits : (i64)a.digits;
    return exactly && !as_sum ? UNREAD : digits * (1 << PLACES) + a.places;
}

typedef struct {
    __int128 digits;
    u32 places; // of the longest summand
} total;
// 0 where a sum is too large.
static int add_total(total *t, i64 digits, u32 places) {
    __int128 value = digits;
    if (places > t->places) {
        if (!raise10(&t->digits, places - t->places)) return 0;
        t->places = places;
    }
    return raise10(&value, t->places - places) && !__builtin_add_overflow(t->digits, value, &t->digits);
}

// ---------------------------------------------------------------- one side
// 64 bits of a key: rows of two keys that share them are told apart by their text or by
// the digests of rows, of which the key is a part. 96 bits of a row decide that it is
// identical.
typedef struct {
    u64 key, row;
    u32 check, number;
} entry;
#define ROOM 256u // entries a chunk
#define SLAB (2u << 20)
typedef struct {
    entry *at, *stop, **chunks;
    u64 count, room;
} partition;
typedef struct {
    u32 *at;
    u64 count, room;
} numbers;

typedef struct {
    u32 delimiter, separator, width, key_count, order_count, field_lines, bits;
    int32_t isa;
    u64 field_bytes, offset, sample_every;
    const u32 *keys, *order;
    const void *random;
    u32 trailing, mark_count;
    const u32 *mark_sizes;
    const u8 *marks;
    u32 sum_count, folds;
    const u32 *sums;
    const u8 *added;
    const u32 *totals;
    u64 total_count;
} settings;

// A division takes longer than all that is done with a short key. A number is a multiple
// of `odd` << `shift` if, multiplied by the inverse of `odd` mod 2^64 and rotated, it is at
// most 2^64 - 1 divided by it (Granlund and Montgomery, 1994).
typedef struct {
    u64 inverse, most;
    u32 shift;
    int any;
} divisor;
static divisor divisor_of(u64 n) { // 0 divides nothing
    divisor d = {0};
    if (!n) return d;
    d.any = 1, d.most = ~0ull / n;
    while (!(n & 1)) n >>= 1, d.shift++;
    d.inverse = n;
    for (int i = 0; i < 5; i++) d.inverse *= 2 - n * d.inverse; // 3 right bits become 96
    return d;
}
INLINE int divides(const divisor *d, u64 n) {
    n *= d->inverse;
    return (n >> d->shift | n << (-d->shift & 63)) <= d->most;
}

typedef struct {
    u32 first, last;
} run;
// The sum of a column over all rows; `unknown`: `read_summand` does not read a value, or the
// sum is too large.
typedef struct {
    total sum;
    u32 column;
    int unknown;
} sum_of_column;
typedef struct {
    scanner scan;
    status status;
    int isa;
    u32 key_count, order_count, bits, mark_count;
    u32 *keys, *order, *mark_sizes;
    u8 *marks; // texts that no record begins with as its first field
    // The columns that are numbers where rows are folded, whether they are added up here,
    // and, row by row, what they are.
    u32 sum_count, folds, *sums;
    u8 *added;
    i64 *summands;
    u64 summands_room;
    sum_of_column *totals;
    u32 total_count;
    run *runs; // of `order`, if they are few
    u32 run_count;
    u64 *fields;
    struct {
        keys row[LEVELS], key[LEVELS];
    } *secret;
    u64 origin, base, rows, blanks, crlf, embedded, blank_keys;
    divisor every;
    int quotes, end_of_copy, unended;
    u64 high;
    u32 *ends;
    u64 ends_room;
    u64 *wraps; // the first row that ends behind each further 4 GiB
    u64 wrap_count, wrap_room;
    partition *parts;
    u8 **slabs, *next;
    u64 slab_count, slab_room, left;
    numbers sample, sought;
    u8 *scratch;
    u64 scratch_room;
} side;

// Zig's own `__builtin_cpu_supports` answers 0 to everything.
#if DISPATCH
#include <cpuid.h>
API int best_isa(void) {
    u32 a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (~c & (1u << 27 | 1u << 23))) return 0; // OSXSAVE, POPCNT
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    u32 avx2 = 1u << 5 | 1u << 3 | 1u << 8, avx512 = 1u << 16 | 1u << 30 | 1u << 31; // F, BW, VL
    if ((b & avx2) != avx2) return 0;
    return (low & 0xE6) == 0xE6 && (b & avx512) == avx512 && c & 1u << 6 ? 2 : 1; // VBMI2
}
#else
API int best_isa(void) { return 0; }
#endif
API const char *version(void) { return VERSION; }
API const char *source(void) { return SOURCE; }
API u64 random_size(void) { return sizeof *((side *)0)->secret; }
API u32 slack(void) { return SLACK; }

API void side_forget(side *s) {
    for (u64 i = 0; i < s->slab_count; i++) free(s->slabs[i]);
    if (s->parts)
        for (u32 i = 0; i < 1u << s->bits; i++) free(s->parts[i].chunks);
    free(s->slabs), free(s->parts), free(s->summands);
    s->summands = 0, s->summands_room = 0;
    s->slabs = 0, s->parts = 0, s->slab_count = s->slab_room = s->left = 0;
}
API void side_free(side *s) {
    if (!s) return;
    side_forget(s);
    scanner_free(&s->scan);
    free(s->mark_sizes), free(s->marks), free(s->sums), free(s->added), free(s->totals), free(s->runs);
    free(s->keys), free(s->order), free(s->fields), free(s->secret), free(s->ends);
    free(s->wraps), free(s->sample.at), free(s->sought.at), free(s->scratch), free(s);
}
static u32 *copied(const u32 *from, u32 count) {
    u32 *to = malloc(4 * (u64)count + 4);
    if (to && count) memcpy(to, from, 4 * (u64)count);
    return to;
}
static int are_below(const u32 *numbers, u32 count, u32 most) {
    for (u32 i = 0; i < count; i++)
        if (numbers[i] >= most) return 0;
    return 1;
}
// Runs of consecutive columns, if they are so few that it is not worth it to find each field.
#define MOST_RUNS 8
static int find_runs(side *s) {
    u32 count = 0;
    s->runs = malloc(sizeof *s->runs * MOST_RUNS);
    for (u32 i = 0; s->runs && i < s->order_count; i++) {
        u32 column = s->order[i];
        if (count && column == s->runs[count - 1].last + 1) s->runs[count - 1].last = column;
        else if (count == MOST_RUNS) return 1;
        else s->runs[count++] = (run){column, column};
    }
    s->run_count = count;
    return s->runs != 0;
}
static void fill_places(void);
// A side yet to be read; 0 where memory is out or a column is none of `width`. Without
// a key it is only checked: there are no digests, and no sample.
API side *side_new(const settings *given) {
    side *s = given->bits <= 16 && given->width ? calloc(1, sizeof *s) : 0;
    if (!s) return 0;
    if (!are_below(given->keys, given->key_count, given->width) ||
        !are_below(given->order, given->order_count, given->width) ||
        !are_below(given->sums, given->sum_count, given->width) ||
        !are_below(given->totals, (u32)given->total_count, given->width) ||
        (given->sum_count && !given->order_count)) // of their digests they are no part
        return free(s), (side *)0;
    s->scan.delimiter = (u8)given->delimiter, s->scan.separator = (u8)given->separator;
    s->scan.width = given->width, s->scan.trailing = given->trailing;
    s->scan.field_bytes = given->field_bytes, s->scan.field_lines = given->field_lines;
    s->isa = given->isa < 0 || given->isa > best_isa() ? best_isa() : given->isa;
    fill_places();
    s->bits = given->bits, s->every = divisor_of(given->sample_every);
    s->key_count = given->key_count, s->order_count = given->order_count;
    s->keys = copied(given->keys, given->key_count);
    s->order = copied(given->order, given->order_count);
    s->fields = malloc(8 * ((u64)given->width + 1));
    s->secret = malloc(sizeof *s->secret);
    s->parts = calloc(1u << s->bits, sizeof *s->parts);
    s->origin = s->base = given->offset;
    u64 text = 0;
    for (u32 i = 0; i < given->mark_count; i++) text += given->mark_sizes[i];
    s->mark_count = given->mark_count;
    s->mark_sizes = copied(given->mark_sizes, given->mark_count);
    s->marks = malloc(text + 1);
    if (s->marks && text) memcpy(s->marks, given->marks, text);
    s->sum_count = given->sum_count, s->folds = given->folds;
    s->sums = copied(given->sums, given->sum_count);
    s->added = malloc((u64)given->sum_count + 1);
    if (s->added && given->sum_count) memcpy(s->added, given->added, given->sum_count);
    s->total_count = (u32)given->total_count;
    s->totals = calloc((u64)s->total_count + 1, sizeof *s->totals);
    for (u32 i = 0; s->totals && i < s->total_count; i++) s->totals[i].column = given->totals[i];
    if (!s->mark_sizes || !s->marks || !s->sums || !s->added || !s->totals) return side_free(s), (side *)0;
    if (!s->keys || !s->order || !s->fields || !s->secret || !s->parts || !find_runs(s))
        return side_free(s), (side *)0;
    memcpy(s->secret, given->random, sizeof *s->secret);
    return s;
}
typedef struct {
    u64 rows, end, status, blanks, crlf, embedded, quotes, end_of_copy, blank_keys, sampled, unended;
} facts;
API void side_facts(const side *s, facts *to) {
    *to = (facts){s->rows, s->base, s->status, s->blanks, s->crlf, s->embedded, (u64)s->quotes,
                  (u64)s->end_of_copy, s->blank_keys, s->sample.count, (u64)s->unended};
}
API const u32 *side_sample(const side *s) { return s->sample.at; }

COLD int more_entries(side *s, partition *p) {
    if (s->left < ROOM * sizeof(entry)) {
        if (!grow(&s->slabs, &s->slab_room, s->slab_count + 1, sizeof *s->slabs)) return 0;
        // A slab of one large page: chunks are written to all over it.
        u8 *slab = s->bits > 4 ? aligned_alloc(SLAB, SLAB) : malloc(ROOM * sizeof(entry) << s->bits);
        if (!slab) return 0;
#ifdef MADV_HUGEPAGE
        if (s->bits > 4) madvise(slab, SLAB, MADV_HUGEPAGE);
#endif
        s->slabs[s->slab_count++] = s->next = slab;
        s->left = s->bits > 4 ? SLAB : ROOM * sizeof(entry) << s->bits;
    }
    if (!grow(&p->chunks, &p->room, p->count + 1, sizeof *p->chunks)) return 0;
    p->chunks[p->count++] = p->at = (entry *)(void *)s->next;
    p->stop = p->at + ROOM;
    s->next += ROOM * sizeof(entry), s->left -= ROOM * sizeof(entry);
    return 1;
}
INLINE u64 size_of(const partition *p) {
    return p->count ? p->count * ROOM - (u64)(p->stop - p->at) : 0;
}
INLINE const entry *entry_at(const partition *p, u64 i) { return p->chunks[i / ROOM] + i % ROOM; }

INLINE status put_digests(side *s, const u64 row[2], u64 key) {
    // The low bits choose the slot within a partition.
    partition *p = s->parts + (s->bits ? key >> (64 - s->bits) : 0);
    if (p->at == p->stop && !more_entries(s, p)) return MEMORY;
    __builtin_prefetch(p->at + 4, 1); // a quarter of the time of a scan is saved by it
    *p->at++ = (entry){key, row[0], (u32)(row[1] >> 32), (u32)s->rows};
    return OK;
}
INLINE status put_end(side *s, u64 end) {
    if (s->rows == s->ends_room && !grow(&s->ends, &s->ends_room, s->rows ? s->rows + 1 : 4096, 4))
        return MEMORY;
    for (; end >> 32 != s->high; s->wrap_count++, s->high++) {
        if (!grow(&s->wraps, &s->wrap_room, s->wrap_count + 1, 8)) return MEMORY;
        s->wraps[s->wrap_count] = s->rows;
    }
    s->ends[s->rows++] = (u32)end;
    return s->rows == UINT32_MAX ? UNSUPPORTED : OK;
}
static u64 end_of(const side *s, u64 number) {
    u64 high = 0;
    while (high < s->wrap_count && s->wraps[high] <= number) high++;
    return high << 32 | s->ends[number];
}
static u64 start_of(const side *s, u64 number) {
    return number ? end_of(s, number - 1) : s->origin;
}
// Where each row ends in the file, all of them.
API void side_ends(const side *s, u64 *out) {
    u64 high = 0;
    for (u64 i = 0; i < s->rows; i++) {
        while (high < s->wrap_count && s->wraps[high] <= i) high++;
        out[i] = high << 32 | s->ends[i];
    }
}
// Where a row begins; of one more than there are, where the last one ends.
API u64 side_start(const side *s, u64 number) { return start_of(s, number < s->rows ? number : s->rows); }
// The first rows of runs of whole records, each of `size` bytes or a little more; how
// many runs, of which `first` has those that there is room for.
API u64 side_runs(const side *s, u64 size, u32 *first, u64 room) {
    u64 count = 0;
    u32 low = 0;
    for (u64 i = 0; i < s->rows; i++) {
        // In 32 bits differences are right as long as a run is below 4 GiB.
        if (i && (u32)(s->ends[i - 1] - low) < size) continue;
        low = i ? s->ends[i - 1] : (u32)s->origin;
        if (count < room) first[count] = (u32)i;
        count++;
    }
    return count;
}
// The scratch of a side with SLACK behind it; the text in it is kept.
COLD int more_scratch(side *s, u64 size) {
    return grow(&s->scratch, &s->scratch_room, size + SLACK, 1);
}
INLINE int scratch(side *s, u64 size) {
    return size + SLACK <= s->scratch_room || more_scratch(s, size);
}

// A line that an older Postgres takes for the end of its input, in whole lines.
COLD int has_end_of_copy(const u8 *p, u64 n) {
    for (u64 at = 0; at < n; at++) {
        const u8 *found = memchr(p + at, '\\', n - at);
        if (!found) return 0;
        at = (u64)(found - p);
        if ((at && p[at - 1] != '\n') || n - at < 3 || p[at + 1] != '.') continue;
        if (p[at + 2] == '\n' || (p[at + 2] == '\r' && n - at > 3 && p[at + 3] == '\n')) return 1;
    }
    return 0;
}

// Whether the first field of a record is one of the marks, quoted or not.
static __attribute__((noinline)) int is_marked(const side *s, const u8 *p, u64 n) {
    const u8 *mark = s->marks;
    u64 quote = n && *p == '"';
    for (u32 i = 0; i < s->mark_count; mark += s->mark_sizes[i++]) {
        u64 at = quote + s->mark_sizes[i];
        if (n < at + quote || memcmp(p + quote, mark, s->mark_sizes[i])) continue;
        if (quote && p[at++] != '"') continue;
        if (at == n || p[at] == s->scan.delimiter) return 1;
    }
    return 0;
}

// A record: its bytes in the block, and the same packed.
typedef struct {
    const u8 *text;
    u64 start, stop;
    int packing;
} record;

INLINE void key_field(const side *s, const record *r, u32 column, u64 *from, u64 *to) {
    const scanner *c = &s->scan;
    *from = column ? nth(c->borders, r->start, column - 1) + 1 : r->start;
    *to = column + 1 == c->width ? r->stop : nth(c->borders, *from, 0);
    if (r->packing) *from = packed_at(c, *from), *to = packed_at(c, *to);
}
// The text of a field as it is, where a delimiter in it was masked.
COLD u64 stable_of_masked(side *s, u64 state, const u8 *p, u64 n) {
    if (!scratch(s, n)) return s->status = MEMORY, 0;
    for (u64 i = 0; i < n; i++) s->scratch[i] = p[i] == 0xFF ? s->scan.separator : p[i];
    return stable(state, s->scratch, n);
}
INLINE status digest_key(side *s, const record *r, u64 out[2]) {
    u64 from = 0, to = 0, state = 0, used = 0;
    int blank = 0;
    for (u32 i = 0; i < s->key_count; i++) {
        key_field(s, r, s->keys[i], &from, &to);
        blank |= from == to;
        if (s->every.any) {
            if (s->scan.masked) state = stable_of_masked(s, state, r->text + from, to - from);
            else state = stable(state, r->text + from, to - from);
        }
    }
    if (s->every.any && divides(&s->every, state)) {
        if (!grow(&s->sample.at, &s->sample.room, s->sample.count + 1, 4)) return MEMORY;
        s->sample.at[s->sample.count++] = (u32)s->rows;
    }
    s->blank_keys += (u64)blank;
    if (s->key_count == 1) {
        digest(s->secret->key, r->text + from, to - from, out);
        return OK;
    }
    for (u32 i = 0; i < s->key_count; i++) {
        key_field(s, r, s->keys[i], &from, &to);
        if (!scratch(s, used + to - from + 1)) return MEMORY;
        memcpy(s->scratch + used, r->text + from, to - from);
        used += to - from;
        s->scratch[used++] = 0xFE; // no byte of UTF-8 either
    }
    digest(s->secret->key, s->scratch, used, out);
    return OK;
}
// The columns of a run, which are consecutive in the file, and so is their text.
INLINE void run_text(const side *s, const record *r, const run *columns, record *at, u32 *column) {
    const u64 *borders = s->scan.borders;
    if (columns->first < *column) *column = 0, at->stop = r->start - 1;
    u64 next = at->stop + 1, skipped = columns->first - *column;
    at->start = skipped ? nth(borders, next, skipped - 1) + 1 : next;
    *column = columns->last + 1;
    at->stop = *column == s->scan.width ? r->stop : nth(borders, at->start, columns->last - columns->first);
}
// Of several columns, in the order of the other side.
INLINE status digest_runs(side *s, const record *r, u64 out[2]) {
    record at = {r->text, 0, r->start - 1, r->packing};
    u64 size = 0;
    u32 column = 0;
    if (!scratch(s, r->stop - r->start + s->run_count)) return MEMORY;
    for (u32 i = 0; i < s->run_count; i++) {
        run_text(s, r, s->runs + i, &at, &column);
        u64 from = at.start, to = at.stop;
        if (r->packing) from = packed_at(&s->scan, from), to = packed_at(&s->scan, to);
        if (s->run_count == 1) return digest(s->secret->row, r->text + from, to - from, out), OK;
        memcpy(s->scratch + size, r->text + from, to - from);
        size += to - from, s->scratch[size++] = s->scan.separator;
    }
    digest(s->secret->row, s->scratch, size - 1, out);
    return OK;
}
INLINE status digest_fields(side *s, const record *r, u64 out[2]) {
    const scanner *c = &s->scan;
    u64 w = r->start >> 6, m = c->borders[w] & ~below(r->start), size = 0;
    s->fields[0] = r->packing ? packed_at(c, r->start) : r->start;
    for (u32 i = 1; i < c->width; i++, m &= m - 1) {
        while (!m) m = c->borders[++w];
        u64 at = w * 64 + lowest(m);
        s->fields[i] = (r->packing ? packed_at(c, at) : at) + 1;
    }
    s->fields[c->width] = (r->packing ? packed_at(c, r->stop) : r->stop) + 1;
    for (u32 i = 0; i < s->order_count; i++)
        size += s->fields[s->order[i] + 1] - s->fields[s->order[i]];
    if (!scratch(s, size)) return MEMORY;
    u8 *to = s->scratch;
    for (u32 i = 0; i < s->order_count; i++) {
        u64 from = s->fields[s->order[i]], n = s->fields[s->order[i] + 1] - 1 - from;
        if (n <= 16) memcpy(to, r->text + from, 16); // of both there is SLACK behind
        else memcpy(to, r->text + from, n);
        to += n, *to++ = c->separator;
    }
    digest(s->secret->row, s->scratch, size - 1, out);
    return OK;
}
INLINE status digest_row(side *s, const record *r, u64 out[2]) {
    const scanner *c = &s->scan;
    if (s->run_count) return digest_runs(s, r, out);
    if (s->order_count) return digest_fields(s, r, out);
    u64 from = r->start, to = r->stop;
    if (r->packing) from = packed_at(c, from), to = packed_at(c, to);
    digest(s->secret->row, r->text + from, to - from, out);
    return OK;
}
static int field_text(side *s, const record *r, u32 column, span *text) {
    u64 from, to;
    key_field(s, r, column, &from, &to);
    *text = (span){r->text + from, r->text + to};
    if (!s->scan.masked) return 1;
    if (!scratch(s, to - from)) return 0;
    for (u64 i = from; i < to; i++) s->scratch[i - from] = r->text[i] == 0xFF ? s->scan.separator : r->text[i];
    *text = (span){s->scratch, s->scratch + (to - from)};
    return 1;
}
static status put_summands(side *s, const record *r) {
    u64 at = s->rows * s->sum_count;
    span text;
    if (!grow(&s->summands, &s->summands_room, at + s->sum_count, sizeof *s->summands)) return MEMORY;
    for (u32 i = 0; i < s->sum_count; i++, at++) {
        if (!field_text(s, r, s->sums[i], &text)) return MEMORY;
        s->summands[at] = read_summand(text, !s->added[i]);
    }
    return OK;
}
// As `read_summand`, of the digits, sign and point that most amounts have; UNREAD for another
// text too, which `read_summand` may read.
INLINE i64 read_short_summand(span s) {
    const u8 *p = s.at, *point = 0;
    int negative = p < s.end && *p == '-';
    u64 digits = 0, size = (u64)(s.end - (p += negative));
    if (!size || size > 16) return UNREAD;
    for (; p < s.end; p++) {
        if (is_digit(*p)) digits = 10 * digits + (*p - '0');
        else if (*p == '.' && !point) point = p;
        else return UNREAD;
    }
    if ((point && size == 1) || digits > MOST_DIGITS) return UNREAD;
    i64 places = point ? s.end - point - 1 : 0;
    return (negative ? -(i64)digits : (i64)digits) * (1 << PLACES) + places;
}
static status add_to_totals(side *s, const record *r) {
    span text;
    for (sum_of_column *t = s->totals; t < s->totals + s->total_count; t++) {
        if (!field_text(s, r, t->column, &text)) return MEMORY;
        i64 read = read_short_summand(text);
        if (read == UNREAD) read = read_summand(text, 0);
        t->unknown |= read == UNREAD || !add_total(&t->sum, read >> PLACES, (u32)read & ((1 << PLACES) - 1));
    }
    return OK;
}

// Takes the whole records of a block; `taken`: how many bytes that was.
INLINE status take(side *s, u8 *p, u64 n, int last, u64 *taken, packer pack) {
    scanner *c = &s->scan;
    u64 given = n, size;
    *taken = 0;
    if (last && n && p[n - 1] != '\n') {
        if (p[n - 1] == '\r') return REFUSED; // bare, or quoted and never closed
        p[n++] = '\n', s->unended = 1;
    }
    status found = index_block(c, p, n, &size, pack);
    if (found != OK) return found;
    if (last && size < n) return REFUSED;
    if (!size) {
        // What may become one field is refused before it fills memory; a CR may end it.
        u64 begun = 0;
        for (u64 w = (n + 63) / 64; w-- && !begun;)
            if (c->borders[w]) begun = 64 * w + 64 - (u64)__builtin_clzll(c->borders[w]);
        return n > c->field_bytes && n - begun > c->field_bytes + 1 ? REFUSED : OK;
    }
    u64 inner = c->newlines_inside ? between(c->inner, 0, size) : 0;
    int many = c->newlines_inside >= c->field_lines;
    s->embedded += inner, s->quotes |= c->rare.quote;
    if (c->rare.backslash && !s->end_of_copy) s->end_of_copy = has_end_of_copy(p, size);
    record r = {c->packing ? c->packed : p, 0, 0, c->packing};
    u64 start = 0, total = 0, before = 0;
    for (u64 w = 0; 64 * w < size; total += ones(c->borders[w++]))
        for (u64 m = c->ends[w]; m; m &= m - 1) {
            u64 at = 64 * w + lowest(m), fields = total + ones(c->borders[w] & (m - 1) & ~m);
            u64 stop = at - (c->rare.cr && at > start && p[at - 1] == '\r'), next = at + 1;
            if (s->mark_count && is_marked(s, p + start, stop - start)) return REFUSED;
            if (fields - before != c->width - 1 + c->trailing || s->blanks) {
                if (fields != before || stop != start || c->width + c->trailing == 1) return REFUSED;
                s->blanks++, s->crlf += stop < at, start = next;
                continue;
            }
            if ((stop - start > c->field_bytes || many) && !within(c, start, stop)) return REFUSED;
            before = fields, s->crlf += stop < at;
            if (c->trailing) { // the last field is blank, in quotes or not
                u64 border = stop - 1 - 2 * (stop > start + 2 && p[stop - 1] == '"' && p[stop - 2] == '"');
                if (!is_set(c->borders, border)) return REFUSED;
                stop = border;
            }
            u64 row[2], key[2];
            r.start = start, r.stop = stop, start = next;
            // An end that is not in the file has no place there.
            u64 end = s->base + next - (next > given);
            if (s->key_count) {
                if ((found = digest_key(s, &r, key)) || (found = digest_row(s, &r, row)) || s->status)
                    return found ? found : s->status;
                if (s->sum_count && (found = put_summands(s, &r))) return found;
                if ((found = put_digests(s, row, key[0]))) return found;
            }
            if (s->total_count && (found = add_to_totals(s, &r))) return found;
            if ((found = put_end(s, end))) return found;
        }
    *taken = size - (size > given);
    s->base += *taken;
    return OK;
}
static status take_any(side *s, u8 *p, u64 n, int last, u64 *taken) {
    return take(s, p, n, last, taken, pack_runs);
}
static status index_any(scanner *s, u8 *p, u64 n, u64 *whole) {
    return index_block(s, p, n, whole, pack_runs);
}
#if DISPATCH
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt")))
#define AVX512 \
    __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt,avx512f,avx512bw,avx512vl,avx512vbmi2")))
// For each set of eight bytes, the places of those that are kept. Two threads may fill it
// at once: both write the same.
static u64 kept_places[256];
static void fill_places(void) {
    for (u64 mask = 256; mask--;) {
        u64 places = 0;
        for (u64 at = 8; at--;)
            if (mask >> at & 1) places = places << 8 | at;
        __atomic_store_n(kept_places + mask, places, __ATOMIC_RELAXED);
    }
}
AVX2 static inline __attribute__((always_inline)) u8 *pack_avx2(u8 *out, const u8 *p, u64 keep) {
    for (int i = 0; i < 64; i += 8, keep >>= 8) { // writes 8 bytes more than it keeps
        __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(p + i));
        __m128i places = _mm_loadl_epi64((const __m128i *)(const void *)(kept_places + (keep & 255)));
        _mm_storel_epi64((__m128i *)(void *)out, _mm_shuffle_epi8(bytes, places));
        out += ones(keep & 255);
    }
    return out;
}
AVX2 static status take_avx2(side *s, u8 *p, u64 n, int last, u64 *taken) {
    return take(s, p, n, last, taken, pack_avx2);
}
AVX2 static status index_avx2(scanner *s, u8 *p, u64 n, u64 *whole) {
    return index_block(s, p, n, whole, pack_avx2);
}
AVX512 static inline __attribute__((always_inline)) u8 *pack_avx512(u8 *out, const u8 *p, u64 keep) {
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi8(keep, _mm512_loadu_si512(p)));
    return out + ones(keep);
}
AVX512 static status take_avx512(side *s, u8 *p, u64 n, int last, u64 *taken) {
    return take(s, p, n, last, taken, pack_avx512);
}
AVX512 static status index_avx512(scanner *s, u8 *p, u64 n, u64 *whole) {
    return index_block(s, p, n, whole, pack_avx512);
}
static status (*const takes[])(side *, u8 *, u64, int, u64 *) = {take_any, take_avx2, take_avx512};
static status (*const indexers[])(scanner *, u8 *, u64, u64 *) = {index_any, index_avx2, index_avx512};
#else
static void fill_places(void) {}
static status (*const takes[])(side *, u8 *, u64, int, u64 *) = {take_any};
static status (*const indexers[])(scanner *, u8 *, u64, u64 *) = {index_any};
#endif

// The block that follows, with SLACK bytes that may be written behind `n`. How many of
// its bytes were whole records: the caller gives the others again, before what follows.
// -1: no more can be taken, and the status says why.
API i64 feed(side *s, u8 *p, u64 n, int last) {
    u64 taken = 0;
    if (n >= LONGEST) s->status = UNSUPPORTED;
    if (s->status == OK && n) s->status = takes[s->isa](s, p, n, last, &taken);
    return s->status == OK ? (i64)taken : -1;
}

static i64 read_at(int file, u8 *to, u64 size, u64 at) {
    return (i64)pread(file, to, size, (off_t)at);
}
// A file from `offset` to `end`, or to its end if that is before. `cancel`, once not 0,
// ends it; `done` is how far it is.
API int scan(side *s, int file, u64 end, u64 block, const u32 *cancel, u64 *done) {
    u64 have = 0;
    u8 *buffer = malloc(block + SLACK);
    if (!buffer) s->status = MEMORY;
    for (int last = 0; !last && s->status == OK;) {
        u64 at = s->base + have, left = end > at ? end - at : 0, size = block - have;
        i64 got = read_at(file, buffer + have, size < left ? size : left, at);
        if (got < 0 || (cancel && __atomic_load_n(cancel, __ATOMIC_RELAXED))) {
            s->status = got < 0 ? IO : CANCELLED;
            break;
        }
        have += (u64)got, last = got == 0;
        i64 taken = feed(s, buffer, have, last);
        if (taken < 0) break;
        have -= (u64)taken;
        memmove(buffer, buffer + taken, have);
        if (done) __atomic_store_n(done, s->base, __ATOMIC_RELAXED);
        if (have == block) {
            u64 room = block + SLACK;
            if (!grow(&buffer, &room, 2 * block + SLACK, 1)) s->status = MEMORY;
            block = room - SLACK;
        }
    }
    free(buffer);
    return s->status;
}

// ---------------------------------------------------------------- the join
// Lists of entries: the pairs that differ, OLD's and NEW's in the same order; rows
// without a partner; and all rows of keys that are repeated on a side, or seem to be:
// whoever reads them tells them apart.
typedef struct {
    entry *at;
    u64 count, room;
} list;
enum { PAIRED_OLD, PAIRED_NEW, MISSING, EXTRA, REPEATED_OLD, REPEATED_NEW, LISTS };
typedef struct {
    u64 identical, folded[2]; // the rows of each side that are folded into identical ones
    list lists[LISTS];
} found;

INLINE int add(list *l, const entry *e) {
    if (l->count == l->room && !grow(&l->at, &l->room, l->count + 256, sizeof *e)) return 0;
    l->at[l->count++] = *e;
    return 1;
}
API void found_free(found *f) {
    if (!f) return;
    for (int i = 0; i < LISTS; i++) free(f->lists[i].at);
    free(f);
}
API u64 found_list(const found *f, int which, const entry **at) {
    if (which < 0) return f->identical;
    *at = f->lists[which].at;
    return f->lists[which].count;
}

API int found_numbers(const found *f, int which, u64 from, u64 to, u32 *out) {
    if (to > f->lists[which].count) return 0;
    for (u64 i = from; i < to; i++) *out++ = f->lists[which].at[i].number;
    return 1;
}
API void found_forget(found *f, int which) {
    free(f->lists[which].at);
    f->lists[which] = (list){0};
}

// What the rows of both sides of one partition are found by.
typedef struct {
    u32 *slots; // 0: none, else 1 + the row, NEW's behind OLD's
    u8 *marks;  // 1: has a partner, 2: its key is repeated
    u64 slots_room, marks_room, mask;
} table;

INLINE const entry *row_at(const partition *o, const partition *n, u64 olds, u64 i) {
    return i < olds ? entry_at(o, i) : entry_at(n, i - olds);
}
// The slot of a key: that of its first row, or the empty one for it.
INLINE u64 slot(const table *t, const partition *o, const partition *n, u64 olds, const entry *x) {
    u64 at = x->key & t->mask;
    for (u32 i; (i = t->slots[at]); at = (at + 1) & t->mask)
        if (row_at(o, n, olds, i - 1)->key == x->key) break;
    return at;
}
static int join_partition(found *f, table *t, const partition *o, const partition *n) {
    u64 olds = size_of(o), all = olds + size_of(n), capacity = 64;
    if (all >= UINT32_MAX) return 0;
    while (2 * capacity < 3 * all) capacity *= 2;
    if (!grow(&t->slots, &t->slots_room, capacity, 4)) return 0;
    if (!grow(&t->marks, &t->marks_room, all + 1, 1)) return 0;
    t->mask = capacity - 1;
    memset(t->slots, 0, 4 * capacity), memset(t->marks, 0, all);
    for (u64 i = 0; i < all; i++) {
        const entry *x = row_at(o, n, olds, i);
        u64 at = slot(t, o, n, olds, x);
        if (!t->slots[at]) {
            t->slots[at] = (u32)i + 1;
            continue;
        }
        u64 first = t->slots[at] - 1;
        int partner = i >= olds && first < olds && !t->marks[first];
        t->marks[first] = t->marks[i] = partner ? 1 : 2;
    }
    for (u64 i = olds; i < all; i++) {
        const entry *x = entry_at(n, i - olds);
        u64 first = t->slots[slot(t, o, n, olds, x)] - 1;
        if (t->marks[i] == 2 || t->marks[first] == 2) { // a third row came for the pair
            if (!add(&f->lists[REPEATED_NEW], x)) return 0;
        } else if (!t->marks[i]) {
            if (!add(&f->lists[EXTRA], x)) return 0;
        } else {
            const entry *y = entry_at(o, first);
            if (x->row == y->row && x->check == y->check) f->identical++;
            else if (!add(&f->lists[PAIRED_OLD], y) || !add(&f->lists[PAIRED_NEW], x)) return 0;
        }
    }
    for (u64 i = 0; i < olds; i++)
        if (t->marks[i] != 1 &&
            !add(&f->lists[t->marks[i] ? REPEATED_OLD : MISSING], entry_at(o, i)))
            return 0;
    return 1;
}
// The partitions [from, to) of two sides matched; 0 where memory is out.
API found *join(const side *old, const side *new, u32 from, u32 to) {
    found *f = calloc(1, sizeof *f);
    table t = {0};
    int right = f && old->bits == new->bits && to <= 1u << old->bits;
    for (u32 i = from; right && i < to; i++)
        right = join_partition(f, &t, old->parts + i, new->parts + i);
    free(t.slots), free(t.marks);
    return right ? f : (found_free(f), (found *)0);
}

// ---------------------------------------------------------------- the join of folded rows
// The rows of a key on both sides, which become one row a side. They may be identical
// then as long as nothing is `apart`: all rows have one digest, and numbers can be read.
typedef struct {
    u64 key, row;
    u32 check, apart;
    u64 counts[2];
} group;
typedef struct {
    u32 *slots, *of; // 0: none, else 1 + the group; the group of each row
    group *groups;
    total *totals; // of each group those of OLD, then those of NEW
    u64 slots_room, of_room, groups_room, totals_room;
} folding;

static void add_row(group *g, total *totals, const side *s, const entry *x, int at) {
    const i64 *summands = s->summands + (u64)x->number * s->sum_count;
    int first = !g->counts[at]++;
    g->apart |= x->row != g->row || x->check != g->check || (!first && !s->folds);
    for (u32 i = 0; i < s->sum_count; i++) {
        total *t = totals + (u64)at * s->sum_count + i;
        i64 digits = summands[i] >> PLACES;
        u32 places = (u32)summands[i] & ((1 << PLACES) - 1);
        if (summands[i] == UNREAD) g->apart = 1, *t = (total){0};
        else if (first) *t = (total){digits, places};
        else if (s->added[i]) g->apart |= !add_total(t, digits, places);
        else g->apart |= t->digits != digits || t->places != places;
    }
}
#define AHEAD 16
static int fold_partition(found *f, folding *t, const side *const sides[2], u32 part, int counted) {
    const partition *o = sides[0]->parts + part, *n = sides[1]->parts + part;
    u64 olds = size_of(o), all = olds + size_of(n), capacity = 64, count = 0;
    u32 sums = sides[0]->sum_count;
    if (all >= UINT32_MAX) return 0;
    while (2 * capacity < 3 * all) capacity *= 2;
    if (!grow(&t->slots, &t->slots_room, capacity, 4)) return 0;
    if (!grow(&t->of, &t->of_room, all + 1, 4)) return 0;
    memset(t->slots, 0, 4 * capacity);
    for (u64 i = 0; i < all; i++) {
        const entry *x = row_at(o, n, olds, i);
        u64 at = x->key & (capacity - 1), next = i + AHEAD;
        if (sums && next < all) { // the numbers of the rows of a partition are all over the file
            u64 number = row_at(o, n, olds, next)->number;
            __builtin_prefetch(sides[next >= olds]->summands + number * sums);
        }
        while (t->slots[at] && t->groups[t->slots[at] - 1].key != x->key) at = (at + 1) & (capacity - 1);
        if (!t->slots[at]) {
            if (!grow(&t->groups, &t->groups_room, count + 1, sizeof *t->groups)) return 0;
            if (!grow(&t->totals, &t->totals_room, 2 * sums * (count + 1), sizeof *t->totals)) return 0;
            t->groups[count++] = (group){.key = x->key, .row = x->row, .check = x->check};
            t->slots[at] = (u32)count;
        }
        u32 of = t->of[i] = t->slots[at] - 1;
        add_row(t->groups + of, t->totals + 2 * (u64)of * sums, sides[i >= olds], x, i >= olds);
    }
    for (u64 i = 0; i < count; i++) {
        group *g = t->groups + i;
        const total *a = t->totals + 2 * i * sums, *b = a + sums;
        g->apart |= !g->counts[0] || !g->counts[1] || (counted && g->counts[0] != g->counts[1]);
        for (u32 j = 0; j < sums && !g->apart; j++)
            g->apart = a[j].digits != b[j].digits || a[j].places != b[j].places;
        if (g->apart) continue;
        f->identical++;
        for (int at = 0; at < 2; at++) f->folded[at] += g->counts[at] - 1;
    }
    for (u64 i = 0; i < all; i++)
        if (t->groups[t->of[i]].apart &&
            !add(&f->lists[i < olds ? REPEATED_OLD : REPEATED_NEW], row_at(o, n, olds, i)))
            return 0;
    return 1;
}
// As `join`, of rows that are folded by their key on one side or on both. All rows of a key
// are listed as repeated, but for those that become identical rows. `counted`: these have as
// many rows on both sides.
API found *join_folded(const side *old, const side *new, u32 from, u32 to, int counted) {
    found *f = calloc(1, sizeof *f);
    folding t = {0};
    const side *const sides[2] = {old, new};
    int right = f && old->bits == new->bits && to <= 1u << old->bits && old->sum_count == new->sum_count;
    for (u32 i = from; right && i < to; i++) right = fold_partition(f, &t, sides, i, counted);
    free(t.slots), free(t.of), free(t.groups), free(t.totals);
    return right ? f : (found_free(f), (found *)0);
}
API u64 found_folded(const found *f, int side) { return f->folded[side]; }

typedef struct {
    u32 number, at;
} place;
static void sort_places(place *p, place *q, u64 n) { // by number; the result is in `p`
    for (int shift = 0; shift < 32; shift += 8) {
        u64 counts[257] = {0};
        for (u64 i = 0; i < n; i++) counts[(p[i].number >> shift & 255) + 1]++;
        for (int i = 0; i < 256; i++) counts[i + 1] += counts[i];
        for (u64 i = 0; i < n; i++) q[counts[p[i].number >> shift & 255]++] = p[i];
        place *other = p;
        p = q, q = other;
    }
}
static int permute(list *l, const place *p) {
    entry *to = malloc(l->count * sizeof *to + 1);
    if (!to) return 0;
    for (u64 i = 0; i < l->count; i++) to[i] = l->at[p[i].at];
    free(l->at);
    l->at = to, l->room = l->count;
    return 1;
}
// Moves the lists of `from` behind those of `f`; 0 where memory is out.
API int found_append(found *f, found *from) {
    for (int i = 0; i < LISTS; i++) {
        list *to = f->lists + i, *more = from->lists + i;
        if (!to->count) {
            list none = *to;
            *to = *more, *more = none;
        } else if (more->count) {
            if (!grow(&to->at, &to->room, to->count + more->count, sizeof *to->at)) return 0;
            memcpy(to->at + to->count, more->at, more->count * sizeof *to->at);
            to->count += more->count;
        }
        found_forget(from, i);
    }
    f->identical += from->identical, from->identical = 0;
    for (int at = 0; at < 2; at++) f->folded[at] += from->folded[at], from->folded[at] = 0;
    return 1;
}
// Pairs in the order of OLD's rows, rows of repeated keys in file order.
API int found_sort(found *f) {
    static const int of[][2] = {{PAIRED_OLD, PAIRED_NEW}, {REPEATED_OLD, -1}, {REPEATED_NEW, -1}};
    int right = 1;
    for (int i = 0; right && i < 3; i++) {
        list *l = f->lists + of[i][0];
        u64 ordered = 1;
        while (ordered < l->count && l->at[ordered - 1].number < l->at[ordered].number) ordered++;
        if (ordered >= l->count) continue;
        place *p = l->count < UINT32_MAX ? malloc(2 * l->count * sizeof *p + 16) : 0;
        if (!p) return 0;
        for (u64 j = 0; j < l->count; j++) p[j] = (place){l->at[j].number, (u32)j};
        sort_places(p, p + l->count, l->count);
        right = permute(l, p) && (of[i][1] < 0 || permute(f->lists + of[i][1], p));
        free(p);
    }
    return right;
}

// ---------------------------------------------------------------- rows by key
// Lists the rows whose key has the digest of one of `n` texts: the fields of a key as
// `digest_key` packs them, SLACK bytes behind the last. How many rows, -1 without memory.
API i64 side_find(side *s, const u8 *text, const u64 *offsets, u64 n) {
    u64 capacity = 64, words[2];
    while (capacity < 2 * n) capacity *= 2;
    u32 *slots = n < UINT32_MAX ? calloc(capacity, sizeof *slots) : 0;
    u64 *keys = malloc(n * sizeof *keys + 1);
    int right = slots && keys && s->parts;
    for (u64 i = 0; right && i < n; i++) {
        digest(s->secret->key, text + offsets[i], offsets[i + 1] - offsets[i], words);
        keys[i] = words[0];
        u64 at = words[0] & (capacity - 1);
        while (slots[at]) at = (at + 1) & (capacity - 1);
        slots[at] = (u32)i + 1;
    }
    s->sought.count = 0;
    for (u32 part = 0; right && part < 1u << s->bits; part++)
        for (u64 i = 0; right && i < size_of(s->parts + part); i++) {
            const entry *e = entry_at(s->parts + part, i);
            u64 at = e->key & (capacity - 1);
            while (slots[at] && keys[slots[at] - 1] != e->key) at = (at + 1) & (capacity - 1);
            if (!slots[at]) continue;
            right = grow(&s->sought.at, &s->sought.room, s->sought.count + 1, 4);
            if (right) s->sought.at[s->sought.count++] = e->number;
        }
    free(slots), free(keys);
    return right ? (i64)s->sought.count : -1;
}
API const u32 *side_sought(const side *s) { return s->sought.at; }

// ---------------------------------------------------------------- rows that differ
// Memory for what Python asks for, with a word behind it that may be read; NULL where
// there is none.
API void *memory_new(u64 size) {
    u8 *p = size > UINT64_MAX - WORD ? 0 : malloc(size + WORD);
    if (p) memset(p + size, 0, WORD);
    return p;
}
API void memory_free(void *p) { free(p); }
// Where each of these rows is once they are gathered, each with a newline at its end:
// n + 1 offsets. 0 for the number of a row that there is not.
API int gathered_offsets(const side *s, const u32 *rows, u64 n, u64 *offsets) {
    u64 total = 0;
    for (u64 i = 0; i < n; i++) {
        if (rows[i] >= s->rows) return 0;
        offsets[i] = total;
        total += end_of(s, rows[i]) - start_of(s, rows[i]);
        total += s->unended && (u64)rows[i] + 1 == s->rows;
    }
    offsets[n] = total;
    return 1;
}
#define NEAR 4096u        // it is cheaper to read so much between rows than to read twice
#define SPARSE 4u         // if so much more is read than wanted, only rows are indexed
#define MOST (1u << 18)   // bytes at once, but for a longer row
// Whether the bytes [from, to) of an indexed block are one record of the width.
static int is_record(const scanner *c, u64 from, u64 to) {
    return (!from || is_set(c->ends, from - 1)) && is_set(c->ends, to - 1) &&
           between(c->ends, from, to) == 1 && between(c->borders, from, to) == c->width - 1 + c->trailing;
}
// These rows of a file, at these offsets; `out` has room for all of them. Each is checked
// again, for the file may have changed since it was scanned.
API int gather(const side *s, int file, const u32 *rows, u64 n, const u64 *offsets, u8 *out) {
    scanner c = {.delimiter = s->scan.delimiter, .separator = s->scan.delimiter,
                 .width = s->scan.width, .trailing = s->scan.trailing};
    place *p = n < UINT32_MAX ? malloc(2 * n * sizeof *p + 16) : 0;
    u64 room = MOST + SLACK + 1;
    u8 *buffer = malloc(room), *one = 0;
    u64 one_room = 0;
    status found = p && buffer ? OK : MEMORY;
    if (found == OK) {
        for (u64 i = 0; i < n; i++) p[i] = (place){rows[i], (u32)i};
        sort_places(p, p + n, n);
    }
    for (u64 i = 0; i < n && found == OK;) {
        u64 start = start_of(s, p[i].number), stop = end_of(s, p[i].number), j = i + 1, size, whole;
        for (; j < n; j++) {
            u64 begin = start_of(s, p[j].number), end = end_of(s, p[j].number);
            if (begin > stop + NEAR || end - start > MOST) break;
            if (end > stop) stop = end;
        }
        size = stop - start;
        if (!grow(&buffer, &room, size + SLACK + 1, 1)) {
            found = MEMORY;
            break;
        }
        for (u64 have = 0; have < size && found == OK;) {
            i64 got = read_at(file, buffer + have, size - have, start + have);
            if (got <= 0) found = got ? IO : CHANGED;
            else have += (u64)got;
        }
        if (found == OK && s->unended && (u64)p[j - 1].number + 1 == s->rows) buffer[size++] = '\n';
        u64 wanted = 0;
        for (u64 k = i; k < j; k++) wanted += offsets[p[k].at + 1] - offsets[p[k].at];
        int sparse = SPARSE * wanted < size;
        if (found == OK && !sparse) {
            found = indexers[s->isa](&c, buffer, size, &whole);
            if (found == REFUSED || (found == OK && whole != size)) found = CHANGED;
        }
        for (; i < j && found == OK; i++) {
            u64 from = start_of(s, p[i].number) - start, n1 = offsets[p[i].at + 1] - offsets[p[i].at];
            if (sparse) {
                // In a copy: what follows the bytes that are indexed is written to.
                if (!grow(&one, &one_room, n1 + SLACK, 1)) found = MEMORY;
                else found = (memcpy(one, buffer + from, n1), indexers[s->isa](&c, one, n1, &whole));
                if (found == REFUSED || (found == OK && whole != n1)) found = CHANGED;
            }
            if (found != OK) break;
            if (!is_record(&c, sparse ? 0 : from, sparse ? n1 : from + n1)) found = CHANGED;
            else memcpy(out + offsets[p[i].at], buffer + from, n1);
        }
    }
    free(buffer), free(one), free(p), scanner_free(&c);
    return found;
}

// ---------------------------------------------------------------- fields of gathered rows
// The fields of a record without quotes. WORD bytes behind its end are read.
static int split_unquoted(const u8 *p, const u8 *end, u8 delimiter, u32 width, span *to) {
    const u8 *at = p, *stop = end - 1 - (end - p > 1 && end[-2] == '\r');
    u32 field = 0;
    for (const u8 *x = p; x < stop; x += 64) {
        u64 m = where(x, delimiter), wrong = where(x, '\n') | where(x, '\r'), real = ~0ull;
        if (stop - x < 64) real = below((u64)(stop - x));
        if (wrong & real) return 0;
        for (m &= real; m; m &= m - 1) {
            if (field + 1 == width) return 0;
            to[field++] = (span){at, x + lowest(m)};
            at = x + lowest(m) + 1;
        }
    }
    to[field] = (span){at, stop};
    return field + 1 == width;
}
// The same of a record with quotes; 0 also where one is not where it may be.
static int split_quoted(const u8 *p, const u8 *end, u8 delimiter, u32 width, span *to) {
    const u8 *at = p, *stop = end - 1 - (end - p > 1 && end[-2] == '\r');
    u64 carry = 0, border1 = 1, close1 = 0, wrong = 0;
    u32 field = 0;
    for (const u8 *x = p; x < stop; x += 64) {
        u64 real = stop - x < 64 ? below((u64)(stop - x)) : ~0ull;
        u64 quotes = where(x, '"') & real, in = inside(quotes) ^ carry;
        u64 borders = where(x, delimiter) & real & ~in, open = quotes & in, close = quotes & ~in;
        // As in `unquote`: a quote opens behind a border, or doubles the one before it.
        wrong |= (where(x, '\n') | where(x, '\r')) & real & ~in;
        wrong |= open & ~((borders | close) << 1 | border1 | close1);
        wrong |= (close << 1 | close1) & real & ~(borders | open);
        carry = (u64)((i64)in >> 63), border1 = borders >> 63, close1 = close >> 63;
        for (; borders; borders &= borders - 1) {
            if (field + 1 == width) return 0;
            to[field++] = (span){at, x + lowest(borders)};
            at = x + lowest(borders) + 1;
        }
    }
    to[field] = (span){at, stop};
    return field + 1 == width && !carry && !wrong;
}
// The fields of a record, quotes included; 0 where these are not `width` of them.
static int split(const u8 *p, const u8 *end, u8 delimiter, u32 width, span *to) {
    if (p < end && end[-1] == '\n') {
        if (!memchr(p, '"', (u64)(end - p))) return split_unquoted(p, end, delimiter, width, to);
        if (split_quoted(p, end, delimiter, width, to)) return 1;
    }
    for (u32 i = 0; i < width; i++) {
        const u8 *at = p;
        if (p < end && *p == '"')
            for (p++;; p++) {
                p = memchr(p, '"', (u64)(end - p));
                if (!p) return 0;
                if (++p == end || *p != '"') break;
            }
        else
            while (p < end && *p != delimiter && *p != '\n' && *p != '\r') p++;
        to[i] = (span){at, p};
        if (p == end || *p != (i + 1 < width ? delimiter : *p == '\r' ? '\r' : '\n')) return 0;
        p += 1 + (i + 1 == width && *p == '\r');
    }
    return p == end;
}
// The first `need` fields of a record that was found to have `width`: those behind them
// are not looked for where no field is quoted. 0 as `split`.
static int split_first(const u8 *p, const u8 *end, u8 delimiter, u32 width, u32 need, span *to) {
    if (need == width || memchr(p, '"', (u64)(end - p))) return split(p, end, delimiter, width, to);
    const u8 *at = p;
    u32 field = 0;
    for (const u8 *x = p; x < end && field < need; x += 64) {
        u64 m = where(x, delimiter);
        if (end - x < 64) m &= below((u64)(end - x));
        for (; m && field < need; m &= m - 1) {
            to[field++] = (span){at, x + lowest(m)};
            at = x + lowest(m) + 1;
        }
    }
    return field == need;
}
typedef struct {
    u8 *text;
    i64 *ends; // count + 1
    u64 count, text_room, ends_room;
} texts;
static int put_plain(texts *t, span s) {
    u64 size = (u64)t->ends[t->count], n = (u64)(s.end - s.at);
    if (!grow(&t->ends, &t->ends_room, t->count + 2, 8)) return 0;
    if (!grow(&t->text, &t->text_room, size + n + 1, 1)) return 0;
    if (n) memcpy(t->text + size, s.at, n);
    t->ends[++t->count] = (i64)(size + n);
    return 1;
}
static int put_text(texts *t, span s) { // without its quotes
    u64 size = (u64)t->ends[t->count], n = (u64)(s.end - s.at);
    if (!grow(&t->ends, &t->ends_room, t->count + 2, 8)) return 0;
    if (!grow(&t->text, &t->text_room, size + n + 1, 1)) return 0;
    if (n && *s.at == '"') {
        for (s.at++, s.end--; s.at < s.end;) { // up to a doubled quote, with one of it
            const u8 *quote = memchr(s.at, '"', (u64)(s.end - s.at));
            const u8 *to = quote ? quote + 1 : s.end;
            memcpy(t->text + size, s.at, (u64)(to - s.at));
            size += (u64)(to - s.at), s.at = to + (quote != 0);
        }
    } else {
        memcpy(t->text + size, s.at, n);
        size += n;
    }
    t->ends[++t->count] = (i64)size;
    return 1;
}
// Whether two fields say the same, quoted or not.
static int alike(span a, span b) {
    u64 n = (u64)(a.end - a.at), m = (u64)(b.end - b.at);
    if (n == m && (n <= 8 ? short_word(a.at, n) == short_word(b.at, n) : !memcmp(a.at, b.at, n))) return 1;
    int qa = n && *a.at == '"', qb = m && *b.at == '"';
    if (!qa && !qb) return 0;
    if (qa) a.at++, a.end--;
    if (qb) b.at++, b.end--;
    while (a.at < a.end && b.at < b.end) {
        if (*a.at != *b.at) return 0;
        if (*a.at == '"') a.at += qa, b.at += qb;
        a.at++, b.at++;
    }
    return a.at >= a.end && b.at >= b.end;
}
// Columns of text: of rows, and of the cells that differ between pairs.
typedef struct {
    u32 count;
    int of_cells;
    u64 collisions;
    u32 *pairs, *columns;
    u64 pairs_room, columns_room;
    texts of[];
} columns;

API void columns_free(columns *c) {
    if (!c) return;
    for (u32 i = 0; i < c->count; i++) free(c->of[i].text), free(c->of[i].ends);
    free(c->pairs), free(c->columns), free(c);
}
static columns *columns_new(u32 count) {
    columns *c = calloc(1, sizeof *c + count * sizeof *c->of);
    if (!c) return 0;
    c->count = count;
    for (u32 i = 0; i < count; i++) {
        if (!grow(&c->of[i].ends, &c->of[i].ends_room, 1, 8)) return columns_free(c), (columns *)0;
        c->of[i].ends[0] = 0;
    }
    return c;
}
API u64 columns_text(const columns *c, u32 at, const u8 **text, const i64 **ends) {
    *text = c->of[at].text, *ends = c->of[at].ends;
    return c->of[at].count;
}
// Columns by Arrow's C data interface, as a struct of large UTF-8. The array owns the
// memory from here on, and its consumer releases it: no code in Python has to live as long.
typedef struct schema {
    const char *format, *name, *metadata;
    i64 flags, child_count;
    struct schema **children, *dictionary;
    void (*release)(struct schema *);
    void *private;
} schema;
typedef struct array {
    i64 length, null_count, offset, buffer_count, child_count;
    const void **buffers;
    struct array **children, *dictionary;
    void (*release)(struct array *);
    void *private;
} array;
// The children of both are one block each, that of the first.
static void release_schema(schema *s) {
    for (i64 i = 0; i < s->child_count; i++)
        if (s->children[i]->release) s->children[i]->release(s->children[i]);
    if (s->children) free(s->children[0]);
    free(s->children), free(s->private);
    s->release = 0;
}
static void release_array(array *a) {
    for (i64 i = 0; i < a->child_count; i++)
        if (a->children[i]->release) a->children[i]->release(a->children[i]);
    if (a->children) free(a->children[0]);
    for (i64 i = 0; i < a->buffer_count; i++) free((void *)a->buffers[i]);
    free(a->children), free(a->buffers);
    a->release = 0;
}
API void array_free(array *a) {
    if (a->release) a->release(a);
}
API void schema_free(schema *s) {
    if (s->release) s->release(s);
}
static int export_buffers(array *to, schema *described, const char *format, const char *name,
                          u64 length, i64 count, void *one, void *two) {
    const void **buffers = calloc(3, sizeof *buffers);
    u64 size = strlen(name) + 1;
    char *copy = malloc(size);
    if (!buffers || !copy) return free(buffers), free(copy), 0;
    memcpy(copy, name, size);
    buffers[1] = one, buffers[2] = two;
    *to = (array){.length = (i64)length, .buffer_count = count, .buffers = buffers,
                  .release = release_array};
    *described = (schema){.format = format, .name = copy, .release = release_schema, .private = copy};
    return 1;
}
static int export_texts(texts *t, const char *name, array *to, schema *described) {
    if (!grow(&t->text, &t->text_room, 1, 1)) return 0;
    if (!export_buffers(to, described, "U", name, t->count, 3, t->ends, t->text)) return 0;
    *t = (texts){0};
    return 1;
}
static int export_numbers(u32 **numbers, u64 count, const char *name, array *to, schema *described) {
    if (!*numbers && !(*numbers = malloc(4))) return 0;
    if (!export_buffers(to, described, "I", name, count, 2, *numbers, 0)) return 0;
    *numbers = 0;
    return 1;
}
// All columns under these names, once; those of cells begin with the pair and the column.
// 0 where memory is out.
API int columns_export(columns *c, const char *const *names, array *to, schema *described) {
    u64 more = c->of_cells ? 2 : 0, count = c->count + more, length = count ? c->of[0].count : 0;
    array *arrays = calloc(count + 1, sizeof *arrays), **at = malloc((count + 1) * sizeof *at);
    schema *schemas = calloc(count + 1, sizeof *schemas), **as = malloc((count + 1) * sizeof *as);
    int right = arrays && at && schemas && as;
    for (u64 i = 0; right && i < count; i++) at[i] = arrays + i, as[i] = schemas + i;
    right = right && export_buffers(to, described, "+s", "", length, 1, 0, 0);
    if (!right || !count) {
        free(arrays), free(at), free(schemas), free(as);
        return right;
    }
    to->children = at, to->child_count = (i64)count;
    described->children = as, described->child_count = (i64)count;
    if (more)
        right = export_numbers(&c->pairs, length, names[0], at[0], as[0]) &&
                export_numbers(&c->columns, length, names[1], at[1], as[1]);
    for (u64 i = more; right && i < count; i++)
        right = export_texts(c->of + i - more, names[i], at[i], as[i]);
    if (!right) release_array(to), release_schema(described);
    return right;
}
API u64 columns_collisions(const columns *c) { return c->collisions; }
// Rows as they were gathered: those of [from, to), each `width` fields.
typedef struct {
    const u8 *text;
    const u64 *offsets;
    u32 delimiter, width;
} rows;
INLINE int split_row(const rows *r, u64 at, span *to) {
    return split(r->text + r->offsets[at], r->text + r->offsets[at + 1], (u8)r->delimiter, r->width, to);
}
// The text of rows of these numbers, one after the other; `out` has room for it.
API void pick(const rows *r, const i64 *numbers, u64 n, u8 *out) {
    for (u64 i = 0; i < n; i++) {
        u64 from = r->offsets[numbers[i]], size = r->offsets[numbers[i] + 1] - from;
        memcpy(out, r->text + from, size);
        out += size;
    }
}
// Some of the columns of rows; 0 where memory is out or a row is no record.
API columns *extract(const rows *r, u64 from, u64 to, u32 count, const u32 *wanted) {
    span *fields = malloc(sizeof *fields * r->width);
    columns *c = columns_new(count);
    int right = fields && c && are_below(wanted, count, r->width);
    u32 need = 0;
    for (u32 j = 0; right && j < count; j++) need = wanted[j] < need ? need : wanted[j] + 1;
    for (u64 i = from; right && i < to; i++) {
        const u8 *row = r->text + r->offsets[i], *end = r->text + r->offsets[i + 1];
        right = split_first(row, end, (u8)r->delimiter, r->width, need, fields);
        for (u32 j = 0; right && j < count; j++) right = put_text(c->of + j, fields[wanted[j]]);
    }
    free(fields);
    return right ? c : (columns_free(c), (columns *)0);
}
// How the rules of a column read its cells, and what they say of them (`judge`, below).
typedef struct judging judging;
typedef struct {
    u8 *at[2];
    u64 room[2];
} judged_text;
static int judges(judging *all, u32 count);
static int is_judged(const judging *all, u32 column);
static int judge(judging *all, u32 column, judged_text *room, span old, span new, int same);
static columns *compare_places(const rows *old, const rows *new, u64 from, u64 to, u32 count,
                               u32 key_count, const u32 *olds, const u32 *news, const u32 *at_old,
                               const u32 *at_new, const u8 *every, judging *judged) {
    span *a = malloc(sizeof *a * old->width), *b = malloc(sizeof *b * new->width);
    columns *c = columns_new(2);
    judged_text room = {0};
    int right = a && b && c && are_below(olds, count, old->width) && are_below(news, count, new->width);
    if (judged) right = right && judges(judged, count);
    if (c) c->of_cells = 1;
    for (u64 i = from; right && i < to; i++) {
        right = split_row(old, at_old ? at_old[i] : i, a) && split_row(new, at_new ? at_new[i] : i, b);
        for (u32 j = 0; right && j < count; j++) {
            int by_rules = judged && is_judged(judged, j), is_every = every && every[j];
            int same = (by_rules || !is_every) && alike(a[olds[j]], b[news[j]]);
            if (same && !is_every) continue;
            if (by_rules) {
                int equal = judge(judged, j, &room, a[olds[j]], b[news[j]], same);
                right = equal >= 0;
                if (equal) continue;
            }
            u64 n = c->of[0].count;
            c->collisions += j < key_count;
            right = grow(&c->pairs, &c->pairs_room, n + 1, 4) &&
                    grow(&c->columns, &c->columns_room, n + 1, 4) &&
                    put_text(c->of, a[olds[j]]) && put_text(c->of + 1, b[news[j]]);
            if (right) c->pairs[n] = (u32)(i - from), c->columns[n] = j < key_count ? 0 : j - key_count;
        }
    }
    free(a), free(b), free(room.at[0]), free(room.at[1]);
    return right ? c : (columns_free(c), (columns *)0);
}
// The cells that differ between rows of the same place, in `count` columns that are at
// `olds` and `news`: pair, column and both texts. The first `key_count` of these columns
// are the key: a pair that differs in it is none, and counted as a collision. The numbers
// of columns begin behind the key, those of pairs with `from`. `judged`: by column, which
// cells of other bytes are equal, and what is counted of them; without it none are.
API columns *compare(const rows *old, const rows *new, u64 from, u64 to, u32 count, u32 key_count,
                     const u32 *olds, const u32 *news, judging *judged) {
    return compare_places(old, new, from, to, count, key_count, olds, news, 0, 0, 0, judged);
}
// The same without a key, of the pairs of rows in `at_old` and `at_new`; of the columns
// that are marked in `every`, all cells, unless they are judged to be equal.
API columns *compare_pairs(const rows *old, const rows *new, u64 from, u64 to, u32 count,
                           const u32 *olds, const u32 *news, const u32 *at_old, const u32 *at_new,
                           const u8 *every, judging *judged) {
    return compare_places(old, new, from, to, count, 0, olds, news, at_old, at_new, every, judged);
}

// ---------------------------------------------------------------- values
// The distinct texts of a column and their rows, up to `most` of them.
typedef struct {
    texts values;
    u32 *rows, *slots; // a slot: 0 for none, else 1 + the place of the text
    u64 *hashes, rows_room, hashes_room, mask;
    int full; // there are more than `most`
} counter;
static void counter_free(counter *c) {
    free(c->values.text), free(c->values.ends), free(c->rows), free(c->slots), free(c->hashes);
}
static int counter_init(counter *c, u64 most) {
    u64 capacity = 64;
    while (capacity < 2 * most + 2) capacity *= 2;
    c->mask = capacity - 1, c->slots = calloc(capacity, sizeof *c->slots);
    return c->slots && grow(&c->values.ends, &c->values.ends_room, 1, 8) && (c->values.ends[0] = 0, 1);
}
// The slot of a text, or the empty one for it. Up to 8 bytes the hash is one to one.
INLINE u64 slot_of(const counter *c, const u8 *p, u64 n, u64 hash) {
    const texts *t = &c->values;
    u64 at = hash >> 32 & c->mask;
    for (u32 i; (i = c->slots[at]); at = (at + 1) & c->mask) {
        u64 begin = (u64)t->ends[i - 1];
        if (c->hashes[i - 1] != hash || (u64)t->ends[i] - begin != n) continue;
        if (n <= 8 || !memcmp(t->text + begin, p, n)) break;
    }
    return at;
}
// `written`: the text is a field as it is written, perhaps in quotes.
static int count_text(counter *c, span s, u64 most, int written) {
    texts *t = &c->values;
    int quoted = written && s.at < s.end && *s.at == '"';
    if (quoted) { // behind the values, where it stays if it is a new one
        if (!put_text(t, s)) return 0;
        s = (span){t->text + t->ends[t->count - 1], t->text + t->ends[t->count]};
        t->count--;
    }
    u64 n = (u64)(s.end - s.at);
    u64 hash = ((n <= 8 ? short_word(s.at, n) : stable_within(0, s.at, n)) + n) * ODD;
    u64 at = slot_of(c, s.at, n, hash);
    if (c->slots[at]) return c->rows[c->slots[at] - 1]++, 1;
    if (t->count == most) return c->full = 1;
    if (quoted) t->count++;
    else if (!put_plain(t, s)) return 0;
    if (!grow(&c->rows, &c->rows_room, t->count, 4) || !grow(&c->hashes, &c->hashes_room, t->count, 8))
        return 0;
    c->slots[at] = (u32)t->count, c->rows[t->count - 1] = 1, c->hashes[t->count - 1] = hash;
    return 1;
}
// The counts of `n` columns as cells: the ordinal of the column, the rows, the text. A
// column with more than `most` values has none, and its ordinal is marked in `full`.
static columns *counted(counter *c, u32 n, u8 *full) {
    columns *out = columns_new(1);
    int right = out != 0;
    for (u32 i = 0; right && i < n; i++) {
        full[i] = (u8)c[i].full;
        for (u64 j = 0; right && !c[i].full && j < c[i].values.count; j++) {
            const texts *t = &c[i].values;
            u64 at = out->of[0].count;
            right = grow(&out->pairs, &out->pairs_room, at + 1, 4) &&
                    grow(&out->columns, &out->columns_room, at + 1, 4) &&
                    put_plain(out->of, (span){t->text + t->ends[j], t->text + t->ends[j + 1]});
            if (right) out->pairs[at] = i, out->columns[at] = c[i].rows[j];
        }
    }
    if (out) out->of_cells = 1;
    return right ? out : (columns_free(out), (columns *)0);
}
// The values of some columns of gathered rows: of those in `numbers`, or without it of all.
API columns *count_values(const rows *r, const u32 *numbers, u64 n, u32 count, const u32 *wanted,
                          u64 most, u8 *full) {
    span *fields = malloc(sizeof *fields * r->width);
    counter *c = calloc(count + 1, sizeof *c);
    int right = fields && c && are_below(wanted, count, r->width);
    for (u32 j = 0; right && j < count; j++) right = counter_init(c + j, most);
    for (u64 i = 0; right && i < n; i++) {
        right = split_row(r, numbers ? numbers[i] : i, fields);
        for (u32 j = 0; right && j < count; j++)
            if (!c[j].full) right = count_text(c + j, fields[wanted[j]], most, 1);
    }
    columns *out = right ? counted(c, count, full) : 0;
    for (u32 j = 0; c && j < count; j++) counter_free(c + j);
    free(fields), free(c);
    return out;
}

// ---------------------------------------------------------------- tables of Polars
// A frame of strings as Polars exports it: batches of columns, each an array of views.
typedef struct stream {
    int (*get_schema)(struct stream *, schema *);
    int (*get_next)(struct stream *, array *);
    const char *(*get_last_error)(struct stream *);
    void (*release)(struct stream *);
    void *private;
} stream;
typedef struct {
    u32 width;
    array *batches;
    u64 count, room;
} table_of_views;

API void table_free(table_of_views *t) {
    if (!t) return;
    for (u64 i = 0; i < t->count; i++) array_free(t->batches + i);
    free(t->batches), free(t);
}
// Takes all batches of a stream; 0 where it is no frame of strings without nulls.
API table_of_views *table_new(stream *from) {
    table_of_views *t = calloc(1, sizeof *t);
    schema described = {0};
    int right = t && !from->get_schema(from, &described) && !strcmp(described.format, "+s");
    if (right) t->width = (u32)described.child_count;
    for (i64 i = 0; right && i < described.child_count; i++)
        right = !strcmp(described.children[i]->format, "vu");
    while (right) {
        array batch = {0};
        right = !from->get_next(from, &batch);
        if (!right || !batch.release) break;
        right = grow(&t->batches, &t->room, t->count + 1, sizeof *t->batches);
        if (!right) array_free(&batch);
        else t->batches[t->count++] = batch;
        // Nulls are counted by whoever made the array; -1 is not known.
        right = right && !batch.null_count && batch.child_count == (i64)t->width;
        for (i64 i = 0; right && i < batch.child_count; i++) right = !batch.children[i]->null_count;
    }
    if (described.release) described.release(&described);
    return right ? t : (table_free(t), (table_of_views *)0);
}
static u64 height_of(const table_of_views *t) {
    u64 rows = 0;
    for (u64 i = 0; i < t->count; i++) rows += (u64)t->batches[i].length;
    return rows;
}
typedef struct {
    u32 size;
    union {
        u8 text[12];
        struct {
            u8 prefix[4];
            u32 buffer, offset;
        } at;
    };
} view;
INLINE span text_of(const array *column, i64 row) {
    const view *v = (const view *)column->buffers[1] + column->offset + row;
    const u8 *at = v->size <= 12 ? v->text : (const u8 *)column->buffers[2 + v->at.buffer] + v->at.offset;
    return (span){at, at + v->size};
}
// The texts of a column, one after the other over all batches.
typedef struct {
    const table_of_views *of;
    u32 column;
    u64 batch;
    i64 row;
} cursor;
INLINE int next_text(cursor *c, span *to) {
    for (; c->batch < c->of->count; c->batch++, c->row = 0) {
        const array *batch = c->of->batches + c->batch;
        if (c->row == batch->length) continue;
        *to = text_of(batch->children[c->column], batch->offset + c->row++);
        return 1;
    }
    return 0;
}

// `recon_engine.compare.sampling.stable_hash`: 0 where memory is out.
API int table_hashes(const table_of_views *t, array *to, schema *described) {
    u64 rows = height_of(t), *state = calloc(rows + 1, 8), at = 0;
    if (!state) return 0;
    span s;
    for (u32 i = 0; i < t->width; i++, at = 0)
        for (cursor c = {t, i, 0, 0}; next_text(&c, &s); at++)
            state[at] = stable_within(state[at], s.at, (u64)(s.end - s.at));
    if (export_buffers(to, described, "L", "", rows, 2, state, 0)) return 1;
    return free(state), 0;
}
// The values of all columns, as `count_values` gives them.
API columns *table_counts(const table_of_views *t, u64 most, u8 *full) {
    counter *c = calloc(t->width + 1, sizeof *c);
    int right = c != 0;
    span s;
    for (u32 i = 0; right && i < t->width; i++) {
        cursor at = {t, i, 0, 0};
        right = counter_init(c + i, most);
        while (right && !c[i].full && next_text(&at, &s))
            right = count_text(c + i, s, most, 0);
    }
    columns *out = right ? counted(c, t->width, full) : 0;
    for (u32 i = 0; c && i < t->width; i++) counter_free(c + i);
    free(c);
    return out;
}

// The size of the white space that a text begins with, or ends with; 0 for none. White
// space is that of Unicode, as Polars strips it.
static u64 space_at(const u8 *p, u64 n) {
    if (!n) return 0;
    if (*p == ' ' || (*p >= 9 && *p <= 13)) return 1;
    if (n >= 2 && *p == 0xC2 && (p[1] == 0x85 || p[1] == 0xA0)) return 2;
    if (n < 3) return 0;
    u32 c = (u32)p[0] << 16 | (u32)p[1] << 8 | p[2];
    return c == 0xE19A80 || (c >= 0xE28080 && c <= 0xE2808A) || c == 0xE280A8 || c == 0xE280A9 ||
                   c == 0xE280AF || c == 0xE2819F || c == 0xE38080
               ? 3 : 0;
}
static span stripped(span s) {
    u64 n;
    while ((n = space_at(s.at, (u64)(s.end - s.at)))) s.at += n;
    for (u64 size = 1; size <= 3 && (u64)(s.end - s.at) >= size;) {
        if (space_at(s.end - size, size) == size) s.end -= size, size = 1;
        else size++;
    }
    return s;
}
// A normal number, and the size that it has as people write it: `-0.5` has four bytes.
static int read_normal(span s, amount *a, u64 *size) {
    *a = (amount){0};
    if (s.end - s.at < 4 || s.at[0] || (s.at[1] != '+' && s.at[1] != '-') || s.at[2] != '0') return 0;
    const u8 *p = s.at + 3;
    a->negative = s.at[1] == '-';
    int whole = digits_of(&p, s.end, a);
    if (p == s.end || *p++ != '.') return 0;
    a->places = (u32)digits_of(&p, s.end, a);
    *size = (u64)a->negative + (u64)(whole ? whole : 1) + (a->places ? 1 + a->places : 0);
    return p == s.end;
}
// How the texts of a column are written, and their sum: what `make_form` and `_exact_sum`
// of `recon_engine/analysis/totals.py` need. `shortest`, `longest`: of those that are not
// blank, stripped; both are 0 without any. The sum is `high`:`low` / 10^places; `exact`:
// whether it is one. A normal number is taken as people write it.
typedef struct {
    u64 shortest, longest, low, high;
    u32 places;
    u8 amounts, point, exact, unused;
} summed_column;
static void add_amount(summed_column *c, __int128 *sum, const amount *a) {
    __int128 value = (__int128)a->digits;
    if (a->negative) value = -value;
    if (a->places > c->places) c->exact &= (u8)raise10(sum, a->places - c->places), c->places = a->places;
    c->exact &= (u8)(!a->large && raise10(&value, c->places - a->places));
    c->exact &= (u8)!__builtin_add_overflow(*sum, value, sum);
}
static void add_text(summed_column *c, __int128 *sum, span s) {
    amount a;
    u64 size;
    if (read_normal(s, &a, &size)) { // no text begins like it
        c->point |= a.places > 0;
    } else {
        span text = stripped(s);
        size = (u64)(text.end - text.at);
        if (!size) return;
        c->amounts = (u8)read_amount(text, &a);
        c->point |= c->amounts && memchr(text.at, '.', size);
    }
    if (!c->longest || size < c->shortest) c->shortest = size;
    if (size > c->longest) c->longest = size;
    if (c->amounts && c->exact) add_amount(c, sum, &a);
}
static void put_sum(summed_column *c, __int128 sum) {
    c->low = (u64)sum, c->high = (u64)((unsigned __int128)sum >> 64);
}
API void table_sums(const table_of_views *t, summed_column *out) {
    for (u32 i = 0; i < t->width; i++) {
        summed_column c = {.amounts = 1, .exact = 1};
        cursor at = {t, i, 0, 0};
        __int128 sum = 0;
        span s;
        while (c.amounts && next_text(&at, &s)) add_text(&c, &sum, s);
        put_sum(&c, sum);
        out[i] = c;
    }
}
// The sums of columns of a side over all of its rows; those that are not `exact` are unknown.
API void side_totals(const side *s, summed_column *out) {
    for (u32 i = 0; i < s->total_count; i++) {
        const sum_of_column *t = s->totals + i;
        out[i] = (summed_column){.places = t->sum.places, .exact = !t->unknown};
        put_sum(out + i, t->sum.digits);
    }
}

// ---------------------------------------------------------------- forms of values
// The normal forms of `recon_engine/rules`: of numbers with digits, groups and a point, of
// whole numbers with an implied point, and of days in formats of digits.
//
// `places`: of an implied point; 0 for one that is written. `formats`: those of days, each
// a string of parts, an empty string behind the last; without them numbers are read. A
// part is Y, m or d for digits (M and D for two, m and d for one or two), or = and a byte.
// `apart`: what a text that is neither read nor blank begins with, of `apart_size` bytes.
typedef struct {
    u32 point, group, trailing, places;
    const u8 *formats, *apart;
    u64 apart_size;
} reading;
#define FORM_ROOM 64 // more bytes than a form has beside its text; `places` is below 32
// Sign and 0, before what has no zeros before its point and none at its end.
INLINE u64 signed_form(u8 *to, const u8 *end, int below) {
    to[0] = 0, to[1] = below && end - to > 4 ? '-' : '+', to[2] = '0';
    return (u64)(end - to);
}
// The size of the form; 0 for what is no number.
static u64 number_form(const reading *r, span s, u8 *to) {
    const u8 *p = s.at, *end = s.end;
    u8 *first = to + 3, *d = first;
    u64 count = 0, groups = 0;
    int below = 0;
    if (p < end && (*p == '+' || *p == '-')) below = *p++ == '-';
    else if (r->trailing && p < end && (end[-1] == '+' || end[-1] == '-')) below = *--end == '-';
    for (; p < end; p++) {
        if (is_digit(*p)) {
            count++, *d = *p;
            d += d > first || *p != '0';
        } else if (*p == r->group) {
            if (groups ? count != 3 : !count || count > 3) return 0;
            groups++, count = 0;
        } else {
            break;
        }
    }
    if (groups && count != 3) return 0;
    *d++ = '.';
    if (p < end) {
        u8 *fraction = d;
        if (*p++ != r->point) return 0;
        for (; p < end && is_digit(*p); p++) *d++ = *p;
        if (p < end || (!count && d == fraction)) return 0;
        while (d[-1] == '0') d--;
    } else if (!count) {
        return 0;
    }
    return signed_form(to, d, below);
}
static u64 implied_form(const reading *r, span s, u8 *to) {
    const u8 *p = s.at;
    u8 *first = to + 3, *d = first;
    int below = 0;
    if (p < s.end && (*p == '+' || *p == '-')) below = *p++ == '-';
    u64 count = (u64)(s.end - p), zeros = count < r->places ? r->places - count : 0;
    if (!count) return 0;
    for (const u8 *x = p; x < s.end; x++)
        if (!is_digit(*x)) return 0;
    for (; count > r->places; count--, p++) {
        *d = *p;
        d += d > first || *p != '0';
    }
    *d++ = '.';
    while (zeros--) *d++ = '0';
    while (p < s.end) *d++ = *p++;
    while (d[-1] == '0') d--;
    return signed_form(to, d, below);
}
// The days since 1970 of a day of the years 1000 to 9999 (Hinnant, "chrono-compatible
// low-level date algorithms").
INLINE i64 days_of(u32 year, u32 month, u32 day) {
    u32 y = year - (month <= 2), of_era = y % 400;
    u32 of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return (i64)(y / 400) * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}
// Reads the parts of a format; 0 where a text is not written so.
static int read_parts(const u8 *f, span s, u32 *year, u32 *month, u32 *day) {
    const u8 *p = s.at;
    for (; *f; f++) {
        if (*f == '=') {
            if (p == s.end || *p++ != *++f) return 0;
            continue;
        }
        u32 most = *f == 'Y' ? 4 : 2, least = *f == 'm' || *f == 'd' ? 1 : most, n = 0, value = 0;
        for (; n < most && p < s.end && is_digit(*p); n++, p++) value = 10 * value + (*p - '0');
        if (n < least) return 0;
        *(*f == 'Y' ? year : *f == 'm' || *f == 'M' ? month : day) = value;
    }
    return p == s.end;
}
static u64 day_form(const reading *r, span s, u8 *to) {
    static const u8 lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    for (const u8 *f = r->formats; *f; f += strlen((const char *)f) + 1) {
        u32 year = 0, month = 0, day = 0;
        if (!read_parts(f, s, &year, &month, &day)) continue;
        if (year < 1000 || !month || month > 12 || !day || day > lengths[month - 1]) continue;
        if (month == 2 && day == 29 && (year % 4 || (!(year % 100) && year % 400))) continue;
        i64 days = days_of(year, month, day);
        u64 size = 0, left = (u64)(days < 0 ? -days : days);
        u8 digits[20];
        do digits[size++] = (u8)('0' + left % 10);
        while (left /= 10);
        u8 *d = to;
        *d++ = 0;
        if (days < 0) *d++ = '-';
        while (size) *d++ = digits[--size];
        return (u64)(d - to);
    }
    return 0;
}
// The size of the form of a text, for which there is room; whether the text is read. What is
// not read is its own form, behind `apart`; a blank is one.
INLINE u64 write_form(const reading *r, span s, u8 *form, int *is_read) {
    u64 n = (u64)(s.end - s.at);
    u64 length = !n ? 0 : r->formats ? day_form(r, s, form) : r->places ? implied_form(r, s, form)
                                                                       : number_form(r, s, form);
    *is_read = length > 0;
    if (length || !n) return length;
    if (r->apart_size) memcpy(form, r->apart, r->apart_size);
    memcpy(form + r->apart_size, s.at, n);
    return r->apart_size + n;
}
// The forms of a column as an array of views, and in `counts` the texts that are read, and
// those that are neither read nor blank. 0 where memory is out, or the forms have more
// bytes than a view can point to.
API int table_forms(const table_of_views *t, const reading *r, array *to, schema *described,
                    u64 counts[2]) {
    u64 rows = height_of(t), size = 0, room = 0, at = 0, read = 0, unread = 0;
    view *views = malloc((rows + 1) * sizeof *views);
    i64 *sizes = malloc(sizeof *sizes);
    const void **buffers = calloc(4, sizeof *buffers);
    u8 *text = 0;
    char *name = calloc(1, 1);
    int right = views && sizes && buffers && name;
    span s;
    for (cursor c = {t, 0, 0, 0}; right && next_text(&c, &s); at++) {
        u64 n = (u64)(s.end - s.at), most = n + r->apart_size + FORM_ROOM;
        right = size + most <= INT32_MAX && grow(&text, &room, size + most, 1);
        if (!right) break;
        u8 *form = text + size;
        int is_read;
        u64 length = write_form(r, s, form, &is_read);
        read += (u64)is_read, unread += n && !is_read;
        view v = {.size = (u32)length};
        if (length <= sizeof v.text) {
            memcpy(v.text, form, length);
        } else {
            memcpy(v.at.prefix, form, sizeof v.at.prefix);
            v.at.offset = (u32)size, size += length;
        }
        views[at] = v;
    }
    if (!right || !grow(&text, &room, 1, 1))
        return free(views), free(sizes), free(buffers), free(text), free(name), 0;
    *sizes = (i64)size, counts[0] = read, counts[1] = unread;
    buffers[1] = views, buffers[2] = text, buffers[3] = sizes;
    *to = (array){.length = (i64)rows, .buffer_count = 4, .buffers = buffers, .release = release_array};
    *described = (schema){.format = "vu", .name = name, .release = release_schema, .private = name};
    return 1;
}

// A column in which two cells are equal if their forms are. `sides`: how OLD and NEW are
// read, 0 if its cells are not judged. `by_form`: by side, whether numbers are added up as
// they were read, and not as they are written. What was found: the cells `seen`; those of
// them that are read, and those that are neither read nor blank, first of OLD; those that are
// equal, but not by their bytes, and their sums.
struct judging {
    const reading *sides[2];
    u32 by_form[2];
    u64 seen, counts[4], equal;
    summed_column sums[2];
};
static int is_judged(const judging *all, u32 column) { return all[column].sides[0] != 0; }
// Nothing is counted yet; 0 where a column is read on one side only.
static int judges(judging *all, u32 count) {
    for (u32 i = 0; i < count; i++) {
        if (!all[i].sides[0] != !all[i].sides[1]) return 0;
        all[i].seen = all[i].equal = 0;
        for (int j = 0; j < 4; j++) all[i].counts[j] = 0;
        for (int j = 0; j < 2; j++) all[i].sums[j] = (summed_column){.amounts = 1, .exact = 1};
    }
    return 1;
}
// The text of a field behind room for its form, which begins at `to->at`.
static int hold_text(judged_text *to, int side, u64 apart, span *s) {
    u64 n = (u64)(s->end - s->at), form = n + apart + FORM_ROOM;
    if (!grow(&to->at[side], &to->room[side], form + n, 1)) return 0;
    if (!n || *s->at != '"') return 1;
    u8 *out = to->at[side] + form, *first = out;
    for (const u8 *p = s->at + 1; p < s->end - 1; p++) {
        *out++ = *p;
        p += *p == '"'; // of a doubled quote one
    }
    *s = (span){first, out};
    return 1;
}
// Whether the cells of a pair are equal by their forms; -1 where memory is out. `same`:
// whether they are without them.
static int judge(judging *all, u32 column, judged_text *room, span old, span new, int same) {
    judging *j = all + column;
    span s[2] = {old, new};
    u64 size[2];
    j->seen++;
    for (int side = 0; side < 2; side++) {
        const reading *r = j->sides[side];
        int is_read;
        if (!hold_text(room, side, r->apart_size, s + side)) return -1;
        size[side] = write_form(r, s[side], room->at[side], &is_read);
        j->counts[2 * side] += (u64)is_read;
        j->counts[2 * side + 1] += s[side].at < s[side].end && !is_read;
    }
    if (size[0] != size[1] || memcmp(room->at[0], room->at[1], size[0])) return 0;
    if (same) return 1;
    j->equal++;
    for (int side = 0; side < 2; side++) {
        summed_column *c = j->sums + side;
        if (!c->amounts) continue; // its sum is not asked for
        __int128 sum = (__int128)((unsigned __int128)c->high << 64 | c->low);
        u8 *form = room->at[side];
        add_text(c, &sum, j->by_form[side] ? (span){form, form + size[side]} : s[side]);
        put_sum(c, sum);
    }
    return 1;
}

// Mixes the forms of some columns into the digests of rows, three words each: key, row,
// check. `random`: as for `side_new`, the same for both sides. In `counts` are added, by
// column, the texts that are read, and those that are neither read nor blank. 0 where memory
// is out or a row is no record.
API int digest_forms(const rows *r, u64 n, u32 count, const u32 *wanted, const reading *const *how,
                     const u8 *random, u64 *words, u64 *counts) {
    span *fields = malloc(sizeof *fields * r->width);
    keys *secret = malloc(LEVELS * sizeof *secret);
    judged_text room = {0};
    u8 *forms = 0;
    u64 forms_room = 0;
    int right = fields && secret && are_below(wanted, count, r->width);
    u32 need = 0;
    if (secret) memcpy(secret, random, LEVELS * sizeof *secret);
    for (u32 j = 0; right && j < count; j++) need = wanted[j] < need ? need : wanted[j] + 1;
    for (u64 i = 0; right && i < n; i++, words += 3) {
        u64 size = 0, out[2];
        const u8 *row = r->text + r->offsets[i], *end = r->text + r->offsets[i + 1];
        right = split_first(row, end, (u8)r->delimiter, r->width, need, fields);
        for (u32 j = 0; right && j < count; j++) {
            span s = fields[wanted[j]];
            int is_read;
            u64 apart = how[j]->apart_size;
            right = hold_text(&room, 0, 0, &s) &&
                    grow(&forms, &forms_room, size + (u64)(s.end - s.at) + apart + FORM_ROOM + SLACK, 1);
            if (!right) break;
            size += write_form(how[j], s, forms + size, &is_read);
            forms[size++] = 0xFE; // no byte of UTF-8
            counts[2 * j] += (u64)is_read, counts[2 * j + 1] += s.at < s.end && !is_read;
        }
        if (!right) break;
        digest(secret, forms, size, out);
        words[1] ^= out[0], words[2] ^= out[1];
    }
    free(fields), free(secret), free(forms), free(room.at[0]);
    return right;
}

// The digests of all rows in file order, three words each: key, row, check.
API void digests(const side *s, u64 *out) {
    for (u32 i = 0; i < 1u << s->bits; i++)
        for (u64 j = 0; j < size_of(s->parts + i); j++) {
            const entry *e = entry_at(s->parts + i, j);
            u64 *to = out + 3 * (u64)e->number;
            to[0] = e->key, to[1] = e->row, to[2] = e->check;
        }
}

// The digests of a partition, in file order; `number` becomes where the row begins behind
// `from`, in 32 bits. How many these are, also without `out`.
API u64 side_placed(const side *s, u32 part, u64 from, entry *out) {
    u64 count = part < 1u << s->bits ? size_of(s->parts + part) : 0;
    for (u64 i = 0; out && i < count; i++) {
        out[i] = *entry_at(s->parts + part, i);
        out[i].number = (out[i].number ? s->ends[out[i].number - 1] : (u32)s->origin) - (u32)from;
    }
    return count;
}
// Adds digests of rows that were read elsewhere, numbered anew. `skip`: the high bits of
// keys that all of them have in common. 0 where memory is out, or there are too many rows.
API int side_put(side *s, const entry *from, u64 count, u32 skip) {
    if (count >= UINT32_MAX - s->rows) return 0;
    for (u64 i = 0; i < count; i++) {
        u64 high = from[i].key << skip;
        partition *p = s->parts + (s->bits ? high >> (64 - s->bits) : 0);
        if (p->at == p->stop && !more_entries(s, p)) return 0;
        __builtin_prefetch(p->at + 4, 1);
        *p->at = from[i], p->at++->number = (u32)s->rows++;
    }
    return 1;
}

// The digests of the rows of a side, as arrays.
typedef struct {
    const u64 *row, *check, *key;
    u64 rows;
} digested;
typedef struct {
    u64 row;
    u32 at, unused;
} numbered;
typedef struct {
    u64 row;
    u32 at[2], counts[2]; // by side
} slot_of_row;
// About so many rows of both sides are matched within the cache of a core.
#define MATCHED_ROWS 4096
#define MATCHED_BITS 12

// Rows by the high bits of their digest; `starts`: 2**bits + 1, where those of each begin.
static numbered *spread(const digested *of, u32 bits, u64 *starts) {
    u32 shift = 64 - bits;
    numbered *to = malloc(of->rows * sizeof *to + 1);
    u64 *at = calloc((1u << bits) + 1, sizeof *at), parts = 1u << bits;
    if (to && at) {
        for (u64 i = 0; i < of->rows; i++) at[(bits ? of->row[i] >> shift : 0) + 1]++;
        for (u64 i = 0; i < parts; i++) at[i + 1] += at[i];
        memcpy(starts, at, 8 * (parts + 1));
        for (u64 i = 0; i < of->rows; i++)
            to[at[bits ? of->row[i] >> shift : 0]++] = (numbered){of->row[i], (u32)i, 0};
    }
    if (!at) free(to), to = 0;
    free(at);
    return to;
}
static u64 slot_at(const slot_of_row *slots, u64 capacity, u64 row) {
    u64 at = row & (capacity - 1);
    while ((slots[at].counts[0] || slots[at].counts[1]) && slots[at].row != row) at = (at + 1) & (capacity - 1);
    return at;
}
// A table of twice the size, because half of it is used; 0 where memory is out.
static int widen(slot_of_row **slots, u64 *room, u64 *capacity) {
    u64 wide = 2 * *capacity;
    slot_of_row *to = calloc(wide, sizeof *to);
    if (!to) return 0;
    for (u64 i = 0; i < *capacity; i++) {
        const slot_of_row *x = *slots + i;
        if (x->counts[0] || x->counts[1]) to[slot_at(to, wide, x->row)] = *x;
    }
    free(*slots);
    *slots = to, *room = *capacity = wide;
    return 1;
}
// Marks the rows of both sides of which `row` occurs once on each, and the other digests are
// equal: `kept`, by side, becomes 0 there. How many pairs, -1 without memory.
API i64 drop_identical(const digested sides[2], u8 *old_kept, u8 *new_kept) {
    u64 all = sides[0].rows + sides[1].rows, room = 0;
    u32 bits = 0;
    if (sides[0].rows >= UINT32_MAX || sides[1].rows >= UINT32_MAX) return -1;
    while (bits < MATCHED_BITS && all >> bits > MATCHED_ROWS) bits++;
    u64 *starts = malloc(16 * ((1ull << bits) + 1));
    if (!starts) return -1;
    u64 *ends[2] = {starts, starts + (1u << bits) + 1};
    numbered *rows[2] = {0};
    slot_of_row *slots = 0;
    i64 identical = 0;
    for (int s = 0; s < 2; s++) rows[s] = spread(sides + s, bits, ends[s]);
    for (u64 part = 0; rows[0] && rows[1] && identical >= 0 && part < 1u << bits; part++) {
        u64 count = ends[0][part + 1] - ends[0][part] + ends[1][part + 1] - ends[1][part];
        u64 capacity = 64, used = 0;
        // By distinct rows: of one that repeats in millions, slots for each would be larger
        // than the digests.
        while (capacity < 2 * count && capacity < 4 * MATCHED_ROWS) capacity *= 2;
        if (!grow(&slots, &room, capacity, sizeof *slots)) {
            identical = -1;
            break;
        }
        memset(slots, 0, capacity * sizeof *slots);
        for (int s = 0; s < 2 && identical >= 0; s++)
            for (u64 i = ends[s][part]; i < ends[s][part + 1]; i++) {
                u64 at = slot_at(slots, capacity, rows[s][i].row);
                if (!slots[at].counts[0] && !slots[at].counts[1] && 2 * ++used > capacity) {
                    if (!widen(&slots, &room, &capacity)) {
                        identical = -1;
                        break;
                    }
                    at = slot_at(slots, capacity, rows[s][i].row);
                }
                slots[at].row = rows[s][i].row, slots[at].at[s] = rows[s][i].at, slots[at].counts[s]++;
            }
        if (identical < 0) break;
        for (u64 i = 0; i < capacity; i++) {
            const slot_of_row *x = slots + i;
            u32 o = x->at[0], n = x->at[1];
            if (x->counts[0] != 1 || x->counts[1] != 1 || sides[0].check[o] != sides[1].check[n] ||
                sides[0].key[o] != sides[1].key[n])
                continue;
            old_kept[o] = new_kept[n] = 0, identical++;
        }
    }
    if (!rows[0] || !rows[1]) identical = -1;
    free(starts), free(rows[0]), free(rows[1]), free(slots);
    return identical;
}

// Whether a number occurs twice; -1 where memory is out.
API int has_repeats(const u64 *numbers, u64 n) {
    digested of = {.row = numbers, .rows = n};
    u32 bits = 0;
    while (bits < MATCHED_BITS && n >> bits > MATCHED_ROWS) bits++;
    u64 *starts = malloc(8 * ((1ull << bits) + 1)), *slots = 0, room = 0, zeros = 0;
    numbered *rows = starts && n < UINT32_MAX ? spread(&of, bits, starts) : 0;
    int found = rows ? 0 : -1;
    for (u64 part = 0; !found && part < 1u << bits; part++) {
        u64 capacity = 64;
        while (capacity < 2 * (starts[part + 1] - starts[part])) capacity *= 2;
        if (!grow(&slots, &room, capacity, 8)) {
            found = -1;
            break;
        }
        memset(slots, 0, 8 * capacity);
        for (u64 i = starts[part]; !found && i < starts[part + 1]; i++) {
            u64 x = rows[i].row, at = x & (capacity - 1);
            while (slots[at] && slots[at] != x) at = (at + 1) & (capacity - 1);
            found = x ? slots[at] == x : zeros++ > 0; // an empty slot is 0
            slots[at] = x;
        }
    }
    free(starts), free(rows), free(slots);
    return found;
}

// ---------------------------------------------------------------- long delimiters
// Whether a mark begins again within the one at `p`, and none behind it: then the end of
// a field is unclear. `left`: the bytes from `p` on; `distances`: where it may, as bits.
static int overlaps_itself(const u8 *p, u64 left, const u8 *mark, u64 size, u64 distances) {
    for (u64 m = distances; m; m &= m - 1) {
        u64 at = (u64)lowest(m), more = size - at;
        if (at + size > left || p[size] != mark[more] || memcmp(p + size, mark + more, at)) continue;
        return left < 2 * size || memcmp(p + size, mark, size);
    }
    return 0;
}
// Text in which each mark, of 2 to 63 bytes, is one byte: from left to right, without
// quotes. `out` has room for `n` bytes. Its size, -1 where a mark overlaps itself.
API i64 replace_marks(const u8 *text, u64 n, const u8 *mark, u64 size, u8 with, u8 *out) {
    const u8 *at = text, *end = text + n, *x = text;
    u8 *to = out;
    u64 distances = 0;
    for (u64 d = 1; d < size; d++) distances |= (u64)!memcmp(mark, mark + d, size - d) << d;
    while (n >= size && x <= end - size) {
        u64 candidates = 0, span = 64;
        if ((u64)(end - x) > 64)
            candidates = where(x, mark[0]) & where(x + 1, mark[1]);
        else
            for (span = 0; x + span <= end - size; span++)
                candidates |= (u64)(x[span] == mark[0] && x[span + 1] == mark[1]) << span;
        for (; candidates; candidates &= candidates - 1) {
            const u8 *found = x + lowest(candidates);
            u64 left = (u64)(end - found), field = (u64)(found - at);
            if (found < at || left < size || (size > 2 && memcmp(found, mark, size))) continue;
            if (distances && overlaps_itself(found, left, mark, size, distances)) return -1;
            // Most fields are short. There is room, for what is written is not longer.
            if (field <= 16 && (u64)(end - at) >= 16) memcpy(to, at, 16);
            else memcpy(to, at, field);
            to += field, *to++ = with, at = found + size;
        }
        x += span;
    }
    memcpy(to, at, (u64)(end - at));
    return to - out + (end - at);
}

// ---------------------------------------------------------------- code pages
#define PIECE (1u << 16)
static int write_all(int to, const u8 *p, u64 n) {
    for (i64 done; n; p += done, n -= (u64)done)
        if ((done = write(to, p, n)) <= 0) return 0;
    return 1;
}
// Text as UTF-8, where a character is a byte; 0 where one is none. `out` has room for 3
// bytes of each, and 8 more.
static u8 *encode(const u8 *text, u64 n, const u32 *high, u8 *out) {
    for (u64 at = 0; at < n;) {
        if (n - at >= 8) {
            u64 word = load(text + at), foreign = word & 0x8080808080808080ull;
            u64 plain = foreign ? lowest(foreign) / 8 : 8;
            memcpy(out, &word, 8);
            at += plain, out += plain;
            if (!foreign) continue;
        } else if (text[at] < 128) {
            *out++ = text[at++];
            continue;
        }
        u32 word = high[text[at++] - 128];
        if (!word) return 0;
        memcpy(out, &word, 4);
        out += word >> 24;
    }
    return out;
}
// Append the bytes of a file from `offset` on, at most so many, to another file as UTF-8.
// `high`: for each byte from 128 on its UTF-8, with the number of its bytes in the highest
// one; 0 if it is no character. How many were taken; -1 for a byte that is no character,
// if the system refuses, and where memory is out.
API i64 transcode(int from, u64 offset, u64 most, const u32 *high, int to) {
    u8 *text = malloc(4 * PIECE + 8), *out = text + PIECE, *end;
    i64 taken = 0, got = text ? 1 : -1;
    while (got > 0 && (u64)taken < most) {
        u64 left = most - (u64)taken;
        got = read_at(from, text, left < PIECE ? left : PIECE, offset + (u64)taken);
        if (got <= 0) break;
        end = encode(text, (u64)got, high, out);
        if (!end || !write_all(to, out, (u64)(end - out))) got = -1;
        else taken += got;
    }
    free(text);
    return got < 0 ? -1 : taken;
}
