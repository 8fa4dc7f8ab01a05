/* Watches, fails or kills at the k-th change that a process makes to the files below one folder. Load it with LD_PRELOAD.

   Every function goes straight to the kernel by syscall(), so nothing depends on the versions of glibc's symbols; only
   stdio's fopen and fwrite are looked up. The counters lie in shared memory: a parent that forks a child can read them
   after the child is gone. Not seen are writes through a memory map, and calls that a program makes without the C library
   (the rename of Rust's tempfile). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The glibc headers may define some of these as macros or inline functions of the 64-bit names. */
#undef open
#undef openat

enum action { COUNT, FAIL, FULL, SHORT, KILL_BEFORE, KILL_AFTER, KILL_HALF };
enum operation { OPEN, WRITE, SYNC, RENAME, LINK, SYMLINK, UNLINK, MKDIR, TRUNCATE, COPY, CHMOD };

/* The order of these fields is harness.py's Record. */
struct record {
    int operation, flags;
    long call, offset, length;
    int first, second;
};

static struct { long calls, fired; } *shared;
static char root[PATH_MAX];
static size_t root_length;
static long aim;
static int action, number, log_to = -1, with_data;
static char turn;

/* ---- the controls, called through ctypes ---- */

void fault_begin(const char *folder, const char *log, int data)
{
    if (!shared)
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared->calls = shared->fired = 0;
    root_length = strlen(folder);
    memcpy(root, folder, root_length + 1);
    if (log_to >= 0)
        syscall(SYS_close, log_to);
    log_to = log ? (int)syscall(SYS_openat, AT_FDCWD, log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600) : -1;
    with_data = data;
    turn = 0;
    action = COUNT;
}

void fault_arm(long call, int what, int error) { aim = call, action = what, number = error; }
void fault_stop(void) { root_length = 0; }
long fault_calls(void) { return shared ? shared->calls : 0; }
long fault_fired(void) { return shared ? shared->fired : 0; }

__attribute__((constructor)) static void from_environment(void)
{
    const char *folder = getenv("STATIM_FAULT_ROOT"), *call = getenv("STATIM_FAULT_CALL");
    const char *what = getenv("STATIM_FAULT_ACTION"), *error = getenv("STATIM_FAULT_ERRNO");
    if (!folder)
        return;
    fault_begin(folder, getenv("STATIM_FAULT_LOG"), 0);
    if (call && what)
        fault_arm(atol(call), atoi(what), error ? atoi(error) : EIO);
}

/* ---- what is watched ---- */

static int below(const char *path)
{
    return root_length && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static int linked(const char *link, char *out)
{
    long n = syscall(SYS_readlinkat, AT_FDCWD, link, out, PATH_MAX - 1);
    out[n < 0 ? 0 : n] = 0;
    return n >= 0;
}

static int file_of(int fd, char *out)
{
    char link[40];
    if (!root_length)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return linked(link, out) && below(out);
}

static int path_of(int folder, const char *path, char *out)
{
    char link[40], base[PATH_MAX];
    if (!root_length || !path)
        return 0;
    if (path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
        return below(out);
    }
    snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
    if (!linked(link, base) || snprintf(out, PATH_MAX, "%s/%s", base, path) >= PATH_MAX)
        return 0;
    return below(out);
}

static void die(void)
{
    __atomic_add_fetch(&shared->fired, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_kill, (int)syscall(SYS_getpid), SIGKILL);
    for (;;)
        pause();
}

static int grows(int operation) { return operation != UNLINK && operation != SYNC && operation != CHMOD; }

/* While calls are written down, one thread at a time makes them: records come in the order of what they tell. */
static void take_turn(void)
{
    while (log_to >= 0 && __atomic_test_and_set(&turn, __ATOMIC_ACQUIRE))
        sched_yield();
}

static void give_turn(void) { __atomic_clear(&turn, __ATOMIC_RELEASE); }

/* Numbers a call; dies here if it is the one to die before. */
static long enter(void)
{
    take_turn();
    long call = __atomic_add_fetch(&shared->calls, 1, __ATOMIC_SEQ_CST);
    if (call == aim && action == KILL_BEFORE)
        die();
    return call;
}

static int refused(long call, int operation)
{
    if ((action == FAIL && call == aim) || (action == FULL && call >= aim && grows(operation))) {
        __atomic_add_fetch(&shared->fired, 1, __ATOMIC_SEQ_CST);
        give_turn();
        errno = number;
        return 1;
    }
    return 0;
}

static size_t allowed(long call, size_t size)
{
    if (call != aim || (action != SHORT && action != KILL_HALF) || size < 2)
        return size;
    __atomic_add_fetch(&shared->fired, 1, __ATOMIC_SEQ_CST);
    return size / 2;
}

static void record(int operation, long call, int flags, const char *first, const char *second, long offset,
                   const void *data, long length)
{
    struct record head = {operation, flags, call, offset, length, (int)strlen(first), (int)strlen(second)};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)first, head.first}, {(void *)second, head.second},
                            {(void *)data, with_data && data ? (size_t)length : 0}};
    if (!with_data || !data)
        head.length = -length - 1; /* no bytes follow */
    syscall(SYS_writev, log_to, parts, 4);
}

