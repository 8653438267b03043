/* pollserver FILE COUNT: an echo server for many clients at once. FILE is an accept name,
 * or - for the socket that --listen hands over. Ends when COUNT clients have come and gone,
 * and tells how many there were at once.
 *
 * Pins: poll_oneoff over a hundred accepted files; an accept name opened with O_NONBLOCK
 * answers EAGAIN when no client is there (and a poll with a time limit lets it be asked
 * again); a listening socket is polled like any other descriptor. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CLIENTS_MAX = 128, LOOK_AGAIN_MS = 5 };

/* fds[0] is the listener, if there is one. */
static struct pollfd fds[1 + CLIENTS_MAX];
static struct { char text[1024]; size_t len; } unsent[1 + CLIENTS_MAX];
static int clients, most;

static int find_listener(void) {
    struct stat stat;
    for (int fd = 3; fstat(fd, &stat) == 0; fd++) {
        if (S_ISSOCK(stat.st_mode)) return fd;
    }
    return -1;
}

static int next_client(const char *path, int listener) {
    if (listener >= 0) {
        struct sockaddr from;
        socklen_t size = sizeof from;
        return accept4(listener, &from, &size, SOCK_NONBLOCK);
    }
    if (clients > 0) return open(path, O_RDWR | O_NONBLOCK);
    int client = open(path, O_RDWR); /* nothing else to do: wait */
    if (client >= 0) fcntl(client, F_SETFL, O_NONBLOCK);
    return client;
}

/* 0 once the client is gone. */
static int serve(int i) {
    if (unsent[i].len == 0) {
        ssize_t count = read(fds[i].fd, unsent[i].text, sizeof unsent[i].text);
        if (count < 0) return errno == EAGAIN;
        if (count == 0) return 0;
        unsent[i].len = count;
    }
    ssize_t count = write(fds[i].fd, unsent[i].text, unsent[i].len);
    if (count < 0 && errno != EAGAIN) return 0;
    if (count > 0) {
        unsent[i].len -= count;
        memmove(unsent[i].text, unsent[i].text + count, unsent[i].len);
    }
    fds[i].events = unsent[i].len > 0 ? POLLOUT : POLLIN;
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: pollserver FILE COUNT\n");
        return 2;
    }
    int listener = strcmp(argv[1], "-") == 0 ? find_listener() : -1;
    int to_come = atoi(argv[2]);
    while (to_come > 0 || clients > 0) {
        while (to_come > 0 && clients < CLIENTS_MAX) {
            /* A listener is non-blocking like its clients, so that accept never waits. */
            if (listener >= 0) fcntl(listener, F_SETFL, O_NONBLOCK);
            int client = next_client(argv[1], listener);
            if (client < 0 && errno == EAGAIN) break;
            if (client < 0) {
                perror("pollserver");
                return 1;
            }
            to_come--;
            clients++;
            fds[clients] = (struct pollfd){.fd = client, .events = POLLIN};
            unsent[clients].len = 0;
            if (clients > most) most = clients;
        }
        int watch_listener = listener >= 0 && to_come > 0;
        int timeout_ms = to_come > 0 && !watch_listener ? LOOK_AGAIN_MS : -1;
        fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
        if (poll(fds + !watch_listener, clients + watch_listener, timeout_ms) < 0) {
            perror("pollserver: poll");
            return 1;
        }
        for (int i = clients; i > 0; i--) {
            if (!fds[i].revents || serve(i)) continue;
            close(fds[i].fd);
            fds[i] = fds[clients];
            unsent[i] = unsent[clients];
            clients--;
        }
    }
    printf("served %s, %d at once\n", argv[2], most);
    return 0;
}
