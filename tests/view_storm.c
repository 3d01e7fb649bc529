/* Counts EINTR of calls that Linux never interrupts: `view_storm DIRECTORY SECONDS`, with `file`, `fifo`, `sub` and `program` in
   DIRECTORY. Signals come 3000 times a second from a timer, others from a second process and between threads; no handler has
   SA_RESTART. Prints "ticks N", a line for each call that failed, "native F S W" (what a fifo's open, a sleep and a read of a
   pipe gave while signals came: errno), and "end". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static volatile long ticks;
static volatile int ended;
static pid_t main_thread;

static void tick(int number) { (void)number; ticks++; }
static void deep(int number) { (void)number; struct stat s; stat("/", &s); ticks++; }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static struct { const char *name; long bad; int error; } failed[64];
static void check(const char *name, int result) {
  if (result >= 0) return;
  int error = errno;
  for (int i = 0; i < 64; i++)
    if (!failed[i].name || !strcmp(failed[i].name, name)) {
      failed[i].name = name, failed[i].bad++, failed[i].error = error;
      return;
    }
}

static void timer(long us) {
  struct itimerval t = {{0, us}, {0, us}};
  setitimer(ITIMER_REAL, &t, NULL);
}

static void handle(int number, void (*handler)(int)) {
  struct sigaction a = {.sa_handler = handler};
  sigaction(number, &a, NULL);
}

static void *shooter(void *unused) {
  (void)unused;
  struct timespec pause = {0, 100000};
  while (!ended) {
    syscall(SYS_tgkill, getpid(), main_thread, SIGUSR1);
    nanosleep(&pause, NULL);
  }
  return NULL;
}

static void closed(const char *name, int fd) {
  check(name, fd);
  if (fd >= 0) close(fd);
}

static void once(int round) {
  struct stat s;
  char text[4096];
  check("stat", stat("file", &s));
  check("lstat", lstat("sub/../file", &s));
  check("access", access("file", R_OK));
  closed("open", open("file", O_RDONLY));
  closed("openat", openat(AT_FDCWD, "sub", O_RDONLY | O_DIRECTORY));
  check("chdir", chdir("sub"));
  check("getcwd", getcwd(text, sizeof text) ? 0 : -1);
  check("chdir up", chdir(".."));
  if (readlink("file", text, sizeof text) < 0 && errno == EINTR) check("readlink", -1);
  if (getxattr("file", "user.none", text, sizeof text) < 0 && errno == EINTR) check("getxattr", -1);
  if (stat("none", &s) < 0 && errno == EINTR) check("stat of nothing", -1);
  if (round % 16 == 0) {
    pid_t pid = vfork();
    if (!pid) {
      execl("program", "program", (char *)NULL);
      _exit(errno == EINTR ? 99 : 98);
    }
    int status;
    pid_t got;
    while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR) continue;
    errno = WIFEXITED(status) && WEXITSTATUS(status) == 99 ? EINTR : ENOEXEC;
    check("execve", got == pid && status == 0 ? 0 : -1);
  }
}

int main(int argc, char **argv) {
  if (argc != 3 || chdir(argv[1])) return 2;
  double seconds = atof(argv[2]);
  main_thread = syscall(SYS_gettid);
  handle(SIGALRM, tick);
  handle(SIGUSR1, deep);
  handle(SIGUSR2, deep);
  pid_t parent = getpid(), sender = fork();
  if (!sender) {
    timer(0);
    while (getppid() == parent || getppid() == 42) {
      struct timespec pause = {0, 700000};
      nanosleep(&pause, NULL);
      if (kill(parent, SIGUSR2)) break;
    }
    _exit(0);
  }
  pthread_t thread;
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, NULL);
  pthread_create(&thread, NULL, shooter, NULL);
  pthread_sigmask(SIG_UNBLOCK, &all, NULL);
  timer(333);
  double end = now() + seconds;
  for (int round = 0; now() < end; round++) once(round);

  /* What Linux does interrupt. */
  int pipes[2], fifo, slept, got;
  char byte;
  struct timespec second = {1, 0};
  if (pipe(pipes)) return 2;
  errno = 0, fifo = open("fifo", O_RDONLY) < 0 ? errno : 0;
  errno = 0, slept = nanosleep(&second, NULL) < 0 ? errno : 0;
  errno = 0, got = read(pipes[0], &byte, 1) < 0 ? errno : 0;
  ended = 1;
  kill(sender, SIGKILL);
  while (waitpid(sender, NULL, 0) < 0 && errno == EINTR) continue;
  pthread_join(thread, NULL);
  timer(0);
  printf("ticks %ld\n", ticks);
  for (int i = 0; i < 64 && failed[i].name; i++)
    printf("%s failed %ld times: %s\n", failed[i].name, failed[i].bad, strerror(failed[i].error));
  printf("native %d %d %d\nend\n", fifo, slept, got);
  return 0;
}
