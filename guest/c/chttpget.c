/* chttpget FILE HOST PATH: asks the web server behind the network file FILE for PATH in
 * HTTP/1.0; prints the status line and the body.
 *
 * Pins: stdio on a connection. "r+" makes a stream of both directions, with fseek (which a
 * socket refuses) left out by fflush between writing and reading. */

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: chttpget FILE HOST PATH\n");
        return 2;
    }
    FILE *server = fopen(argv[1], "r+");
    if (!server) {
        perror("chttpget");
        return 1;
    }
    fprintf(server, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", argv[3], argv[2]);
    fflush(server);

    char text[4096];
    for (int number = 0; fgets(text, sizeof text, server) && strcmp(text, "\r\n") != 0; number++) {
        text[strcspn(text, "\r\n")] = '\0';
        if (number == 0) printf("%s\n", text);
    }
    for (size_t count; (count = fread(text, 1, sizeof text, server)) > 0;) {
        fwrite(text, 1, count, stdout);
    }
    int failed = ferror(server);
    fclose(server);
    return failed ? 1 : 0;
}
