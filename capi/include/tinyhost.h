/* tinyhost: run WASI programs inside a C program, without a JIT and without blocking.
 *
 * A program is loaded once; guests of it are built, stepped with a budget of fuel, and freed.
 * Every object belongs to whoever made it until a call says that it takes it. Freeing NULL does
 * nothing.
 *
 * One call at a time uses a guest, a builder or a pipe's end, from any thread. A second one, from
 * another thread or from a callback inside the first, is TH_USAGE and changes nothing. That
 * includes freeing: what is in use is not freed. Programs and nodes may be used by any number
 * of calls at once, and freed from a callback. What the library can't see is a pointer that is
 * used after its object was freed.
 *
 * Calls that can fail answer a th_status; th_last_error() then tells what happened in words.
 * A NULL where an object is expected is TH_USAGE. No call throws, unwinds or exits.
 *
 * The program must ignore SIGPIPE and SIGXFSZ, or handle them, once guests are given directories
 * of the host: a write to a pipe there that nobody reads, or beyond RLIMIT_FSIZE, raises them,
 * and their default is to end the program. th_node_host ignores those at their default, once;
 * a program that sets SIG_DFL after that, or runs on another system than it names, sees to it.
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
#define TH_OK 0 /* done */
#define TH_AGAIN (-1) /* nothing there now, or no room: nothing has changed */
#define TH_USAGE (-2) /* an argument is wrong, or the object is in use: nothing has changed */
#define TH_FAILED (-3) /* see th_last_error */
#define TH_CLOSED (-4) /* the other end is gone */
#define TH_PANIC (-5) /* a bug of tinyhost; the object must only be freed */

/* What a step came to. */
#define TH_EXITED 1 /* by itself; th_guest_status tells with what */
#define TH_TRAPPED 2 /* by the host; th_guest_trap tells why */
#define TH_YIELDED 3 /* its fuel is used up: step it again */
#define TH_PARKED 4 /* it waits: step it later */

typedef struct th_program th_program; /* a module, checked and compiled */
typedef struct th_builder th_builder; /* a guest to be */
typedef struct th_guest th_guest; /* a running program */
typedef struct th_reader th_reader; /* the end of a pipe that bytes come out of */
typedef struct th_writer th_writer; /* the end of a pipe that bytes go into */
typedef struct th_node th_node; /* something that can be mounted; shared by its mounts */

/* What went wrong in this thread's last call that failed. The place is the same for as long as the
 * thread lives; the next call that fails writes over it. At most 1023 bytes. */
const char *th_last_error(void);
/* Checks and compiles a module; NULL if it is no WASI command. The bytes are not kept. */
th_program *th_program_new(const uint8_t *wasm, size_t len);
/* Frees a program. Its guests go on without it. */
th_status th_program_free(th_program *program);

/* A guest to be. Whatever it is given is copied or shared. */
th_builder *th_builder_new(void);
/* Frees a builder that no guest was made of. */
th_status th_builder_free(th_builder *builder);
/* Adds an argument; the first one is the program's name. */
th_status th_builder_arg(th_builder *builder, const char *arg);
/* Adds a variable to the environment. A name that is empty or has a '=' in it is TH_USAGE. */
th_status th_builder_env(th_builder *builder, const char *name, const char *value);
/* Sets the most memory it may have, in bytes. */
th_status th_builder_memory(th_builder *builder, size_t bytes_max);
/* Sets the most fuel it may use in all, about one per instruction. */
th_status th_builder_fuel(th_builder *builder, uint64_t fuel_max);
/* Sets the most descriptors it may have open. */
th_status th_builder_fds(th_builder *builder, size_t count_max);
/* Makes standard input a pipe with room for so many bytes, whose other end is handed out. */
th_status th_builder_stdin(th_builder *builder, size_t capacity_bytes, th_writer **feed);
/* Makes standard output a pipe with room for so many bytes, whose other end is handed out. */
th_status th_builder_stdout(th_builder *builder, size_t capacity_bytes, th_reader **out);
/* Makes standard error a pipe with room for so many bytes, whose other end is handed out. */
th_status th_builder_stderr(th_builder *builder, size_t capacity_bytes, th_reader **out);
/* Has its random bytes be the same for the same seed; not for secrets. */
th_status th_builder_seed(th_builder *builder, uint64_t seed);
/* Mounts a node at a path. The node stays the caller's. */
th_status th_builder_mount(th_builder *builder, const char *path, const th_node *node);

/* Makes the guest, and takes the builder, whatever comes of it, unless another call uses the
 * builder. A start section runs here, and may call the guest's files. */
th_guest *th_guest_new(const th_program *program, th_builder *builder);
/* Frees it, parked, running or ended: this is how a guest is cancelled. While another call
 * uses the guest, and from inside a wake, this is TH_USAGE, and the guest is not freed. */
