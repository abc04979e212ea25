// Reads many texts with a kernel that is loaded already, for tests that call it more
// often than Python can: `kernel_batch.py` declares the same. A text is read in blocks
// that end at borders; each block is as small as it may be, so that a sanitizer sees
// its ends.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef int64_t i64;
typedef uint64_t u64;
#define FACTS 11
#define API __attribute__((visibility("default")))

// The functions of a kernel.
typedef struct {
    void *(*side_new)(const void *);
    void (*side_free)(void *);
    i64 (*feed)(void *, u8 *, u64, int);
    void (*side_facts)(const void *, u64 *);
    void (*side_ends)(const void *, u64 *);
    const u32 *(*side_sample)(const void *);
    void (*digests)(const void *, u64 *);
    u64 slack;
} calls;

// 1: all of a text was taken; 0: it was refused; 2: it ended within a record, which a
// kernel has to refuse. -1: memory is out.
static int fed(const calls *kernel, void *side, const u8 *text, u64 size, const u64 *borders, u64 count) {
    u64 start = 0;
    for (u64 turn = 0; turn < count + 2; turn++) {
        u64 stop = turn < count ? borders[turn] : size, n = stop - start;
        u8 *block = malloc(n + kernel->slack);
        if (!block) return -1;
        memcpy(block, text + start, n);
        i64 taken = kernel->feed(side, block, n, turn == count + 1);
        free(block);
        if (taken < 0) return 0;
        start += (u64)taken;
    }
    return start == size ? 1 : 2;
}

// Texts of one size behind the same pad, each in two blocks. Of each: what `fed` returns,
// its facts, and the ends of its rows, a bit for each byte from the end of the
// pad on. `words`: three for each row of the accepted ones. How many rows these have; -1
// where memory is out.
API i64 read_texts(const calls *kernel, const void *settings, const u8 *pad, u64 pad_size,
                   const u8 *texts, u64 size, u64 count, const u8 *cuts, u8 *accepted,
                   u64 *facts, u32 *ends, u64 *words) {
    u64 total = pad_size + size, all = 0, *places = malloc(8 * (total + 2));
    u8 *text = malloc(total + 1);
    if (!places || !text) return free(places), free(text), -1;
    memcpy(text, pad, pad_size);
    for (u64 i = 0; i < count; i++, facts += FACTS) {
        memcpy(text + pad_size, texts + i * size, size);
        void *side = kernel->side_new(settings);
        if (!side) return free(places), free(text), -1;
        u64 border = pad_size + cuts[i];
        int taken = fed(kernel, side, text, total, &border, 1);
        accepted[i] = (u8)taken, ends[i] = 0;
        kernel->side_facts(side, facts);
        if (taken == 1) {
            kernel->side_ends(side, places);
            for (u64 row = 0; row < facts[0]; row++)
                if (places[row] >= pad_size) ends[i] |= 1u << (places[row] - pad_size);
            kernel->digests(side, words + 3 * all);
            all += facts[0];
        }
        kernel->side_free(side);
        if (taken < 0) return free(places), free(text), -1;
    }
    return free(places), free(text), (i64)all;
}

// How one text is read; `borders`: `count` of them, ascending.
typedef struct {
    const calls *kernel;
    const void *settings;
    const u64 *borders;
    u64 count;
} reading;

// What was read of a text: what `fed` returns, the facts, the ends of rows, the digests, the
// sample, in so many bytes of `out`, which has room for all rows that there may be.
static i64 read_one(const reading *how, const u8 *text, u64 size, u8 *out) {
    void *side = how->kernel->side_new(how->settings);
    if (!side) return -1;
    int taken = fed(how->kernel, side, text, size, how->borders, how->count);
    u64 facts[FACTS], *to = (u64 *)(void *)out, at = 1;
    to[0] = (u64)taken;
    if (taken == 1) {
        how->kernel->side_facts(side, facts);
        u64 rows = facts[0], sampled = facts[9];
        memcpy(to + at, facts, sizeof facts), at += FACTS;
        how->kernel->side_ends(side, to + at), at += rows;
        how->kernel->digests(side, to + at), at += 3 * rows;
        const u32 *sample = how->kernel->side_sample(side);
        for (u64 i = 0; i < sampled; i++) to[at++] = sample[i];
    }
    how->kernel->side_free(side);
    return taken < 0 ? -1 : (i64)(8 * at);
}

// Reads a text in several ways. What the first one finds is in `out`, the length of it in
// `found`. The number of the first way that finds something else; `count` if none does;
// -1 where memory is out.
API i64 read_in_ways(const reading *ways, u64 count, const u8 *text, u64 size, u8 *out,
                     u8 *other, i64 *found) {
    *found = read_one(ways, text, size, out);
    if (*found < 0) return -1;
    for (u64 i = 1; i < count; i++) {
        i64 used = read_one(ways + i, text, size, other);
        if (used < 0) return -1;
        if (used != *found || memcmp(out, other, (u64)used)) return (i64)i;
    }
    return (i64)count;
}
