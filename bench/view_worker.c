/* Times single system calls for bench/view.py: `view_worker TREE SECONDS [write]` prints a name and nanoseconds a call on each
   line. TREE has `small` (4 KiB), `medium` (1 MiB) and `big` (at least 17 MiB); with `write` it may be written to. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LARGE 131072
#define SPREAD 1000

static char small[4096], medium[4096], big[4096], none[4096], file[4200], buffer[LARGE];
static int small_fd, medium_fd, big_fd, file_fd;
static long offset, number;
static struct stat status;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static void must(int good, const char *what) {
  if (good) return;
  perror(what);
  exit(1);
}

static const char *new_name(void) {
  snprintf(file, sizeof file, "%s.%ld", none, number++ % SPREAD);
  return file;
}

static void call_getppid(void) { getppid(); }
static void call_stat(void) { must(stat(small, &status) == 0, "stat"); }
static void call_absent(void) { must(stat(none, &status) != 0, "stat of nothing"); }
static void call_relative(void) { must(stat("small", &status) == 0, "stat of a relative name"); }
static void call_fstat(void) { must(fstat(small_fd, &status) == 0, "fstat"); }
static void call_lseek(void) { must(lseek(small_fd, 0, SEEK_SET) == 0, "lseek"); }

static void call_open(void) {
  int fd = open(small, O_RDONLY);
  must(fd >= 0, "open");
  close(fd);
}
static void call_open_read(void) {
  int fd = open(small, O_RDONLY);
  must(fd >= 0 && read(fd, buffer, 4096) == 4096, "open, read");
  close(fd);
}

static void read_at(int fd, long size, long mask) {
  must(pread(fd, buffer, size, offset & mask) == size, "pread");
  offset += size;
}
static void call_pread_small(void) { read_at(small_fd, 4096, 0); }
static void call_pread_medium(void) { read_at(medium_fd, LARGE, 0xfffff); }
static void call_pread_big_4k(void) { read_at(big_fd, 4096, 0xffffff); }
static void call_pread_big(void) { read_at(big_fd, LARGE, 0xffffff); }

static void write_at(long size) {
  must(pwrite(file_fd, buffer, size, offset & 0xfffff) == size, "pwrite");
  offset += size;
}
static void call_pwrite_4k(void) { write_at(4096); }
static void call_pwrite_128k(void) { write_at(LARGE); }

static void call_create(void) {
  const char *name = new_name();
  int fd = open(name, O_CREAT | O_WRONLY | O_EXCL, 0644);
  must(fd >= 0 && write(fd, buffer, 4096) == 4096, "create, write");
  close(fd);
  must(unlink(name) == 0, "unlink");
}
static void call_unlink(void) {
  const char *name = new_name();
  must(mknod(name, S_IFREG | 0644, 0) == 0 && unlink(name) == 0, "mknod, unlink");
}
static void call_rename(void) {
  int back = number++ % 2;
  must(rename(back ? none : file, back ? file : none) == 0, "rename");
}

static void call_spawn(void) {
  pid_t pid = vfork();
  if (pid == 0) {
    execl("/bin/true", "true", NULL);
    _exit(1);
  }
  must(pid > 0 && waitpid(pid, NULL, 0) == pid, "vfork");
}

static void run(const char *name, void (*call)(void), double seconds) {
  long count = 0;
  call();
  offset = 0;
  double start = now(), end = start + seconds * 1e9;
  do {
    for (int i = 0; i < 16; i++) call();
    count += 16;
  } while (now() < end);
  printf("%s\t%.1f\n", name, (now() - start) / count);
}

static int opened(const char *name, int flags) {
  int fd = open(name, flags, 0644);
  must(fd >= 0, name);
  return fd;
}

static void run_writing(const char *tree, double seconds) {
  snprintf(file, sizeof file, "%s/written", tree);
  file_fd = opened(file, O_CREAT | O_RDWR | O_TRUNC);
  for (offset = 0; offset < 1 << 20;) write_at(LARGE);
  run("pwrite 4K", call_pwrite_4k, seconds);
  run("pwrite 128K", call_pwrite_128k, seconds);
  close(file_fd);
  unlink(file);
  run("create + write 4K + close + unlink", call_create, seconds);
  run("mknod + unlink", call_unlink, seconds);
  close(opened(file, O_CREAT | O_WRONLY));
  number = 0;
  run("rename", call_rename, seconds);
  unlink(file);
  unlink(none);
}

int main(int argc, char **argv) {
  must(argc == 3 || argc == 4, "usage: view_worker TREE SECONDS [write]");
  snprintf(small, sizeof small, "%s/small", argv[1]);
  snprintf(medium, sizeof medium, "%s/medium", argv[1]);
  snprintf(big, sizeof big, "%s/big", argv[1]);
  snprintf(none, sizeof none, "%s/none", argv[1]);
  small_fd = opened(small, O_RDONLY);
  medium_fd = opened(medium, O_RDONLY);
  big_fd = opened(big, O_RDONLY);
  must(chdir(argv[1]) == 0, "chdir");
  double seconds = atof(argv[2]);
  run("getppid (never trapped)", call_getppid, seconds / 4);
  run("stat", call_stat, seconds);
  run("stat, no such file", call_absent, seconds);
  run("stat, relative name", call_relative, seconds);
  run("open + close", call_open, seconds);
  run("open + read 4K + close", call_open_read, seconds);
  run("fstat", call_fstat, seconds);
  run("lseek", call_lseek, seconds);
  run("pread 4K", call_pread_small, seconds);
  run("pread 128K of 1 MiB", call_pread_medium, seconds);
  run("pread 4K of 24 MiB", call_pread_big_4k, seconds);
  run("pread 128K of 24 MiB", call_pread_big, seconds);
  if (argc == 4) run_writing(argv[1], seconds);
  run("vfork + exec true", call_spawn, seconds);
  return 0;
}
