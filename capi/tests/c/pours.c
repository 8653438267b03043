/* A guest writes more in one call than its pipe holds: all of it arrives, once and in order, at a
 * reader that takes a little at a time.
 *
 *     pours pours.wasm
 */
#include <stdio.h>
#include <string.h>
#include "must.h"

enum { COUNT = 100000 };

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    th_program *program = load(argv[1]);
    for (size_t some = 1; some <= 4097; some += 1024) {
        th_builder *builder = th_builder_new();
        th_reader *out, *errors;
        MUST(!th_builder_arg(builder, "pours") && !th_builder_arg(builder, "100000"));
        MUST(!th_builder_stdout(builder, 4096, &out) && !th_builder_stderr(builder, 64, &errors));
        th_guest *guest = th_guest_new(program, builder);
        MUST(guest);
        uint8_t bytes[4097];
        size_t sum = 0, n;
        for (int step = 0; step != TH_EXITED;) {
            step = th_guest_step(guest, 1000000);
            MUST(step == TH_EXITED || step == TH_YIELDED || step == TH_PARKED);
            while (th_reader_read(out, bytes, some, &n) == TH_OK)
                for (size_t i = 0; i < n; i++) MUST(bytes[i] == sum++ % 251);
        }
        MUST(sum == COUNT && th_guest_status(guest) == 0);
        MUST(!th_reader_read(errors, bytes, 64, &n) && n == 6 && !memcmp(bytes, "100000", 6));
        MUST(!th_guest_free(guest) && !th_reader_free(out) && !th_reader_free(errors));
    }
    printf("all of it\n");
    th_program_free(program);
    return 0;
}
