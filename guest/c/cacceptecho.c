/* cacceptecho FILE COUNT: a TCP server. Opens the accept name FILE COUNT times, one client
 * after the other, and sends each back what it says until it has said all.
 *
 * Pins: open, read, write and close are all a server in C needs. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: cacceptecho FILE COUNT\n");
        return 2;
    }
    for (int number = 1; number <= atoi(argv[2]); number++) {
        int client = open(argv[1], O_RDWR);
        if (client < 0) {
            perror("cacceptecho");
            return 1;
        }
        char text[4096];
        long total = 0;
        for (ssize_t count; (count = read(client, text, sizeof text)) > 0; total += count) {
            for (ssize_t done = 0, some; done < count; done += some) {
                some = write(client, text + done, count - done);
                if (some < 0) break; /* gone: the next read tells */
            }
        }
        close(client);
        printf("client %d: %ld bytes\n", number, total);
        fflush(stdout);
    }
    return 0;
}