static void record_file(int operation, long call, int fd, const char *path, long offset, long length)
{
    char link[40], *bytes = NULL;
    struct stat status;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int again = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
    int folder = again >= 0 && !fstat(again, &status) && S_ISDIR(status.st_mode);
    if (length < 0)
        length = again >= 0 && !folder ? status.st_size : 0;
    if (with_data && again >= 0 && !folder && (bytes = malloc(length + 1)))
        length = syscall(SYS_pread64, again, bytes, length, offset);
    record(operation, call, folder, path, "", offset, bytes ? bytes : (with_data ? "" : NULL), length < 0 ? 0 : length);
    free(bytes);
    if (again >= 0)
        syscall(SYS_close, again);
}

/* Ends a call: writes it down, and dies here if it is the one to die after. */
#define LEAVE(call, result, log)                                         \
    do {                                                                 \
        int saved = errno;                                               \
        if (log_to >= 0 && (result) >= 0) { log; }                       \
        give_turn();                                                     \
        if ((call) == aim && (action == KILL_AFTER || action == KILL_HALF)) die(); \
        errno = saved;                                                   \
    } while (0)

/* ---- files: open ---- */

#define WRITING (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)

static int opened(int folder, const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    if (!(flags & WRITING) || !path_of(folder, path, full))
        return (int)syscall(SYS_openat, folder, path, flags, mode);
    long call = enter();
    if (refused(call, OPEN))
        return -1;
    int there = !syscall(SYS_faccessat, folder, path, F_OK);
    int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
    int nameless = (flags & O_TMPFILE) == O_TMPFILE;
    LEAVE(call, fd, record(OPEN, call, nameless ? 4 : (there ? 0 : 1) | (flags & O_TRUNC ? 2 : 0), full, "", 0, NULL, 0));
    return fd;
}

static mode_t mode_of(int flags, va_list rest) { return flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; }

#define OPENS(name, arguments, folder, last)                  \
    int name arguments                                        \
    {                                                         \
        va_list rest;                                         \
        va_start(rest, last);                                 \
        mode_t mode = mode_of(flags, rest);                   \
        va_end(rest);                                         \
        return opened(folder, path, flags, mode);             \
    }

