/* Preloaded into a program, refuses it executable memory from before its main() on:
 *
 *   1. prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN): the kernel refuses every mapping that
 *      is, or was, writable and executable (EACCES);
 *   2. a seccomp filter kills the process (SIGSYS) at any mmap, mprotect or pkey_mprotect
 *      with PROT_EXEC, and at shmat with SHM_EXEC.
 *
 * What the loader has mapped by then is all the code there will ever be. All threads that are
 * started later inherit both. HARDEN=mdwe leaves the filter out, to see the kernel refuse.
 *
 *     gcc -shared -fPIC -O1 harden.c -o harden.so && LD_PRELOAD=$PWD/harden.so PROGRAM
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "say which architecture this is"
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define KILL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
static void fail(const char *what) {
    fprintf(stderr, "harden: %s: %s\n", what, strerror(errno));
    _exit(77); /* can't be tested here */
}

/* One rule: is it call `nr`, and does argument `arg` have `bit`? */
#define RULE(number, arg, bit)                                                      \
    LOAD(nr), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 3), LOAD(args[arg]), \
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bit), 0, 1), KILL

__attribute__((constructor)) static void harden(void) {
    if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)) fail("PR_SET_MDWE");
    const char *only = getenv("HARDEN");
    if (only && !strcmp(only, "mdwe")) return;
    struct sock_filter rules[] = {
        LOAD(arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
        KILL,
        RULE(SYS_mmap, 2, PROT_EXEC),
        RULE(SYS_mprotect, 2, PROT_EXEC),
        RULE(SYS_pkey_mprotect, 2, PROT_EXEC),
        RULE(SYS_shmat, 2, SHM_EXEC),
        ALLOW,
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("PR_SET_NO_NEW_PRIVS");
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) fail("seccomp");
}
