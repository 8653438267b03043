/* sockcalls FILE: what only sockets can do, on the stream that opening FILE gives (- for
 * one accepted on the socket that --listen hands over). Tells each call's outcome.
 *
 * Pins: sock_send; sock_recv with PEEK, which leaves the data there, and with WAITALL, which
 * waits until all is there or the end has come; sock_shutdown, which ends one direction
 * while the other goes on; and the errnos where they can't be. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void tell(const char *what, ssize_t count, const char *text) {
    if (count < 0) {
        printf("%s: %s\n", what, strerror(errno));
    } else {
        printf("%s: %zd%s%.*s\n", what, count, text ? " " : "", text ? (int)count : 0, text);
    }
    fflush(stdout);
}

static void receive(const char *what, int fd, size_t size, int flags) {
    char text[64];
    ssize_t count = recv(fd, text, size, flags);
    tell(what, count, count > 0 ? text : NULL);
}

static int accept_preopened(void) {
    struct stat stat;
    int fd = 3;
    while (fstat(fd, &stat) == 0 && !S_ISSOCK(stat.st_mode)) fd++;
    receive("recv on a listener", fd, 1, 0);
    struct sockaddr from;
    socklen_t size = sizeof from;
    return accept(fd, &from, &size);
}

/* With O_NONBLOCK a dial still waits until it is connected, an accept does not wait. */
static int open_stream(const char *path) {
    int fd = open(path, O_RDWR | O_NONBLOCK);
    if (fd >= 0) {
        fcntl(fd, F_SETFL, 0);
    } else if (errno == EAGAIN) {
        tell("open", fd, NULL);
        fd = open(path, O_RDWR);
    }
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: sockcalls FILE\n");
        return 2;
    }
    int fd = strcmp(argv[1], "-") == 0 ? accept_preopened() : open_stream(argv[1]);
    if (fd < 0) {
        perror("sockcalls");
        return 1;
    }
    tell("send", send(fd, "hello", 5, 0), NULL);
    receive("peek", fd, 16, MSG_PEEK);
    receive("peek again", fd, 2, MSG_PEEK);
    tell("send", send(fd, "more", 4, 0), NULL);
    receive("all of 8", fd, 8, MSG_WAITALL);
    tell("shutdown", shutdown(fd, SHUT_WR), NULL);
    tell("send", send(fd, "late", 4, 0), NULL);
    receive("all of 8", fd, 8, MSG_WAITALL);
    receive("at the end", fd, 8, 0);
    receive("peek at the end", fd, 8, MSG_PEEK);
    tell("accept on a stream", accept(fd, &(struct sockaddr){0}, &(socklen_t){0}), NULL);

    int file = open("/dev/null", O_RDWR);
    receive("recv on a device", file, 1, 0);
    tell("send on a device", send(file, "x", 1, 0), NULL);
    tell("shutdown of a device", shutdown(file, SHUT_RD), NULL);
    return 0;
}