OPENS(open, (const char *path, int flags, ...), AT_FDCWD, flags)
OPENS(open64, (const char *path, int flags, ...), AT_FDCWD, flags)
OPENS(openat, (int folder, const char *path, int flags, ...), folder, flags)
OPENS(openat64, (int folder, const char *path, int flags, ...), folder, flags)
int __open_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __openat_2(int folder, const char *path, int flags) { return opened(folder, path, flags, 0); }
int __openat64_2(int folder, const char *path, int flags) { return opened(folder, path, flags, 0); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

/* ---- files: write ---- */

static long written(int fd, const void *data, size_t size, long offset)
{
    char full[PATH_MAX];
    if (!file_of(fd, full))
        return offset < 0 ? syscall(SYS_write, fd, data, size) : syscall(SYS_pwrite64, fd, data, size, offset);
    long call = enter();
    if (refused(call, WRITE))
        return -1;
    size = allowed(call, size);
    long n = offset < 0 ? syscall(SYS_write, fd, data, size) : syscall(SYS_pwrite64, fd, data, size, offset);
    LEAVE(call, n, record(WRITE, call, 0, full, "", offset < 0 ? syscall(SYS_lseek, fd, 0, SEEK_CUR) - n : offset, data, n));
    return n;
}

static long gathered(int fd, const struct iovec *parts, int count, long offset)
{
    char full[PATH_MAX];
    if (!file_of(fd, full))
        return offset < 0 ? syscall(SYS_writev, fd, parts, count) : syscall(SYS_pwritev, fd, parts, count, offset, 0L);
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    char *whole = malloc(size + 1), *end = whole;
    for (int i = 0; i < count; i++)
        end = mempcpy(end, parts[i].iov_base, parts[i].iov_len);
    long n = written(fd, whole, size, offset);
    free(whole);
    return n;
}

ssize_t write(int fd, const void *data, size_t size) { return written(fd, data, size, -1); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return written(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return written(fd, data, size, offset); }
ssize_t writev(int fd, const struct iovec *parts, int count) { return gathered(fd, parts, count, -1); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return gathered(fd, parts, count, offset); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) { return gathered(fd, parts, count, offset); }

static long copied(int out, int in, size_t size, long kind, off64_t *from, off64_t *to)
{
    char full[PATH_MAX];
    int watched = file_of(out, full);
    long call = watched ? enter() : 0;
    if (call && refused(call, COPY))
        return -1;
    size = call ? allowed(call, size) : size;
    long at = to ? *to : syscall(SYS_lseek, out, 0, SEEK_CUR);
    long n = kind ? syscall(SYS_copy_file_range, in, from, out, to, size, 0) : syscall(SYS_sendfile, out, in, from, size);
    if (call)
        LEAVE(call, n, record_file(COPY, call, out, full, at, n));
    return n;
}

ssize_t sendfile(int out, int in, off_t *from, size_t size) { return copied(out, in, size, 0, from, NULL); }
ssize_t sendfile64(int out, int in, off64_t *from, size_t size) { return copied(out, in, size, 0, from, NULL); }
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags)
{
    (void)flags;
    return copied(out, in, size, 1, from, to);
}

/* stdio calls the kernel from inside of glibc, so it is watched where it is called */
#define STDIO(name)                                                                            \
    FILE *name(const char *path, const char *mode)                                             \
    {                                                                                          \
        FILE *(*real)(const char *, const char *) = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, #name); \
        char full[PATH_MAX];                                                                   \
        if ((mode[0] == 'r' && !strchr(mode, '+')) || !path_of(AT_FDCWD, path, full))          \
            return real(path, mode);                                                           \
        long call = enter();                                                                   \
        if (refused(call, OPEN))                                                               \
            return NULL;                                                                       \
        int there = !syscall(SYS_faccessat, AT_FDCWD, path, F_OK);                             \
        FILE *file = real(path, mode);                                                         \
        LEAVE(call, file ? 0 : -1, record(OPEN, call, (there ? 0 : 1) | (mode[0] == 'w' ? 2 : 0), full, "", 0, NULL, 0)); \
        return file;                                                                           \
    }

STDIO(fopen)
STDIO(fopen64)

size_t fwrite(const void *data, size_t size, size_t count, FILE *file)
{
    static size_t (*real)(const void *, size_t, size_t, FILE *);
    if (!real)
        real = (size_t (*)(const void *, size_t, size_t, FILE *))dlsym(RTLD_NEXT, "fwrite");
    char full[PATH_MAX];
    if (!file_of(fileno(file), full))
        return real(data, size, count, file);
    long call = enter();
    if (refused(call, WRITE))
        return 0;
    size_t n = real(data, size, allowed(call, count), file);
    LEAVE(call, 0, record(WRITE, call, 0, full, "", 0, NULL, 0));
    return n;
}

/* ---- names ---- */

#define CHANGE(operation, watched, first, second, flags, call_it) \
    do {                                                          \
        if (!(watched))                                           \
            return (int)(call_it);                                \
        long call = enter();                                      \
        if (refused(call, operation))                             \
            return -1;                                            \
        int result = (int)(call_it);                              \
        LEAVE(call, result, record(operation, call, flags, first, second, 0, NULL, 0)); \
        return result;                                            \
    } while (0)

static int renamed(int from, const char *old, int to, const char *new, unsigned flags)
{
    char a[PATH_MAX], b[PATH_MAX];
    int watched = path_of(from, old, a) + path_of(to, new, b);
    CHANGE(RENAME, watched, a, b, (int)flags, syscall(SYS_renameat2, from, old, to, new, flags));
}

int rename(const char *old, const char *new) { return renamed(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int from, const char *old, int to, const char *new) { return renamed(from, old, to, new, 0); }
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) { return renamed(from, old, to, new, flags); }

int linkat(int from, const char *old, int to, const char *new, int flags)
{
    char a[PATH_MAX], b[PATH_MAX];
    path_of(from, old, a);
    CHANGE(LINK, path_of(to, new, b), a, b, 0, syscall(SYS_linkat, from, old, to, new, flags));
}
int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

int symlinkat(const char *old, int to, const char *new)
{
    char b[PATH_MAX];
    CHANGE(SYMLINK, path_of(to, new, b), old, b, 0, syscall(SYS_symlinkat, old, to, new));
}
int symlink(const char *old, const char *new) { return symlinkat(old, AT_FDCWD, new); }

int unlinkat(int folder, const char *path, int flags)
{
    char a[PATH_MAX];
    CHANGE(UNLINK, path_of(folder, path, a), a, "", flags, syscall(SYS_unlinkat, folder, path, flags));
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int folder, const char *path, mode_t mode)
{
    char a[PATH_MAX];
    CHANGE(MKDIR, path_of(folder, path, a), a, "", 0, syscall(SYS_mkdirat, folder, path, mode));
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int fchmodat(int folder, const char *path, mode_t mode, int flags)
{
    char a[PATH_MAX];
    (void)flags;
    CHANGE(CHMOD, path_of(folder, path, a), a, "", 0, syscall(SYS_fchmodat, folder, path, mode));
}
int chmod(const char *path, mode_t mode) { return fchmodat(AT_FDCWD, path, mode, 0); }

int fchmod(int fd, mode_t mode)
{
    char a[PATH_MAX];
    CHANGE(CHMOD, file_of(fd, a), a, "", 0, syscall(SYS_fchmod, fd, mode));
}

int ftruncate64(int fd, off64_t size)
{
    char a[PATH_MAX];
    CHANGE(TRUNCATE, file_of(fd, a), a, "", (int)size, syscall(SYS_ftruncate, fd, size));
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
int truncate64(const char *path, off64_t size)
{
    char a[PATH_MAX];
    CHANGE(TRUNCATE, path_of(AT_FDCWD, path, a), a, "", (int)size, syscall(SYS_truncate, path, size));
}
int truncate(const char *path, off_t size) { return truncate64(path, size); }

/* ---- to the disk ---- */

static int synced(int fd, long kind)
{
    char full[PATH_MAX];
    if (!file_of(fd, full))
        return (int)syscall(kind, fd);
    long call = enter();
    if (refused(call, SYNC))
        return -1;
    int result = (int)syscall(kind, fd);
    LEAVE(call, result, record_file(SYNC, call, fd, full, 0, -1));
    return result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }
