/* What a guest writes to a host directory does not end the program by a signal; who has said
 * what a signal is to do keeps that.
 *
 *     signals pipes.wasm FOLDER
 */
#define _XOPEN_SOURCE 700
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "must.h"

static const char *module, *folder;
static volatile sig_atomic_t caught;

static void catch(int signal, siginfo_t *info, void *context) {
    (void)info, (void)context;
    caught = signal;
}

static struct sigaction action_of(int signal) {
    struct sigaction action;
    MUST(!sigaction(signal, NULL, &action));
    return action;
}

static void handle(int signal, void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    MUST(!sigaction(signal, &action, NULL));
}

/* Runs the guest on the folder, with a limit to the length of a file. */
static void run(void) {
    const struct rlimit limit = {4096, 4096};
    th_program *program = load(module);
    th_node *node = th_node_host(folder, false);
    MUST(node);
    th_builder *builder = th_builder_new();
    th_reader *out;
    MUST(!th_builder_arg(builder, "pipes") && !th_builder_arg(builder, "/host/fifo") &&
         !th_builder_arg(builder, "/host/file"));
    MUST(!th_builder_mount(builder, "/host", node));
    MUST(!th_builder_stdout(builder, 4096, &out));
    th_guest *guest = th_guest_new(program, builder);
    MUST(guest && !setrlimit(RLIMIT_FSIZE, &limit));
    MUST(th_guest_step(guest, 1000000000) == TH_EXITED && th_guest_status(guest) == 0);
    print_all(out);
    th_guest_free(guest);
    th_reader_free(out);
    th_node_free(node);
    th_program_free(program);
}

static void says_nothing(void) {
    handle(SIGPIPE, SIG_DFL);
    handle(SIGXFSZ, SIG_DFL);
    run();
    MUST(action_of(SIGPIPE).sa_handler == SIG_IGN && action_of(SIGXFSZ).sa_handler == SIG_IGN);
    MUST(action_of(SIGSEGV).sa_handler != SIG_IGN && action_of(SIGINT).sa_handler == SIG_DFL);
    /* Set back afterwards, it stays so. */
    handle(SIGPIPE, SIG_DFL);
    th_node_free(th_node_host(folder, true));
    MUST(action_of(SIGPIPE).sa_handler == SIG_DFL);
}

static void has_a_handler(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = catch;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    MUST(!sigaction(SIGPIPE, &action, NULL));
    handle(SIGXFSZ, SIG_IGN);
    run();
    MUST(caught == SIGPIPE);
    MUST(action_of(SIGPIPE).sa_sigaction == catch);
    MUST(action_of(SIGPIPE).sa_flags & SA_SIGINFO);
    MUST(action_of(SIGXFSZ).sa_handler == SIG_IGN);
}

/* Each in a process of its own: it is done once. */
static void in_a_child(const char *name, void (*test)(void)) {
    printf("%s\n", name);
    fflush(stdout);
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
        test();
        exit(0);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) fprintf(stderr, "%s: ended by signal %d\n", name, WTERMSIG(status));
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    module = argv[1];
    folder = argv[2];
    char fifo[4096];
    snprintf(fifo, sizeof fifo, "%s/fifo", folder);
    remove(fifo);
    MUST(!mkfifo(fifo, 0600));
    in_a_child("says nothing:", says_nothing);
    in_a_child("has a handler:", has_a_handler);
    return 0;
}
