/* Gives a guest a file whose reads and writes are functions of this program, beside a tree in
 * memory; the guest waits in a read until the program has something to say.
 *
 *     cc node.c -ltinyhost && ./a.out cat.wasm dial.wasm
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinyhost.h>

enum { OK = 0, ERRNO_AGAIN = 6, ERRNO_FBIG = 22 };

typedef struct {
    const char *news; /* what is to be read; NULL while nothing has happened */
    char mail[64];    /* what was written */
    int released;
} app;

static uint16_t read_news(void *data, uint64_t offset, uint8_t *bytes, size_t len, size_t *got) {
    const app *self = data;
    if (!self->news) return ERRNO_AGAIN;
    size_t all = strlen(self->news), rest = offset < all ? all - (size_t)offset : 0;
    *got = rest < len ? rest : len;
    memcpy(bytes, self->news + (all - rest), *got);
    return OK;
}

static uint16_t write_mail(void *data, uint64_t offset, const uint8_t *bytes, size_t len,
                           size_t *put) {
    app *self = data;
    if (offset + len >= sizeof self->mail) return ERRNO_FBIG;
    memcpy(self->mail + offset, bytes, len);
    *put = len;
    return OK;
}

static void release(void *data) { ((app *)data)->released++; }

static void check(th_status status, const char *what) {
    if (status == TH_OK) return;
    fprintf(stderr, "%s: %s\n", what, th_last_error());
    exit(1);
}

static th_guest *spawn(const char *path, const char *const *args, const th_node *file,
                       const th_node *tree, th_reader **out) {
    FILE *module = fopen(path, "rb");
    static uint8_t wasm[1 << 20];
    if (!module) exit(1);
    size_t len = fread(wasm, 1, sizeof wasm, module);
    fclose(module);
    th_program *program = th_program_new(wasm, len);
    th_builder *builder = th_builder_new();
    for (; *args; args++) check(th_builder_arg(builder, *args), "arg");
    check(th_builder_mount(builder, "/app/news", file), "mount");
    check(th_builder_mount(builder, "/tree", tree), "mount");
    if (th_builder_mount(builder, "/tree", tree) != TH_USAGE) exit(1);
    check(th_builder_stdout(builder, 4096, out), "stdout");
    th_guest *guest = th_guest_new(program, builder);
    th_program_free(program); /* the guest keeps what it needs */
    if (!guest) exit(1);
    return guest;
}

static void count(void *data) { ++*(int *)data; }

static int finish(th_guest *guest, th_reader *out) {
    int step;
    while ((step = th_guest_step(guest, 100000)) == TH_YIELDED) {}
    uint8_t text[256];
    size_t got;
    while (th_reader_read(out, text, sizeof text, &got) == TH_OK) fwrite(text, 1, got, stdout);
    return step;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    app self = {0};
    const th_file_ops ops = {read_news, write_mail, release};
    th_node *file = th_node_file(&ops, &self), *tree = th_node_memory(1 << 20);
    check(th_node_put(tree, "a/b.txt", (const uint8_t *)"from memory\n", 12), "put");

    /* It reads both, and waits for the news. */
    th_reader *out;
    const char *cat[] = {"cat", "/tree/a/b.txt", "/app/news", NULL};
    th_guest *guest = spawn(argv[1], cat, file, tree, &out);
    if (finish(guest, out) != TH_PARKED) return 1;
    int wakes = 0;
    uint64_t after;
    check(th_guest_arm(guest, count, &wakes, &after), "arm");
    printf("no news yet\n");
    self.news = "something has happened\n";
    check(th_node_wake(file), "wake");
    if (wakes != 1 || finish(guest, out) != TH_EXITED) return 1;
    th_guest_free(guest);
    th_reader_free(out);

    /* It writes a line, and reads the answer. */
    const char *dial[] = {"dial", "/app/news", "dear app", NULL};
    guest = spawn(argv[2], dial, file, tree, &out);
    if (finish(guest, out) != TH_EXITED) return 1;
    printf("it wrote: %s\n", self.mail);
    th_guest_free(guest);
    th_reader_free(out);

    th_node_free(tree);
    th_node_free(file);
    printf("released %d time\n", self.released);
    return 0;
}
