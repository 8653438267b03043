/* What C may call from inside a call: what the call around it uses is refused with TH_USAGE and
 * stays as it is, all the rest works.
 *
 *     reenters cat.wasm dial.wasm promptreply.wasm
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "must.h"

static th_program *cat, *dial, *promptreply;

static void wake_nothing(void *data) { (void)data; }

/* What C knows of one situation. On the heap, so that valgrind sees who comes too late. */
typedef struct app app;
struct app {
    th_node *node;
    th_guest *guest, *other;
    th_builder *builder;
    void (*in_read)(app *), (*in_write)(app *), (*in_release)(app *);
    int reads, writes, releases;
};

/* All that uses a guest is refused. */
static void refused(th_guest *guest) {
    uint64_t after;
    MUST(th_guest_step(guest, 1000) == TH_USAGE && strstr(th_last_error(), "in use"));
    MUST(th_guest_wait(guest) == TH_USAGE && th_guest_arm(guest, wake_nothing, NULL, &after) == TH_USAGE);
    MUST(th_guest_free(guest) == TH_USAGE);
    MUST(th_guest_status(guest) == 0 && !th_guest_trap(guest));
    (void)th_guest_fuel_used(guest);
}

static uint16_t read_app(void *data, uint64_t offset, uint8_t *bytes, size_t len, size_t *got) {
    app *self = data;
    self->reads++;
    if (self->in_read) self->in_read(self);
    *got = offset < 5 && len >= 5 ? 5 : 0;
    if (*got) memcpy(bytes, "data\n", 5);
    return 0;
}

static uint16_t write_app(void *data, uint64_t offset, const uint8_t *bytes, size_t len, size_t *put) {
    (void)offset, (void)bytes;
    app *self = data;
    self->writes++;
    if (self->in_write) self->in_write(self);
    *put = len;
    return 0;
}

static void release_app(void *data) {
    app *self = data;
    self->releases++;
    if (self->in_release) self->in_release(self);
}

static const th_file_ops ops = {read_app, write_app, release_app};

static app *fresh(void) {
    app *self = calloc(1, sizeof *self);
    MUST(self);
    MUST((self->node = th_node_file(&ops, self)));
    return self;
}

/* A guest that is given the file as /n, and its output if that is wanted. */
static th_guest *spawn(const th_program *program, app *self, th_reader **out) {
    th_builder *builder = th_builder_new();
    MUST(!th_builder_arg(builder, "guest") && !th_builder_arg(builder, "/n"));
    if (program == dial) MUST(!th_builder_arg(builder, "hi"));
    MUST(!th_builder_mount(builder, "/n", self->node));
    if (out) MUST(!th_builder_stdout(builder, 64, out));
    th_guest *guest = th_guest_new(program, builder);
    MUST(guest);
    return guest;
}

static void refuse_guest(app *self) { refused(self->guest); }

/* Whatever was tried meanwhile, the guest comes to its end. */
static void from_a_read_or_write(const th_program *program, bool in_write) {
    app *self = fresh();
    if (in_write) self->in_write = refuse_guest;
    else self->in_read = refuse_guest;
    th_reader *out;
    self->guest = spawn(program, self, &out);
    MUST(th_guest_step(self->guest, 100000000) == TH_EXITED && th_guest_status(self->guest) == 0);
    MUST(in_write ? self->writes > 0 : self->reads > 0);
    print_all(out);
    MUST(!th_guest_free(self->guest) && !th_reader_free(out) && !th_node_free(self->node));
    MUST(self->releases == 1);
    free(self);
}

/* The node goes in a read of its file, which stays until the guest has closed it. */
static void free_node(app *self) {
    if (!self->node) return;
    MUST(!th_node_free(self->node));
    self->node = NULL;
    MUST(self->releases == 0);
}

static void from_a_release_in_a_step(void) {
    app *self = fresh();
    self->in_read = free_node;
    self->in_release = refuse_guest;
    self->guest = spawn(cat, self, NULL);
    MUST(th_guest_step(self->guest, 100000000) == TH_EXITED);
    MUST(self->releases == 1 && !th_guest_free(self->guest));
    free(self);
}

