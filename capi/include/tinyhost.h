/* tinyhost: run WASI programs inside a C program, without a JIT and without blocking.
 *
 * Load a program once. Build guests of it, step them with a budget of fuel, and free them. You
 * own every object you make, until a call that says it takes the object. Freeing NULL does
 * nothing.
 *
 * One call at a time may use a guest, a builder or a pipe's end, from any thread. A second call,
 * from another thread or from a callback inside the first, returns TH_USAGE and changes nothing.
 * That includes freeing: an object in use is not freed. Any number of calls may use programs and
 * nodes at once, and callbacks may free them. The library can't detect the use of a pointer after
 * its object was freed.
 *
 * Calls that can fail return a th_status; th_last_error() then returns the reason in words. NULL
 * where an object is expected is TH_USAGE. No call throws, unwinds or exits.
 *
 * If guests get directories of the host, the program must ignore or handle SIGPIPE and SIGXFSZ:
 * a write to a pipe without a reader, or beyond RLIMIT_FSIZE, raises them, and by default they
 * end the program. th_node_host ignores those that are at their default, once. A program that
 * sets SIG_DFL after that, or runs on a system that th_node_host doesn't name, must do so itself.
 *
 * This file is made from the Rust sources (capi/tests/header.rs). */
#ifndef TINYHOST_H
#define TINYHOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t th_status;
#define TH_OK 0 /* success */
#define TH_AGAIN (-1) /* no data yet, or no room; nothing has changed */
#define TH_USAGE (-2) /* an argument is invalid, or the object is in use; nothing has changed */
#define TH_FAILED (-3) /* see th_last_error */
#define TH_CLOSED (-4) /* the other end is closed */
#define TH_PANIC (-5) /* a bug of tinyhost; the object must only be freed */

/* The result of a step. */
#define TH_EXITED 1 /* it has exited; th_guest_status returns the status */
#define TH_TRAPPED 2 /* it trapped, or the host ended it; th_guest_trap returns the reason */
#define TH_YIELDED 3 /* it has used the fuel of this step, or yielded; step it again */
#define TH_PARKED 4 /* it waits; step it later */

typedef struct th_program th_program; /* a module, checked and compiled */
typedef struct th_builder th_builder; /* builds a guest */
typedef struct th_guest th_guest; /* a running program */
typedef struct th_reader th_reader; /* the reading end of a pipe */
typedef struct th_writer th_writer; /* the writing end of a pipe */
typedef struct th_node th_node; /* something that can be mounted; shared by its mounts */

/* Returns the error message of this thread's last failed call, at most 1023 bytes. The pointer is
 * the same for as long as the thread lives. The next failed call overwrites the message. */
const char *th_last_error(void);
/* Checks and compiles a module. Returns NULL if it is not a WASI preview1 command. The bytes are
 * not kept. */
th_program *th_program_new(const uint8_t *wasm, size_t len);
/* Frees a program. Guests of it are not affected. */
th_status th_program_free(th_program *program);

/* Makes a builder of a guest. What it is given is copied or shared. */
th_builder *th_builder_new(void);
/* Frees a builder that th_guest_new has not taken. */
th_status th_builder_free(th_builder *builder);
/* Adds an argument. The first one is the program's name. */
th_status th_builder_arg(th_builder *builder, const char *arg);
/* Adds an environment variable. A name that is empty or contains '=' is TH_USAGE. */
th_status th_builder_env(th_builder *builder, const char *name, const char *value);
/* Limits the guest's memory, in bytes. */
th_status th_builder_memory(th_builder *builder, size_t bytes_max);
/* Limits the guest's fuel over all steps, about one unit per instruction. */
th_status th_builder_fuel(th_builder *builder, uint64_t fuel_max);
/* Limits the guest's open descriptors. */
th_status th_builder_fds(th_builder *builder, size_t count_max);
/* Makes standard input a pipe with room for `capacity_bytes`, and stores its writing end. */
th_status th_builder_stdin(th_builder *builder, size_t capacity_bytes, th_writer **feed);
/* Makes standard output a pipe with room for `capacity_bytes`, and stores its reading end. */
th_status th_builder_stdout(th_builder *builder, size_t capacity_bytes, th_reader **out);
/* Makes standard error a pipe with room for `capacity_bytes`, and stores its reading end. */
th_status th_builder_stderr(th_builder *builder, size_t capacity_bytes, th_reader **out);
/* Makes the guest's random bytes repeatable: the same seed yields the same bytes. Not for secrets. */
th_status th_builder_seed(th_builder *builder, uint64_t seed);
/* Mounts a node at a path. The node stays the caller's. */
th_status th_builder_mount(th_builder *builder, const char *path, const th_node *node);

/* Makes a guest. Takes the builder, also on failure, unless another call uses the builder. The
 * module's start section runs here, and may call the guest's files. */
th_guest *th_guest_new(const th_program *program, th_builder *builder);
/* Frees a guest in any state, which cancels it. While another call uses the guest, and from
 * inside a wake, this returns TH_USAGE and the guest is not freed. */
