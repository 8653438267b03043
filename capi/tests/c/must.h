/* What the C tests share. */
#include <stdio.h>
#include <stdlib.h>
#include <tinyhost.h>

#define MUST(what)                                                                      \
    do {                                                                                \
        if (what) break;                                                                \
        fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #what, th_last_error()); \
        exit(1);                                                                        \
    } while (0)

static inline th_program *load(const char *path) {
    static uint8_t wasm[1 << 20];
    FILE *file = fopen(path, "rb");
    MUST(file);
    size_t len = fread(wasm, 1, sizeof wasm, file);
    fclose(file);
    MUST(len < sizeof wasm);
    th_program *program = th_program_new(wasm, len);
    MUST(program);
    return program;
}

/* Prints all there is to be read now. */
static inline void print_all(th_reader *out) {
    uint8_t text[256];
    size_t got;
    while (th_reader_read(out, text, sizeof text, &got) == TH_OK) fwrite(text, 1, got, stdout);
}