/* A guest that has not ended, and that has the last of the node. */
static void from_a_release_in_a_free(void) {
    app *self = fresh();
    self->in_release = refuse_guest;
    self->guest = spawn(cat, self, NULL);
    MUST(!th_node_free(self->node) && self->releases == 0);
    MUST(!th_guest_free(self->guest) && self->releases == 1);
    free(self);
}

static void refuse_node(app *self) {
    th_builder *builder = th_builder_new();
    MUST(th_builder_mount(builder, "/n", self->node) == TH_USAGE);
    MUST(th_node_wake(self->node) == TH_USAGE && th_node_free(self->node) == TH_USAGE);
    MUST(th_node_put(self->node, "", (const uint8_t *)"x", 1) == TH_USAGE);
    th_builder_free(builder);
}

static void from_the_release_of_a_node(void) {
    app *self = fresh();
    self->in_release = refuse_node;
    MUST(!th_node_free(self->node) && self->releases == 1);
    free(self);
}

static void refuse_builder(app *self) {
    th_reader *out = NULL;
    th_writer *feed = NULL;
    th_builder *builder = self->builder;
    MUST(th_builder_arg(builder, "a") == TH_USAGE && th_builder_env(builder, "a", "b") == TH_USAGE);
    MUST(th_builder_memory(builder, 1) == TH_USAGE && th_builder_fuel(builder, 1) == TH_USAGE);
    MUST(th_builder_fds(builder, 1) == TH_USAGE && th_builder_seed(builder, 1) == TH_USAGE);
    MUST(th_builder_stdin(builder, 1, &feed) == TH_USAGE && !feed);
    MUST(th_builder_stdout(builder, 1, &out) == TH_USAGE && th_builder_stderr(builder, 1, &out) == TH_USAGE);
    th_node *tree = th_node_memory(0);
    MUST(th_builder_mount(builder, "/x", tree) == TH_USAGE && !out);
    MUST(!th_guest_new(cat, builder) && th_builder_free(builder) == TH_USAGE);
    th_node_free(tree);
}

static void of_a_builder(void) {
    app *self = fresh();
    self->in_release = refuse_builder;
    self->builder = th_builder_new();
    MUST(!th_builder_mount(self->builder, "/n", self->node) && !th_node_free(self->node));
    MUST(!th_builder_free(self->builder) && self->releases == 1);
    free(self);
}

/* Opens "n" in its first directory and reads it, in its start section:
 *   (start $start)
 *   (func $start
 *     (drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)
 *       (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
 *     (drop (call $fd_read (i32.load (i32.const 16)) (i32.const 8) (i32.const 1) (i32.const 20)))) */
static const uint8_t reads_at_its_start[] = {
    0, 97, 115, 109, 1, 0, 0, 0, 1, 25, 3, 96, 9, 127, 127, 127,
    127, 127, 126, 126, 127, 127, 1, 127, 96, 4, 127, 127, 127, 127, 1, 127,
    96, 0, 0, 2, 69, 2, 22, 119, 97, 115, 105, 95, 115, 110, 97, 112,
    115, 104, 111, 116, 95, 112, 114, 101, 118, 105, 101, 119, 49, 9, 112, 97,
    116, 104, 95, 111, 112, 101, 110, 0, 0, 22, 119, 97, 115, 105, 95, 115,
    110, 97, 112, 115, 104, 111, 116, 95, 112, 114, 101, 118, 105, 101, 119, 49,
    7, 102, 100, 95, 114, 101, 97, 100, 0, 1, 3, 3, 2, 2, 2, 5,
    3, 1, 0, 1, 7, 19, 2, 6, 109, 101, 109, 111, 114, 121, 2, 0,
    6, 95, 115, 116, 97, 114, 116, 0, 3, 8, 1, 2, 10, 42, 2, 37,
    0, 65, 3, 65, 0, 65, 0, 65, 1, 65, 0, 66, 2, 66, 0, 65,
    0, 65, 16, 16, 0, 26, 65, 16, 40, 2, 0, 65, 8, 65, 1, 65,
    20, 16, 1, 26, 11, 2, 0, 11, 11, 20, 2, 0, 65, 0, 11, 1,
    110, 0, 65, 8, 11, 8, 64, 0, 0, 0, 8, 0, 0, 0,
};

static th_program *starting;

static void in_a_start_section(app *self) {
    refuse_guest(self);
    if (starting) MUST(!th_program_free(starting));
    starting = NULL;
}

