/* What th_guest_arm promises: `wake` is called at most once, and once the guest was stepped,
 * waited for, armed anew or freed, neither runs nor will be called: `data` may go.
 *
 *     wakes promptreply.wasm cat.wasm
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "must.h"

/* What a wake is given. On the heap, so that valgrind sees who comes too late. */
typedef struct {
    int calls;
} told;

static void count(void *data) { ((told *)data)->calls++; }

static told *fresh(void) {
    told *data = calloc(1, sizeof *data);
    MUST(data);
    return data;
}

static int calls_of(told *data) {
    int calls = data->calls;
    free(data);
    return calls;
}

static told *armed(th_guest *guest) {
    told *data = fresh();
    uint64_t after;
    MUST(th_guest_arm(guest, count, data, &after) == TH_OK);
    return data;
}

/* A guest that waits for a line of its standard input. */
static th_guest *waiting(const th_program *program, th_writer **feed) {
    th_builder *builder = th_builder_new();
    MUST(th_builder_stdin(builder, 64, feed) == TH_OK);
    th_guest *guest = th_guest_new(program, builder);
    MUST(guest && th_guest_step(guest, 100000000) == TH_PARKED);
    return guest;
}

static void feed_byte(th_writer *feed) {
    size_t put;
    MUST(th_writer_write(feed, (const uint8_t *)"x", 1, &put) == TH_OK && put == 1);
}

static void at_most_once(const th_program *program) {
    th_writer *feed;
    th_guest *guest = waiting(program, &feed);
    told *data = armed(guest);
    feed_byte(feed);
    feed_byte(feed);
    th_writer_free(feed);
    MUST(data->calls == 1);
    th_guest_free(guest);
    MUST(calls_of(data) == 1);
    printf("once\n");
}

static void not_when_freed(const th_program *program) {
    th_writer *feed;
    th_guest *guest = waiting(program, &feed);
    told *data = armed(guest);
    th_guest_free(guest);
    MUST(calls_of(data) == 0);
    th_writer_free(feed);
    printf("not when freed\n");
}

static void not_when_stepped(const th_program *program) {
    th_writer *feed;
    th_guest *guest = waiting(program, &feed);
    told *data = armed(guest);
    MUST(th_guest_step(guest, 1000000) == TH_PARKED);
    MUST(calls_of(data) == 0);
    feed_byte(feed);
    th_guest_free(guest);
    th_writer_free(feed);
    printf("not when stepped\n");
}

static void only_the_last_one(const th_program *program) {
    th_writer *feed;
    th_guest *guest = waiting(program, &feed);
    told *first = armed(guest), *second = armed(guest);
    MUST(calls_of(first) == 0);
    /* What is refused changes nothing. */
    MUST(th_guest_arm(guest, NULL, NULL, NULL) == TH_USAGE);
    feed_byte(feed);
    MUST(second->calls == 1);
    th_guest_free(guest);
    MUST(calls_of(second) == 1);
    th_writer_free(feed);
    printf("only the last one\n");
}

static uint16_t nothing(void *data, uint64_t offset, uint8_t *bytes, size_t len, size_t *got) {
    (void)data, (void)offset, (void)bytes, (void)len, (void)got;
    return 6; /* EAGAIN */
}

static void not_by_a_node(const th_program *cat) {
    const th_file_ops ops = {nothing, NULL, NULL};
    th_node *node = th_node_file(&ops, NULL);
    th_builder *builder = th_builder_new();
    MUST(!th_builder_arg(builder, "cat") && !th_builder_arg(builder, "/app/news"));
    MUST(!th_builder_mount(builder, "/app/news", node));
    th_guest *guest = th_guest_new(cat, builder);
    MUST(guest && th_guest_step(guest, 100000000) == TH_PARKED);
    told *first = armed(guest);
    MUST(th_guest_step(guest, 1000000) == TH_PARKED);
    MUST(calls_of(first) == 0);
    told *second = armed(guest);
    MUST(th_node_wake(node) == TH_OK && th_node_wake(node) == TH_OK);
    MUST(second->calls == 1);
    th_guest_free(guest);
    MUST(calls_of(second) == 1);
    MUST(th_node_wake(node) == TH_OK);
    th_node_free(node);
    printf("not by a node\n");
}

/* A wake that takes its time in another thread. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int entered;
    th_writer *feed;
    int *done; /* written at its end, with nothing but the library to order it */
} slow;

static void wake_slowly(void *data) {
    slow *self = data;
    pthread_mutex_lock(&self->lock);
    self->entered = 1;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
    const struct timespec while_ = {0, 100 * 1000 * 1000};
    nanosleep(&while_, NULL);
    *self->done = 1;
}

static void *write_to_it(void *data) {
    feed_byte(((slow *)data)->feed);
    return NULL;
}

enum { FREE, STEP, ARM, WAIT };

static void waits_for_the_other_thread(const th_program *program, int how) {
    slow self = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, NULL, NULL};
    self.done = calloc(1, sizeof *self.done);
    th_guest *guest = waiting(program, &self.feed);
    uint64_t after;
    MUST(th_guest_arm(guest, wake_slowly, &self, &after) == TH_OK && after == UINT64_MAX);
    pthread_t thread;
    MUST(!pthread_create(&thread, NULL, write_to_it, &self));
    pthread_mutex_lock(&self.lock);
    while (!self.entered) pthread_cond_wait(&self.changed, &self.lock);
    pthread_mutex_unlock(&self.lock);
    told *next = fresh();
    if (how == STEP) MUST(th_guest_step(guest, 100000) >= TH_OK);
    if (how == ARM) MUST(th_guest_arm(guest, count, next, &after) == TH_OK);
    if (how == WAIT) MUST(th_guest_wait(guest) == TH_OK);
    if (how == FREE) th_guest_free(guest);
    MUST(*self.done == 1);
    free(self.done);
    pthread_join(thread, NULL);
    if (how != FREE) th_guest_free(guest);
    MUST(calls_of(next) == 0);
    th_writer_free(self.feed);
}

/* What wakes may not do is refused; it never hangs. */
static th_guest *within;

static void call_from_within(void *data) {
    uint64_t after;
    MUST(th_guest_step(within, 1) == TH_USAGE);
    MUST(th_guest_arm(within, count, data, &after) == TH_USAGE);
    MUST(th_guest_wait(within) == TH_USAGE);
    count(data);
}

static void free_from_within(void *data) {
    MUST(th_guest_free(within) == TH_USAGE);
    count(data);
}

static void never_hangs(const th_program *program, void (*wake)(void *)) {
    th_writer *feed;
    within = waiting(program, &feed);
    told *data = fresh();
    uint64_t after;
    MUST(th_guest_arm(within, wake, data, &after) == TH_OK);
    feed_byte(feed);
    MUST(calls_of(data) == 1);
    MUST(th_guest_step(within, 1000) >= TH_OK);
    MUST(th_guest_free(within) == TH_OK);
    th_writer_free(feed);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    th_program *reply = load(argv[1]), *cat = load(argv[2]);
    at_most_once(reply);
    not_when_freed(reply);
    not_when_stepped(reply);
    only_the_last_one(reply);
    not_by_a_node(cat);
    for (int how = FREE; how <= WAIT; how++) waits_for_the_other_thread(reply, how);
    printf("not while another thread is in it\n");
    never_hangs(reply, call_from_within);
    never_hangs(reply, free_from_within);
    printf("not from within\n");
    th_program_free(reply);
    th_program_free(cat);
    return 0;
}
