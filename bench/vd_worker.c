/* Random reads of 4 KiB for bench/vd.py: `vd_worker FILE BYTES SECONDS` prints nanoseconds a pread(2) in the first BYTES of FILE. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv) {
  static char buffer[4096];
  uint64_t state = 88172645463325252ull, blocks;
  double start, spent;
  long count = 0;
  int fd;
  if (argc != 4 || (fd = open(argv[1], O_RDONLY)) < 0) return perror(argv[1]), 1;
  blocks = strtoull(argv[2], NULL, 10) / 4096;
  start = now();
  do {
    for (int i = 0; i < 64; i++, count++) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      if (pread(fd, buffer, 4096, state % blocks * 4096) != 4096) return perror("pread"), 1;
    }
    spent = now() - start;
  } while (spent < atof(argv[3]) * 1e9);
  printf("%.0f\n", spent / count);
  return 0;
}