th_status th_guest_free(th_guest *guest);
/* Runs it until it ends, waits, or has used `fuel` (about one per instruction). */
th_status th_guest_step(th_guest *guest, uint64_t fuel);
/* Blocks until the parked guest may be worth a step. Every wake may be false. What was armed
 * is armed no more. A guest that does not wait is worth a step at once. */
th_status th_guest_wait(th_guest *guest);
/* Has `wake` called, at most once and from any thread, when the parked guest can go on by what
 * happened in this process. `after_ns` is the longest it should be left alone (UINT64_MAX:
 * for ever; 0: step it now). `wake` should only pass the news on. Inside it, th_guest_step,
 * th_guest_wait, th_guest_arm and th_guest_free are TH_USAGE for every guest.
 *
 * The next th_guest_step, th_guest_wait, th_guest_arm or th_guest_free of this guest ends it:
 * when that has returned, `wake` neither runs nor will be called, and `data` may be freed.
 * Each waits for a `wake` that another thread is in: hold no lock then that `wake` takes. A
 * call that is refused ends nothing. */
th_status th_guest_arm(th_guest *guest, void (*wake)(void *data), void *data, uint64_t *after_ns);
/* The status with which it has exited; 0 before. At any time and from any thread, as are the
 * two below. */
uint32_t th_guest_status(const th_guest *guest);
/* Fuel it has used up to the end of its last step. */
uint64_t th_guest_fuel_used(const th_guest *guest);
/* Why it was trapped, or NULL. Lives as long as the guest. */
const char *th_guest_trap(const th_guest *guest);

/* Writes up to `len` bytes and tells how many were taken: TH_AGAIN if it is full,
 * TH_CLOSED if nobody will read. */
th_status th_writer_write(th_writer *writer, const uint8_t *start, size_t len, size_t *written);
/* Closes it, which is the guest's end of input. */
th_status th_writer_free(th_writer *writer);
/* Reads up to `len` bytes: TH_AGAIN if there is nothing yet, TH_CLOSED at the end. */
th_status th_reader_read(th_reader *reader, uint8_t *start, size_t len, size_t *got);
/* Closes it: what the guest still writes fails with EPIPE. */
th_status th_reader_free(th_reader *reader);

/* A file of one's own. A callback answers 0 or a WASI errno (6 is EAGAIN: the guest waits
 * until th_node_wake). What is neither, a count beyond `len` and a write of nothing without an
 * error are EIO. `offset` is what was read, or written, through this opening before.
 * A callback that is NULL is a direction the file does not have: EBADF for the guest. A guest's
 * write that blocks is whole: what `write` has not taken is offered again. They may be called from any
 * thread that steps a guest which has the node, and must not unwind. `release` is called
 * once, when the node and every open file of it are gone.
 *
 * Callbacks may use this library, except for what the call around them uses: in a step of a guest
 * that guest, in th_guest_new its builder (a start section runs there), in a free the object
 * that is being freed. The node may be freed from any of them.
 *
 * A guest that polls finds the file ready to be read, or to be written, unless the last such
 * call through this opening answered EAGAIN and no th_node_wake came since: what has not been
 * tried is not known, and may be EAGAIN still. */
typedef struct th_file_ops {
    uint16_t (*read)(void *data, uint64_t offset, uint8_t *bytes, size_t len, size_t *got);
    uint16_t (*write)(void *data, uint64_t offset, const uint8_t *bytes, size_t len, size_t *put);
    void (*release)(void *data);
} th_file_ops;

/* A tree in memory; `quota_bytes` 0 is no quota. */
th_node *th_node_memory(uint64_t quota_bytes);
/* A directory of the host, or NULL (also where the library was built without them).
 *
 * On Linux and Apple's systems the first one that a process opens sets SIGPIPE and SIGXFSZ,
 * those of them that are at SIG_DFL, to SIG_IGN: what a guest writes there could raise them
 * and end the program. All of the program then gets EPIPE and EFBIG in their place, as do the
 * programs it executes. Who wants them otherwise installs handlers before, or sets them after. */
th_node *th_node_host(const char *path, bool read_only);
/* /dev with null, zero, random, stdin and so on. */
th_node *th_node_devices(void);
/* Writes a whole file in a tree, and the directories on the way. */
th_status th_node_put(const th_node *node, const char *path, const uint8_t *start, size_t len);
/* A file of one's own. The callbacks are copied. */
th_node *th_node_file(const th_file_ops *ops, void *data);
/* Has every guest that waits for this file ask again. From any thread. */
th_status th_node_wake(const th_node *node);
/* Frees it; where it is mounted it stays. */
th_status th_node_free(th_node *node);

#ifdef __cplusplus
}
#endif
#endif
