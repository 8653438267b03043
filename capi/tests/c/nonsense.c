/* Arguments that are wrong are refused in words, and callbacks that answer nonsense are an error of
 * the guest's call: nothing crashes, hangs or leaks.
 *
 *     nonsense cat.wasm dial.wasm
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "must.h"

static void wake_nothing(void *data) { (void)data; }

#define REFUSED(what) MUST((what) == TH_USAGE && th_last_error()[0])
#define NOTHING(what) MUST(!(what) && th_last_error()[0])

static void null_objects(void) {
    uint64_t after;
    size_t n;
    uint8_t byte = 0;
    th_writer *feed;
    th_reader *out;
    REFUSED(th_builder_arg(NULL, "a"));
    REFUSED(th_builder_env(NULL, "a", "b"));
    REFUSED(th_builder_memory(NULL, 1));
    REFUSED(th_builder_fuel(NULL, 1));
    REFUSED(th_builder_fds(NULL, 1));
    REFUSED(th_builder_seed(NULL, 1));
    REFUSED(th_builder_stdin(NULL, 1, &feed));
    REFUSED(th_builder_stdout(NULL, 1, &out));
    REFUSED(th_builder_stderr(NULL, 1, &out));
    REFUSED(th_builder_mount(NULL, "/", NULL));
    REFUSED(th_guest_step(NULL, 1));
    REFUSED(th_guest_wait(NULL));
    REFUSED(th_guest_arm(NULL, wake_nothing, NULL, &after));
    REFUSED(th_writer_write(NULL, &byte, 1, &n));
    REFUSED(th_reader_read(NULL, &byte, 1, &n));
    REFUSED(th_node_put(NULL, "a", &byte, 1));
    REFUSED(th_node_wake(NULL));
    NOTHING(th_program_new(NULL, 1));
    NOTHING(th_program_new(NULL, 0));
    NOTHING(th_guest_new(NULL, NULL));
    NOTHING(th_guest_new(NULL, th_builder_new()));
    NOTHING(th_node_host(NULL, true));
    NOTHING(th_node_file(NULL, NULL));
    MUST(!th_guest_status(NULL) && !th_guest_fuel_used(NULL) && !th_guest_trap(NULL));
    MUST(!th_program_free(NULL) && !th_builder_free(NULL) && !th_guest_free(NULL));
    MUST(!th_writer_free(NULL) && !th_reader_free(NULL) && !th_node_free(NULL));
}

static void wrong_arguments(const th_program *cat) {
    th_builder *builder = th_builder_new();
    th_node *tree = th_node_memory(0), *file;
    const th_file_ops nothing = {NULL, NULL, NULL};
    MUST((file = th_node_file(&nothing, NULL)));
    REFUSED(th_builder_arg(builder, NULL));
    REFUSED(th_builder_env(builder, NULL, "b"));
    REFUSED(th_builder_env(builder, "a", NULL));
    REFUSED(th_builder_env(builder, "", "b"));
    REFUSED(th_builder_env(builder, "a=b", "c"));
    REFUSED(th_builder_stdin(builder, 1, NULL));
    REFUSED(th_builder_stdout(builder, 1, NULL));
    REFUSED(th_builder_mount(builder, NULL, tree));
    REFUSED(th_builder_mount(builder, "/a", NULL));
    REFUSED(th_builder_mount(builder, "\xff", tree));
    REFUSED(th_node_put(tree, NULL, (const uint8_t *)"x", 1));
    REFUSED(th_node_put(tree, "x", NULL, 1));
    REFUSED(th_node_put(tree, "x", (const uint8_t *)"x", SIZE_MAX));
    MUST(strstr(th_last_error(), "no buffer has"));
    MUST(th_node_put(file, "", (const uint8_t *)"x", 1) == TH_FAILED);

    th_writer *feed;
    uint64_t after = 7;
    size_t n = 7;
    MUST(!th_builder_stdin(builder, SIZE_MAX, &feed));
    REFUSED(th_writer_write(feed, NULL, 1, &n));
    MUST(n == 0);
    REFUSED(th_writer_write(feed, (const uint8_t *)"x", 1, NULL));
    REFUSED(th_writer_write(feed, (const uint8_t *)"x", SIZE_MAX, &n));
    MUST(!th_writer_write(feed, NULL, 0, &n) && n == 0);
    th_guest *guest = th_guest_new(cat, builder);
    REFUSED(th_guest_arm(guest, NULL, NULL, &after));
    REFUSED(th_guest_arm(guest, wake_nothing, NULL, NULL));
    /* Not parked: there is nothing to wait for. */
    MUST(!th_guest_wait(guest) && !th_guest_arm(guest, wake_nothing, NULL, &after) && after == 0);
    MUST(!th_writer_free(feed) && th_guest_step(guest, 100000000) == TH_EXITED);
    MUST(!th_guest_wait(guest) && !th_guest_arm(guest, wake_nothing, NULL, &after) && after == 0);
    MUST(!th_guest_free(guest) && !th_node_free(tree) && !th_node_free(file));
}

