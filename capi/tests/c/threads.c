/* One call at a time: while a thread is inside one, all that another tries with the same object
 * is refused, and nothing is lost by it.
 *
 *     threads cat.wasm
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "must.h"

/* A read that stays inside until it is let out. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool entered, leave;
    th_guest *guest;
} door;

static uint16_t read_slowly(void *data, uint64_t offset, uint8_t *bytes, size_t len, size_t *got) {
    door *self = data;
    pthread_mutex_lock(&self->lock);
    self->entered = true;
    pthread_cond_broadcast(&self->changed);
    while (!self->leave) pthread_cond_wait(&self->changed, &self->lock);
    pthread_mutex_unlock(&self->lock);
    *got = offset < 5 && len >= 5 ? 5 : 0;
    if (*got) memcpy(bytes, "data\n", 5);
    return 0;
}

static void *step_it(void *data) {
    door *self = data;
    MUST(th_guest_step(self->guest, 100000000) == TH_EXITED);
    return NULL;
}

static void wake_nothing(void *data) { (void)data; }

static void a_guest_that_is_being_stepped(const th_program *cat) {
    door self = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false, NULL};
    const th_file_ops ops = {read_slowly, NULL, NULL};
    th_node *node = th_node_file(&ops, &self);
    th_builder *builder = th_builder_new();
    th_reader *out;
    MUST(!th_builder_arg(builder, "cat") && !th_builder_arg(builder, "/n"));
    MUST(!th_builder_mount(builder, "/n", node) && !th_builder_stdout(builder, 64, &out));
    MUST((self.guest = th_guest_new(cat, builder)));
    pthread_t thread;
    MUST(!pthread_create(&thread, NULL, step_it, &self));
    pthread_mutex_lock(&self.lock);
    while (!self.entered) pthread_cond_wait(&self.changed, &self.lock);
    pthread_mutex_unlock(&self.lock);

    uint64_t after;
    MUST(th_guest_step(self.guest, 1) == TH_USAGE && th_guest_wait(self.guest) == TH_USAGE);
    MUST(th_guest_arm(self.guest, wake_nothing, NULL, &after) == TH_USAGE);
    MUST(th_guest_free(self.guest) == TH_USAGE);
    MUST(th_guest_status(self.guest) == 0 && !th_guest_trap(self.guest));

    pthread_mutex_lock(&self.lock);
    self.leave = true;
    pthread_cond_broadcast(&self.changed);
    pthread_mutex_unlock(&self.lock);
    pthread_join(thread, NULL);
    print_all(out);
    MUST(!th_guest_free(self.guest) && !th_reader_free(out) && !th_node_free(node));
}

/* Two threads at one pipe's end: each byte is taken once, or the call is refused. */
enum { THREADS = 4, BYTES = 20000 };

typedef struct {
    th_writer *feed;
    size_t taken;
} load_of;

static void *write_much(void *data) {
    load_of *self = data;
    uint8_t bytes[64] = {0};
    size_t n;
    while (self->taken < BYTES) {
        size_t left = BYTES - self->taken;
        int status = th_writer_write(self->feed, bytes, left < 64 ? left : 64, &n);
        MUST(status == TH_OK || status == TH_USAGE);
        if (status == TH_OK) self->taken += n;
    }
    return NULL;
}

static void an_end_of_a_pipe(const th_program *cat) {
    th_builder *builder = th_builder_new();
    th_writer *feed;
    th_reader *out;
    MUST(!th_builder_arg(builder, "cat"));
    MUST(!th_builder_stdin(builder, THREADS * BYTES, &feed));
    MUST(!th_builder_stdout(builder, THREADS * BYTES, &out));
    th_guest *guest = th_guest_new(cat, builder);
    MUST(guest);
    pthread_t threads[THREADS];
    load_of loads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        loads[i] = (load_of){feed, 0};
        MUST(!pthread_create(&threads[i], NULL, write_much, &loads[i]));
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    MUST(!th_writer_free(feed));
    int step;
    while ((step = th_guest_step(guest, 100000000)) == TH_YIELDED) {}
    MUST(step == TH_EXITED);
    size_t sum = 0, n;
    uint8_t bytes[4096];
    while (th_reader_read(out, bytes, sizeof bytes, &n) == TH_OK) sum += n;
    MUST(sum == THREADS * BYTES);
    MUST(!th_guest_free(guest) && !th_reader_free(out));
}

/* At a thread's end destructors of C may still call, when the words of its errors are gone. */
static void *at_its_end(void *data) {
    pthread_setspecific(*(pthread_key_t *)data, data);
    MUST(th_guest_step(NULL, 1) == TH_USAGE && th_last_error()[0]);
    return NULL;
}

static void call_late(void *data) {
    (void)data;
    MUST(th_guest_step(NULL, 1) == TH_USAGE);
    (void)strlen(th_last_error());
}

static void a_thread_that_ends(void) {
    pthread_key_t key;
    pthread_t thread;
    MUST(!pthread_key_create(&key, call_late));
    MUST(!pthread_create(&thread, NULL, at_its_end, &key));
    pthread_join(thread, NULL);
    pthread_key_delete(key);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    th_program *cat = load(argv[1]);
    a_guest_that_is_being_stepped(cat);
    printf("a guest that is being stepped\n");
    an_end_of_a_pipe(cat);
    printf("an end of a pipe\n");
    a_thread_that_ends();
    printf("a thread that ends\n");
    th_program_free(cat);
    return 0;
}
