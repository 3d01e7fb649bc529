/* The page that every process of a view has at BASE: it decides whether a call with a name may be made past the supervisor.
   `make.py` compiles it and writes the bytes into code_x86_64.py; nothing is compiled at run time.

   The process calls `entry` with the registers of a system call, and gets the call's result, as from the instruction `syscall`:
   only rax, rcx and r11 change.  The filter knows the address of the one in `gate`, and lets it pass; a call that may concern
   something virtual is made by the one in `entry`, and is trapped as it always was.  */

typedef unsigned int u32;
typedef unsigned long u64;

enum { OFF, ALL, TABLE };                 /* mode */
enum { SLOTS = 1024, WAYS = 4, LONGEST = 240, LONGEST_NAME = 1024 };

/* name: of the directory, filled up with zeros to a multiple of eight; behind it the names in it that may not pass, each with a
   zero, and one more zero.  */
struct slot { u32 sequence, generation, length, unused; u64 name[LONGEST / 8]; };
struct shared { u32 mode, generation, plain, unused; char pad[4080]; struct slot slots[SLOTS]; };
extern const volatile struct shared shared;

enum { SYS_open = 2, SYS_stat = 4, SYS_lstat = 6, SYS_rt_sigprocmask = 14, SYS_access = 21, SYS_getcwd = 79, SYS_readlink = 89,
       SYS_openat = 257, SYS_newfstatat = 262, SYS_readlinkat = 267, SYS_faccessat = 269, SYS_statx = 332, SYS_faccessat2 = 439 };
enum { AT_FDCWD = -100, AT_SYMLINK_NOFOLLOW = 0x100, AT_EMPTY_PATH = 0x1000, O_CREAT = 0100, O_EXCL = 0200, O_NOFOLLOW = 0400000 };
enum { EFAULT = 14 };

asm(".section .first, \"ax\"\n"
    "gate:  syscall\n"
    "       ret\n"
    "       .balign 16\n"
    "entry: push %rdi; push %rsi; push %rdx; push %r10; push %r8; push %r9; push %rax\n"
    "       mov %rsp, %rdi; push %rbp; mov %rsp, %rbp; and $-16, %rsp\n"
    "       call decide\n"
    "       mov %rbp, %rsp; pop %rbp; test %eax, %eax\n"
    "       pop %rax; pop %r9; pop %r8; pop %r10; pop %rdx; pop %rsi; pop %rdi\n"
    "       jnz gate\n"
    "       push %rax; .byte 0x8b, 0x44, 0x24, 0\n" /* mov 0(%rsp), %eax: tells the number (kernel/interrupted.py) */
    "       syscall\n"
    "       lea 8(%rsp), %rsp\n"
    "       ret\n"
    ".text");

struct registers { long rax, r9, r8, r10, rdx, rsi, rdi; };

