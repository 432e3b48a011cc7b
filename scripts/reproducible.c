// What a build sees of its machine, where its output shall not depend on it: preloaded, it gives every process the same randomness, one
// moment in time, files without times and with numbers in the order in which they are first asked for, and folders in the order of their
// names. For Linux on x86-64; what asks the kernel without the C library is caught by a filter of system calls.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

// 2023-11-14T22:13:20Z.
#define MOMENT 1700000000
// In the sixth argument, which neither call has: this one is ours, let it pass.
#define OURS 0x5ee5a11L
#define MOST_FILES 65536
#define MOST_FOLDERS 64

static long ask(long number, long a, long b, long c, long d, long e) {
  long result;
  register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = OURS;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

static void stop(const char *why) {
  (void)!write(2, why, strlen(why));
  _exit(1);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// Files in the order in which they were first asked for.
static struct {
  uint32_t major, minor;
  uint64_t inode;
} files[MOST_FILES];
static unsigned file_count;

static uint64_t number_of(const struct statx *file) {
  unsigned at = 0;
  while (at < file_count && (files[at].inode != file->stx_ino || files[at].major != file->stx_dev_major ||
                             files[at].minor != file->stx_dev_minor))
    at++;
  if (at == file_count) {
    if (file_count == MOST_FILES) stop("reproducible: too many files\n");
    files[at].inode = file->stx_ino;
    files[at].major = file->stx_dev_major;
    files[at].minor = file->stx_dev_minor;
    file_count++;
  }
  return at + 1;
}

static long stat_file(long folder, long path, long flags, long mask, struct statx *file) {
  long result = ask(SYS_statx, folder, path, flags, mask | STATX_INO, (long)file);
  if (result != 0) return result;
  pthread_mutex_lock(&lock);
  file->stx_ino = number_of(file);
  pthread_mutex_unlock(&lock);
  file->stx_dev_major = file->stx_dev_minor = 1;
  file->stx_blocks = 0;
  // File systems differ in both.
  if (S_ISDIR(file->stx_mode)) file->stx_size = file->stx_nlink = 1;
  struct statx_timestamp moment = {.tv_sec = MOMENT};
  file->stx_atime = file->stx_btime = file->stx_ctime = file->stx_mtime = moment;
  return 0;
}

// Folders that are being read: their entries, sorted.
static struct folder {
  long fd;
  struct dirent64 **entries;
  size_t count, next;
} folders[MOST_FOLDERS];

static int by_name(const void *one, const void *other) {
  return strcmp((*(struct dirent64 *const *)one)->d_name, (*(struct dirent64 *const *)other)->d_name);
}

static void forget(struct folder *folder) {
  for (size_t at = 0; at < folder->count; at++) free(folder->entries[at]);
  free(folder->entries);
  *folder = (struct folder){.fd = -1};
}

static long read_whole(struct folder *folder, long fd) {
  *folder = (struct folder){.fd = fd};
  char buffer[32768];
  for (;;) {
    long length = ask(SYS_getdents64, fd, (long)buffer, sizeof buffer, 0, 0);
    if (length <= 0) {
      if (length < 0) forget(folder);
      else qsort(folder->entries, folder->count, sizeof *folder->entries, by_name);
      return length;
    }
    for (long at = 0; at < length;) {
      struct dirent64 *entry = (struct dirent64 *)(buffer + at);
      struct dirent64 *copy = malloc(entry->d_reclen);
      folder->entries = realloc(folder->entries, (folder->count + 1) * sizeof *folder->entries);
      if (copy == NULL || folder->entries == NULL) stop("reproducible: out of memory\n");
      folder->entries[folder->count++] = memcpy(copy, entry, entry->d_reclen);
      at += entry->d_reclen;
    }
  }
}

static long list_folder(long fd, char *buffer, size_t size) {
  struct folder *found = NULL, *unused = NULL;
  for (struct folder *folder = folders; folder < folders + MOST_FOLDERS; folder++) {
    if (folder->fd == fd) found = folder;
    else if (folder->fd < 0 && unused == NULL) unused = folder;
  }
  // At the beginning of a folder, what is kept under its number is of one that was closed.
  if (found != NULL && lseek((int)fd, 0, SEEK_CUR) == 0) {
    forget(found);
    unused = found;
    found = NULL;
  }
  if (found == NULL) {
    if (unused == NULL) stop("reproducible: too many folders are open\n");
    long result = read_whole(unused, fd);
    if (result < 0) return result;
    found = unused;
  }
  size_t length = 0;
  while (found->next < found->count) {
    struct dirent64 *entry = found->entries[found->next];
    if (entry->d_reclen > size - length) break;
    entry->d_ino = entry->d_off = (long)++found->next;
    memcpy(buffer + length, entry, entry->d_reclen);
    length += entry->d_reclen;
  }
  if (length == 0 && found->next < found->count) return -EINVAL;
  if (length == 0) forget(found);
  return (long)length;
}

static void on_call(int signal, siginfo_t *info, void *context) {
  (void)signal;
  greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
  int error = errno;
  if (info->si_syscall == SYS_statx) {
    r[REG_RAX] = stat_file(r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], (struct statx *)r[REG_R8]);
  } else {
    pthread_mutex_lock(&lock);
    r[REG_RAX] = list_folder(r[REG_RDI], (char *)r[REG_RSI], (size_t)r[REG_RDX]);
    pthread_mutex_unlock(&lock);
  }
  errno = error;
}

ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
  (void)flags;
  memset(buffer, 7, length);
  return (ssize_t)length;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  (void)clock;
  *time = (struct timespec){.tv_sec = MOMENT};
  return 0;
}

__attribute__((constructor)) static void begin(void) {
  for (struct folder *folder = folders; folder < folders + MOST_FOLDERS; folder++) folder->fd = -1;
  struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_statx, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getdents64, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OURS, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  if (sigaction(SIGSYS, &action, NULL) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    stop("reproducible: this machine does not let a process filter its own system calls\n");
}
