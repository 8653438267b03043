/* cshow DIR: shows what a C program gets from its host, line by line.
 *
 * Pins: wasi-libc's view of the ABI, which is not Rust's: preopens looked for from fd 3 on,
 * stdio with its own buffers, readdir with cookies, poll() made of poll_oneoff. The report
 * holds no times, so it is the same on every host. Makes DIR/cshow.txt and removes it. */

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) {
    fprintf(stderr, "cshow: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void show_file(const char *path) {
    FILE *file = fopen(path, "w+");
    if (!file) fail(path);
    int printed = fprintf(file, "%s %d\n", "forty-two", 42);
    if (fseek(file, 6, SEEK_SET) != 0) fail("fseek");
    char text[16] = {0};
    size_t count = fread(text, 1, sizeof text - 1, file);
    text[strcspn(text, "\n")] = '\0';
    printf("file: wrote %d, read %zu at 6: %s\n", printed, count, text);
    if (fclose(file) != 0) fail("fclose");
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void show_dir(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) fail(path);
    char *names[64];
    size_t count = 0;
    errno = 0;
    for (struct dirent *entry; count < 64 && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        names[count] = strdup(entry->d_name);
        if (!names[count++]) fail("strdup");
    }
    if (errno) fail("readdir");
    if (closedir(dir) != 0) fail("closedir");
    qsort(names, count, sizeof names[0], by_name);
    printf("dir:");
    for (size_t i = 0; i < count; i++) {
        printf(" %s", names[i]);
        free(names[i]);
    }
    printf("\n");
}

static long long now_ns(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time) != 0) fail("clock_gettime");
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void show_clocks(void) {
    const struct timespec nap = {.tv_sec = 0, .tv_nsec = 2000000};
    long long start = now_ns(CLOCK_MONOTONIC);
    if (nanosleep(&nap, NULL) != 0) fail("nanosleep");
    int slept = now_ns(CLOCK_MONOTONIC) - start >= nap.tv_nsec;
    int dated = now_ns(CLOCK_REALTIME) > 1700000000000000000LL; /* past the year 2023 */
    printf("clocks: slept %s, date %s\n", slept ? "enough" : "short", dated ? "sane" : "wrong");
}

static void show_stdin(void) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    int glance = poll(&input, 1, 0); /* may or may not see it yet, but never waits or fails */
    int ready = poll(&input, 1, 5000);
    char line[64];
    if (glance < 0 || ready < 0) fail("poll");
    printf("stdin: %s", ready == 1 && input.revents & POLLIN ? "ready" : "not ready");
    printf(", %s", fgets(line, sizeof line, stdin) ? line : "at its end\n");
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: cshow DIR\n");
        return 2;
    }
    const char *greeting = getenv("GREETING");
    printf("args: %d, %s\n", argc, argv[1]);
    printf("env: %s\n", greeting ? greeting : "(none)");

    char path[256];
    snprintf(path, sizeof path, "%s/cshow.txt", argv[1]);
    show_file(path);
    show_dir(argv[1]);
    if (remove(path) != 0) fail("remove");
    show_clocks();
    show_stdin();
    return 0;
}
