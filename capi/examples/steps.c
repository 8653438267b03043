/* Spawns a guest, feeds its stdin, steps it in a loop with a fuel budget, reads its stdout.
 *
 *     cc steps.c -ltinyhost && ./a.out promptreply.wasm spin.wasm
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinyhost.h>

static void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, th_last_error());
    exit(1);
}

static th_program *load(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    fseek(file, 0, SEEK_END);
    size_t len = (size_t)ftell(file);
    rewind(file);
    uint8_t *wasm = malloc(len);
    if (!wasm || fread(wasm, 1, len, file) != len) exit(1);
    fclose(file);
    th_program *program = th_program_new(wasm, len);
    free(wasm);
    if (!program) die(path);
    return program;
}

static void on_wake(void *data) { ++*(int *)data; }

/* Prints all there is to be read now. */
static void drain(th_reader *out) {
    uint8_t text[64];
    size_t got;
    while (th_reader_read(out, text, sizeof text, &got) == TH_OK) fwrite(text, 1, got, stdout);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    th_program *reply = load(argv[1]);

    th_writer *feed;
    th_reader *out;
    th_builder *builder = th_builder_new();
    if (th_builder_arg(builder, "promptreply") || th_builder_memory(builder, 16 << 20) ||
        th_builder_seed(builder, 7) || th_builder_stdin(builder, 64, &feed) ||
        th_builder_stdout(builder, 4096, &out))
        die("builder");
    th_guest *guest = th_guest_new(reply, builder); /* takes the builder */
    if (!guest) die("guest");

    /* A frame loop: so much fuel each frame, whatever the guest is doing. */
    int step = TH_YIELDED, wakes = 0;
    for (int frame = 0; step == TH_YIELDED || step == TH_PARKED; frame++) {
        step = th_guest_step(guest, 10000);
        drain(out);
        if (step == TH_PARKED && wakes == 0) {
            uint64_t after;
            if (th_guest_arm(guest, on_wake, &wakes, &after) || after != UINT64_MAX) die("arm");
            printf("it waits for a line\n");
            size_t put;
            if (th_writer_write(feed, (const uint8_t *)"  from C \n", 10, &put)) die("write");
            if (wakes != 1 || put != 10) return 1;
        }
        if (frame > 1000) return 1;
    }
    if (step != TH_EXITED) die("step");
    printf("it exited with %u\n", (unsigned)th_guest_status(guest));
    th_writer_free(feed);
    th_reader_free(out);
    th_guest_free(guest);
    th_program_free(reply);

    /* One that never ends, with a limit. */
    th_program *spin = load(argv[2]);
    builder = th_builder_new();
    th_builder_fuel(builder, 500000);
    guest = th_guest_new(spin, builder);
    while ((step = th_guest_step(guest, 100000)) == TH_YIELDED) printf("it goes on\n");
    if (step != TH_TRAPPED) die("step");
    printf("it was ended: %s\n", th_guest_trap(guest));
    th_guest_free(guest);
    th_program_free(spin);

    /* What is wrong is said, and nothing breaks. */
    if (th_program_new((const uint8_t *)"#!/bin/sh", 9)) return 1;
    printf("no program: %.30s...\n", th_last_error());
    if (th_guest_step(NULL, 1) != TH_USAGE || th_guest_new(NULL, th_builder_new())) return 1;
    printf("no guest: %s\n", th_last_error());
    th_guest_free(NULL);
    return 0;
}