/* The place of the words stays, and what is longer than it is cut. */
static void words(void) {
    const char *place = th_last_error();
    MUST(th_builder_arg(NULL, "a") == TH_USAGE && th_last_error() == place && strlen(place) > 0);
    /* A refusal that tells the path, with a letter of two bytes wherever the end falls. */
    char path[4000] = "/../";
    for (size_t i = 4; i + 2 < sizeof path; i += 2) memcpy(&path[i], "\xc3\xa9", 2);
    th_builder *builder = th_builder_new();
    th_node *tree = th_node_memory(0);
    for (int i = 0; i < 2; i++) {
        REFUSED(th_builder_mount(builder, &path[i], tree));
        size_t len = strlen(place);
        MUST(th_last_error() == place && len > 1000 && len < 1024);
        MUST(!strcmp(&place[len - 5], "\xc3\xa9..."));
    }
    MUST(!th_builder_free(builder) && !th_node_free(tree));
}

/* What a callback answers. */
typedef struct {
    uint16_t errno_;
    size_t beyond; /* how much more than `len` */
    size_t count; /* or this, if not 0 */
} answer;

static uint16_t answer_it(const answer *self, size_t len, size_t *n) {
    *n = self->count ? self->count : len + self->beyond;
    return self->errno_;
}

static uint16_t read_nonsense(void *data, uint64_t offset, uint8_t *bytes, size_t len, size_t *got) {
    (void)offset, (void)bytes;
    return answer_it(data, len, got);
}

static uint16_t write_nonsense(void *data, uint64_t offset, const uint8_t *bytes, size_t len, size_t *put) {
    (void)offset, (void)bytes;
    return answer_it(data, len, put);
}

static uint16_t write_nothing(void *data, uint64_t offset, const uint8_t *bytes, size_t len, size_t *put) {
    (void)data, (void)offset, (void)bytes, (void)len, (void)put;
    return 0;
}

static void fails(const th_program *program, const th_file_ops *ops, answer *data) {
    th_node *node = th_node_file(ops, data);
    th_builder *builder = th_builder_new();
    th_reader *errors;
    MUST(!th_builder_arg(builder, "guest") && !th_builder_arg(builder, "/n"));
    MUST(!th_builder_arg(builder, "hi") && !th_builder_mount(builder, "/n", node));
    MUST(!th_builder_stderr(builder, 4096, &errors));
    th_guest *guest = th_guest_new(program, builder);
    MUST(guest && !th_node_free(node));
    MUST(th_guest_step(guest, 100000000) == TH_EXITED && th_guest_status(guest) == 1);
    uint8_t text[256];
    size_t n;
    MUST(!th_reader_read(errors, text, sizeof text - 1, &n));
    text[n] = 0;
    if (!strstr((const char *)text, "os error 29")) {
        fprintf(stderr, "not EIO: %s\n", text);
        exit(1);
    }
    MUST(!th_guest_free(guest) && !th_reader_free(errors));
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    th_program *cat = load(argv[1]), *dial = load(argv[2]);
    null_objects();
    printf("no object\n");
    wrong_arguments(cat);
    printf("wrong arguments\n");
    words();
    printf("words\n");
    answer answers[] = {{0, 1, 0}, {0, 0, SIZE_MAX}, {65535, 0, 0}, {77, 0, 0}, {1000, 0, 3}};
    const th_file_ops reads = {read_nonsense, NULL, NULL}, writes = {NULL, write_nonsense, NULL};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        fails(cat, &reads, &answers[i]);
        fails(dial, &writes, &answers[i]);
    }
    const th_file_ops nothing = {NULL, write_nothing, NULL};
    fails(dial, &nothing, NULL);
    printf("nonsense from callbacks\n");
    th_program_free(cat), th_program_free(dial);
    return 0;
}
