/* A guest that polls a file of callbacks which have said EAGAIN waits until th_node_wake, and is
 * neither told that it is ready nor has it spin.
 *
 *     polls polls.wasm
 */
#include <stdio.h>
#include <string.h>
#include "must.h"

typedef struct {
    const char *news;
    size_t room;
    int reads, writes; /* calls */
} app;

static uint16_t read_news(void *data, uint64_t offset, uint8_t *bytes, size_t len, size_t *got) {
    app *self = data;
    self->reads++;
    if (!self->news) return 6; /* EAGAIN */
    MUST(offset == 0 && strlen(self->news) <= len);
    memcpy(bytes, self->news, *got = strlen(self->news));
    return 0;
}

static uint16_t write_mail(void *data, uint64_t offset, const uint8_t *bytes, size_t len,
                           size_t *put) {
    app *self = data;
    (void)bytes;
    self->writes++;
    MUST(offset == 0);
    if (!self->room) return 6;
    *put = len < self->room ? len : self->room;
    return 0;
}

static void count(void *data) { ++*(int *)data; }

/* Steps it until it waits, and wakes it once it does. */
static void waits_until_woken(th_guest *guest, const th_node *node) {
    MUST(th_guest_step(guest, 100000000) == TH_PARKED);
    MUST(th_guest_step(guest, 100000000) == TH_PARKED);
    int wakes = 0;
    uint64_t after;
    MUST(th_guest_arm(guest, count, &wakes, &after) == TH_OK && after == UINT64_MAX);
    MUST(th_node_wake(node) == TH_OK && wakes == 1);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    th_program *program = load(argv[1]);
    app self = {NULL, 0, 0, 0};
    const th_file_ops ops = {read_news, write_mail, NULL};
    th_node *node = th_node_file(&ops, &self);
    th_builder *builder = th_builder_new();
    th_reader *out;
    MUST(!th_builder_arg(builder, "polls") && !th_builder_arg(builder, "/app/file"));
    MUST(!th_builder_mount(builder, "/app/file", node));
    MUST(!th_builder_stdout(builder, 4096, &out));
    th_guest *guest = th_guest_new(program, builder);
    MUST(guest);

    waits_until_woken(guest, node);
    MUST(self.reads == 1);
    /* That was for nothing. */
    waits_until_woken(guest, node);
    MUST(self.reads == 2);
    self.news = "something has happened";
    waits_until_woken(guest, node);
    MUST(self.reads == 3 && self.writes == 1);
    self.room = 64;
    MUST(th_guest_step(guest, 100000000) == TH_EXITED);
    MUST(self.reads == 3 && self.writes == 2);
    print_all(out);
    MUST(th_guest_status(guest) == 0);

    th_guest_free(guest);
    th_reader_free(out);
    th_node_free(node);
    th_program_free(program);
    return 0;
}
