/* Times single system calls for bench/view.py: `view_worker TREE SECONDS` prints a name and nanoseconds a call on each line.
   TREE has `small` (4 KiB) and `big` (at least 17 MiB). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char small[4096], big[4096], none[4096], buffer[131072];
static int big_fd;
static long offset;
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

static void call_getppid(void) { getppid(); }
static void call_stat(void) { must(stat(small, &status) == 0, "stat"); }
static void call_absent(void) { must(stat(none, &status) != 0, "stat of nothing"); }
static void call_fstat(void) { must(fstat(big_fd, &status) == 0, "fstat"); }

static void call_open_read(void) {
  int fd = open(small, O_RDONLY);
  must(fd >= 0 && read(fd, buffer, 4096) == 4096, "open, read");
  close(fd);
}

static void read_at(long size) {
  must(pread(big_fd, buffer, size, offset) == size, "pread");
  offset = (offset + size) & 0xffffff;
}
static void call_pread_4k(void) { read_at(4096); }
static void call_pread_128k(void) { read_at(131072); }

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
  double start = now(), end = start + seconds * 1e9;
  do {
    for (int i = 0; i < 16; i++) call();
    count += 16;
  } while (now() < end);
  printf("%s\t%.0f\n", name, (now() - start) / count);
}

int main(int argc, char **argv) {
  must(argc == 3, "usage: view_worker TREE SECONDS");
  snprintf(small, sizeof small, "%s/small", argv[1]);
  snprintf(big, sizeof big, "%s/big", argv[1]);
  snprintf(none, sizeof none, "%s/none", argv[1]);
  must((big_fd = open(big, O_RDONLY)) >= 0, big);
  double seconds = atof(argv[2]);
  run("getppid (never trapped)", call_getppid, seconds / 4);
  run("stat", call_stat, seconds);
  run("stat, no such file", call_absent, seconds);
  run("open + read 4K + close", call_open_read, seconds);
  run("fstat", call_fstat, seconds);
  run("pread 4K", call_pread_4k, seconds);
  run("pread 128K", call_pread_128k, seconds);
  run("vfork + exec true", call_spawn, seconds);
  return 0;
}
