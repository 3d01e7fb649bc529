/* What is appended to a copy of the C library.  Every patched system call comes to `common` with the registers set for it; the
   numbers are filled in by library.py: 0x7a7a7a7a is the distance of the flag, 0x7b7b7b7b the segment of shared memory that
   holds the page.

   flag: 0 at the start of a program, 1: the page is there, 2: it cannot be had.  */
        .globl start
start:
common: lea     0x7a7a7a7a(%rip), %r11
        cmpl    $1, (%r11)
        jne     1f
        movabs  $ENTRY, %r11
        jmp     *%r11
1:      cmpl    $0, (%r11)
        je      2f
        push    %rax
        .byte   0x8b, 0x44, 0x24, 0     /* mov 0(%rsp), %eax: tells the number (kernel/interrupted.py) */
        syscall
        lea     8(%rsp), %rsp
        ret

2:      push    %rdi; push %rsi; push %rdx; push %rax
        mov     $30, %eax               /* shmat(id, BASE, SHM_RDONLY | SHM_EXEC): only where nothing else lies */
        mov     $0x7b7b7b7b, %edi
        movabs  $BASE, %rsi
        mov     $0x9000, %edx
        syscall
        lea     0x7a7a7a7a(%rip), %r11
        cmp     %rsi, %rax
        je      3f
        xor     %eax, %eax
        mov     $2, %ecx
        lock cmpxchgl %ecx, (%r11)      /* not where another thread has just got it */
        jmp     4f
3:      movl    $1, (%r11)
4:      pop     %rax; pop %rdx; pop %rsi; pop %rdi
        jmp     common