static void from_a_start_section(void) {
    app *self = fresh();
    self->in_read = in_a_start_section;
    starting = th_program_new(reads_at_its_start, sizeof reads_at_its_start);
    MUST(starting);
    self->builder = th_builder_new();
    MUST(!th_builder_mount(self->builder, "/n", self->node));
    th_guest *guest = th_guest_new(starting, self->builder);
    /* A start section runs in the first steps, not before. */
    MUST(guest && self->reads == 0);
    self->guest = guest;
    int step;
    while ((step = th_guest_step(guest, 1000)) == TH_YIELDED) {
    }
    MUST(step == TH_EXITED && self->reads > 0 && th_guest_fuel_used(guest) > 0);
    MUST(!th_guest_free(guest));
    MUST(!th_node_free(self->node));
    free(self);
}

/* A file may run another guest; only the one around it is in use. */
static void run_another(app *self) {
    MUST(th_guest_step(self->other, 100000000) == TH_EXITED);
    MUST(!th_guest_free(self->other));
    self->in_read = refuse_guest;
}

static void of_another_guest(void) {
    app *self = fresh(), *inner = fresh();
    th_reader *out;
    self->in_read = run_another;
    inner->in_read = refuse_guest;
    self->other = spawn(cat, inner, &out);
    self->guest = inner->guest = spawn(cat, self, NULL);
    MUST(th_guest_step(self->guest, 100000000) == TH_EXITED);
    MUST(inner->reads > 0 && !th_guest_free(self->guest));
    print_all(out);
    th_reader_free(out);
    th_node_free(inner->node), th_node_free(self->node);
    free(inner), free(self);
}

/* A wake runs in the call that causes it, whose pipe is in use. It may use no guest at all. */
static th_writer *feed;
static th_guest *woken, *other;
static int wakes;

static void wake_refused(void *data) {
    (void)data;
    size_t n = 7;
    uint64_t after;
    th_guest *guests[] = {woken, other};
    MUST(th_writer_write(feed, (const uint8_t *)"y", 1, &n) == TH_USAGE && n == 0);
    MUST(th_writer_free(feed) == TH_USAGE);
    for (int i = 0; i < 2; i++) {
        MUST(th_guest_step(guests[i], 1) == TH_USAGE && strstr(th_last_error(), "wake"));
        MUST(th_guest_wait(guests[i]) == TH_USAGE && th_guest_free(guests[i]) == TH_USAGE);
        MUST(th_guest_arm(guests[i], wake_nothing, NULL, &after) == TH_USAGE);
    }
    wakes++;
}

static void from_a_wake(bool by_free) {
    app *self = fresh();
    other = spawn(cat, self, NULL);
    th_builder *builder = th_builder_new();
    MUST(!th_builder_stdin(builder, 64, &feed));
    woken = th_guest_new(promptreply, builder);
    uint64_t after;
    size_t n;
    wakes = 0;
    MUST(woken && th_guest_step(woken, 100000000) == TH_PARKED);
    MUST(!th_guest_arm(woken, wake_refused, NULL, &after));
    if (by_free) MUST(!th_writer_free(feed) && wakes == 1);
    else MUST(!th_writer_write(feed, (const uint8_t *)"x\n", 2, &n) && n == 2 && wakes == 1);
    MUST(th_guest_step(woken, 100000000) == TH_EXITED);
    if (!by_free) MUST(!th_writer_free(feed));
    MUST(!th_guest_free(woken) && !th_guest_free(other) && !th_node_free(self->node));
    free(self);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    cat = load(argv[1]), dial = load(argv[2]), promptreply = load(argv[3]);
    from_a_read_or_write(cat, false);
    from_a_read_or_write(dial, true);
    printf("the guest, from a read, a write\n");
    from_a_release_in_a_step();
    from_a_release_in_a_free();
    printf("a release\n");
    from_the_release_of_a_node();
    printf("the node\n");
    of_a_builder();
    from_a_start_section();
    printf("the builder, from a release; the guest, from a start section\n");
    of_another_guest();
    printf("not another guest\n");
    from_a_wake(false);
    from_a_wake(true);
    printf("a pipe and every guest, from a wake\n");
    th_program_free(cat), th_program_free(dial), th_program_free(promptreply);
    return 0;
}