static inline long passing(long number, long a, long b, long c, long d)
{
  register long r10 asm("r10") = d;
  long result;
  asm volatile("call gate" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return result;
}

/* Whether a process may read there: the kernel tells, where we would die. */
static inline int readable(const char *at)
{
  return passing(SYS_rt_sigprocmask, -1, (u64)at & ~7ul, 0, 8) != -EFAULT;
}

/* Whether a list of names has one.  Its writer may be at work: the list ends with the slot in any case.  */
static inline int among(const volatile char *list, const volatile char *end, const char *name)
{
  while (list < end && *list) {
    u32 i = 0;
    while (list < end && *list && *list == name[i])
      list++, i++;
    if (list >= end || (!*list && !name[i]))
      return 1;
    while (list < end && *list)
      list++;
    list++;
  }
  return 0;
}

/* Whether the entry `entry` of the directory `name` may pass.  */
static inline int known(const u64 *name, u32 length, const char *entry)
{
  u64 hash = length;
  u32 words = (length + 7) / 8, generation = shared.generation;
  for (u32 i = 0; i < words; i++)
    hash = (hash ^ name[i]) * 0x9E3779B97F4A7C15ul, hash ^= hash >> 32;
  for (u32 way = 0; way < WAYS; way++) {
    const volatile struct slot *slot = &shared.slots[(hash ^ way) % SLOTS];
    u32 sequence = slot->sequence, i = 0;
    if (sequence & 1 || slot->generation != generation || slot->length != length)
      continue;
    while (i < words && slot->name[i] == name[i])
      i++;
    if (i < words)
      continue;
    int refused = among((const char *)&slot->name[words], (const char *)(slot + 1), entry);
    if (slot->sequence == sequence && shared.generation == generation)
      return !refused;
  }
  return 0;
}

__attribute__((used)) int decide(const struct registers *call)
{
  int directory = AT_FDCWD, follow = 1;
  const char *name = (const char *)call->rdi;
  long flags = 0;
  u64 buffer[(LONGEST + 16) / 8];
  char *text = (char *)buffer, target;
  long length = 0, slash = -1, end;

  switch (call->rax) {
  case SYS_open: flags = call->rsi; break;
  case SYS_stat: case SYS_access: break;
  case SYS_lstat: case SYS_readlink: follow = 0; break;
  case SYS_openat: case SYS_newfstatat: case SYS_readlinkat: case SYS_faccessat: case SYS_statx: case SYS_faccessat2:
    directory = call->rdi;
    name = (const char *)call->rsi;
    break;
  default: return 0;
  }
  switch (call->rax) {
  case SYS_openat: flags = call->rdx; /* fall through */
  case SYS_open: follow = !(flags & O_NOFOLLOW || (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)); break;
  case SYS_newfstatat: case SYS_faccessat2: flags = call->r10; break;
  case SYS_statx: flags = call->rdx; break;
  case SYS_readlinkat: follow = 0; break;
  }
  if (call->rax >= SYS_newfstatat) {
    if (flags & AT_EMPTY_PATH)  /* fstat, which the filter knows to be harmless */
      return 0;
    follow = follow && !(flags & AT_SYMLINK_NOFOLLOW);
  }
  if (shared.mode == OFF || (u64)name < 65536 || (u64)name >> 47 || !readable(name))
    return 0;
  for (end = 0; name[end]; end++) {
    if (name[end] == '/')
      slash = end;
    if (end == LONGEST_NAME || (((u64)name + end + 1) % 4096 == 0 && !readable(name + end + 1)))
      return 0;
  }
  if (shared.mode == ALL)  /* in /proc, maps tell of the C library as it is called */
    return !(name[0] == '/' && name[1] == 'p' && name[2] == 'r' && name[3] == 'o' && name[4] == 'c');

  /* A name that ends with a slash, or with a dot, is the directory's own.  */
  int itself = slash + 1 == end || (slash + 2 == end && name[slash + 1] == '.');
  if (!end || (slash + 3 == end && name[slash + 1] == '.' && name[slash + 2] == '.'))
    return 0;

  if (name[0] != '/') {
    if (shared.plain)
      return 0;
    if (directory == AT_FDCWD)
      length = passing(SYS_getcwd, (long)text, LONGEST, 0, 0) - 1;
    else {
      char path[32] = "/proc/thread-self/fd/";
      u32 number = directory, digits = 1, at = 21;
      if (directory < 0)
        return 0;
      for (u32 rest = number; rest >= 10; rest /= 10)
        digits++;
      for (u32 i = digits; i--; number /= 10)
        path[at + i] = '0' + number % 10;
      path[at + digits] = 0;
      length = passing(SYS_readlink, (long)path, (long)text, LONGEST, 0);
    }
    if (length <= 0 || length >= LONGEST || text[0] != '/')
      return 0;
    if (slash > 0)
      text[length++] = '/';
  }
  if (slash > 0) {
    if (length + slash > LONGEST)
      return 0;
    for (long i = 0; i < slash; i++)
      text[length++] = name[i];
  }
  for (long i = length; i % 8; i++)
    text[i] = 0;
  if (!known(buffer, length, name + slash + 1))
    return 0;
  if (itself || !follow)
    return 1;
  if (shared.plain)
    return 0;
  if (passing(SYS_readlinkat, directory, (long)name, (long)&target, 1) < 0)
    return 1;

  /* A link: the whole name may be known, with a zero behind it.  */
  if (length + end - slash + 1 > LONGEST)
    return 0;
  text[length++] = '/';
  for (long i = slash + 1; i < end; i++)
    text[length++] = name[i];
  text[length++] = 0;
  for (long i = length; i % 8; i++)
    text[i] = 0;
  return known(buffer, length, "");
}
