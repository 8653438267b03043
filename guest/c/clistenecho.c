/* clistenecho COUNT: a TCP server on the socket that --listen hands over. Serves COUNT
 * clients, one after the other, and sends each back what it says.
 *
 * Pins: accept() of wasi-libc; the listening socket is the first descriptor behind the
 * directories that is a socket. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* The first socket from descriptor 3 on, or -1. */
static int find_listener(void) {
    struct stat stat;
    for (int fd = 3; fstat(fd, &stat) == 0; fd++) {
        if (S_ISSOCK(stat.st_mode)) return fd;
    }
    return -1;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: clistenecho COUNT\n");
        return 2;
    }
    int listener = find_listener();
    for (int number = 1; number <= atoi(argv[1]); number++) {
        struct sockaddr from; /* wasi-libc's accept takes no NULL, and leaves it empty */
        socklen_t size = sizeof from;
        int client = accept(listener, &from, &size);
        if (client < 0) {
            perror("clistenecho: accept (give a socket with --listen)");
            return 1;
        }
        char text[4096];
        long total = 0;
        for (ssize_t count; (count = recv(client, text, sizeof text, 0)) > 0; total += count) {
            for (ssize_t done = 0, some; done < count; done += some) {
                some = send(client, text + done, count - done, 0);
                if (some < 0) break; /* gone: the next recv tells */
            }
        }
        close(client);
        printf("client %d: %ld bytes\n", number, total);
        fflush(stdout);
    }
    return 0;
}
