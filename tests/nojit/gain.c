/* Asks for executable memory in the way that is named, as a JIT does. */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

static void *by_mmap(void *unused) {
    (void)unused;
    void *at = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? "refused" : 0;
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    if (!strcmp(how, "none")) return 0;
    if (!strcmp(how, "mmap")) return by_mmap(0) != 0;
    if (!strcmp(how, "mprotect")) {
        void *at = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return at == MAP_FAILED || mprotect(at, 4096, PROT_READ | PROT_EXEC) != 0;
    }
    if (!strcmp(how, "thread")) {
        pthread_t thread;
        void *answer = "";
        if (pthread_create(&thread, 0, by_mmap, 0) || pthread_join(thread, &answer)) return 2;
        return answer != 0;
    }
    return 2;
}