th_status th_guest_free(th_guest *guest);
/* Runs the guest until it ends, waits, or has used `fuel` (about one unit per instruction).
 * Returns TH_EXITED, TH_TRAPPED, TH_YIELDED or TH_PARKED. */
th_status th_guest_step(th_guest *guest, uint64_t fuel);
/* Blocks until the parked guest may be able to run, and disarms it. The wake may be spurious.
 * Returns at once if the guest doesn't wait. */
th_status th_guest_wait(th_guest *guest);
/* Arms a parked guest: `wake` is called, at most once and from any thread, when an event in this
 * process lets the guest run. Step the guest after `after_ns` nanoseconds even without a wake
 * (UINT64_MAX: never; 0: step it now). `wake` should only notify your loop. Inside it,
 * th_guest_step, th_guest_wait, th_guest_arm and th_guest_free return TH_USAGE for every guest.
 *
 * The next th_guest_step, th_guest_wait, th_guest_arm or th_guest_free of this guest disarms it:
 * once that has returned, `wake` does not run and will not be called, and you may free `data`.
 * Each of them waits for a `wake` that runs on another thread, so don't hold a lock that `wake`
 * takes. A call that returns TH_USAGE disarms nothing. */
th_status th_guest_arm(th_guest *guest, void (*wake)(void *data), void *data, uint64_t *after_ns);
/* Returns the exit status of the guest, or 0 before it has exited. This and the two functions
 * below can be called at any time and from any thread. */
uint32_t th_guest_status(const th_guest *guest);
/* Returns the fuel used up to the end of the last step. */
uint64_t th_guest_fuel_used(const th_guest *guest);
/* Returns why the guest was ended, or NULL. The string lives as long as the guest. */
const char *th_guest_trap(const th_guest *guest);

/* Writes up to `len` bytes, and stores how many were taken. TH_AGAIN if the pipe is full,
 * TH_CLOSED if the reading end is closed. */
th_status th_writer_write(th_writer *writer, const uint8_t *start, size_t len, size_t *written);
/* Closes the pipe, which ends the guest's input. */
th_status th_writer_free(th_writer *writer);
/* Reads up to `len` bytes, and stores how many. TH_AGAIN if the pipe is empty, TH_CLOSED at the
 * end. */
th_status th_reader_read(th_reader *reader, uint8_t *start, size_t len, size_t *got);
/* Closes the pipe. The guest's further writes fail with EPIPE. */
th_status th_reader_free(th_reader *reader);

/* A file of your own. A callback returns 0 or a WASI errno (6 is EAGAIN: the guest waits until
 * th_node_wake). Another value, a count beyond `len`, and a write of 0 bytes without an error
 * are EIO for the guest. `offset` is the number of bytes read, or written, through this opening
 * before. A NULL callback is a direction that the file doesn't have: the guest gets EBADF. A
 * guest's write that blocks is whole: what `write` has not taken is offered again. Callbacks run
 * on any thread that steps a guest with the node, and must not unwind. `release` is called once,
 * after the node and every open file of it were closed.
 *
 * Callbacks may use this library, except for the object that the call around them uses: the guest
 * in its step, the builder in th_guest_new (which runs the start section), the object being freed.
 * Any callback may free the node.
 *
 * For a guest that polls, the file is ready to be read, or to be written, unless the last such
 * callback through this opening returned EAGAIN and th_node_wake was not called since. A read or
 * write after a poll may therefore still return EAGAIN. */
typedef struct th_file_ops {
    uint16_t (*read)(void *data, uint64_t offset, uint8_t *bytes, size_t len, size_t *got);
    uint16_t (*write)(void *data, uint64_t offset, const uint8_t *bytes, size_t len, size_t *put);
    void (*release)(void *data);
} th_file_ops;

/* Makes a tree in memory. `quota_bytes` 0 is unlimited. */
th_node *th_node_memory(uint64_t quota_bytes);
/* Opens a directory of the host. Returns NULL on failure, and if the library was built without
 * host directories.
 *
 * On Linux and Apple's systems the first directory that a process opens sets SIGPIPE and SIGXFSZ
 * to SIG_IGN, if they are at SIG_DFL: a guest's writes could raise them and end the program. The
 * whole program then gets EPIPE and EFBIG instead, and so do programs it executes. To change
 * that, install handlers before, or set the signals afterwards. */
th_node *th_node_host(const char *path, bool read_only);
/* Makes a /dev directory with null, zero, random, stdin and so on. */
th_node *th_node_devices(void);
/* Writes a whole file in a tree, and makes the directories on the way. */
th_status th_node_put(const th_node *node, const char *path, const uint8_t *start, size_t len);
/* Makes a file of your own. The callbacks are copied. */
th_node *th_node_file(const th_file_ops *ops, void *data);
/* Wakes every guest that waits for this file. Can be called from any thread. */
th_status th_node_wake(const th_node *node);
/* Frees a node. Where it is mounted, it stays. */
th_status th_node_free(th_node *node);

#ifdef __cplusplus
}
#endif
#endif
