// Reads inputs as `emulate_native.py` writes them and prints what the kernel finds in
// each: for machines on which no Python runs. Each buffer is as small as it may be.
#include "../recon_engine/inputs/native/kernel.c"
#include <stdio.h>

static u32 next(FILE *from) {
    u32 value = 0;
    if (fread(&value, 4, 1, from) != 1) exit(0);
    return value;
}
int main(int count, char **arguments) {
    FILE *from = count == 2 ? fopen(arguments[1], "rb") : 0;
    u8 *random = malloc(random_size());
    if (!from || !random) return 2;
    for (u64 i = 0; i < random_size(); i++) random[i] = (u8)(i * i >> 3 ^ i);
    for (;;) {
        u32 words[8], keys[8], order[8];
        for (int i = 0; i < 8; i++) words[i] = next(from);
        for (u32 i = 0; i < words[2]; i++) keys[i] = next(from);
        for (u32 i = 0; i < words[3]; i++) order[i] = next(from);
        settings given = {.delimiter = words[0], .separator = ',', .width = words[1],
                          .key_count = words[2], .order_count = words[3],
                          .field_bytes = words[4], .field_lines = words[5], .bits = 3,
                          .isa = -1, .sample_every = 2, .keys = keys, .order = order,
                          .random = random};
        side *s = side_new(&given);
        u64 size = words[6], border = words[7], start = 0;
        u8 *data = malloc(size + 1);
        if (!s || !data || fread(data, 1, size, from) != size) return 2;
        for (int turn = 0; turn < 3; turn++) {
            u64 stop = turn ? size : border, n = stop - start;
            u8 *buffer = malloc(n + SLACK);
            memcpy(buffer, data + start, n);
            i64 taken = feed(s, buffer, n, turn == 2);
            free(buffer);
            if (taken < 0) break;
            start += (u64)taken;
        }
        facts found;
        side_facts(s, &found);
        printf("%d %llu %llu %llu %llu %llu\n", s->status, (unsigned long long)found.rows,
               (unsigned long long)found.end, (unsigned long long)found.embedded,
               (unsigned long long)found.crlf, (unsigned long long)found.sampled);
        u64 *out = calloc(3 * found.rows + 1, 8);
        digests(s, out);
        for (u64 i = 0; i < 3 * found.rows; i++) printf("%llx ", (unsigned long long)out[i]);
        free(out), free(data), side_free(s);
    }
}
