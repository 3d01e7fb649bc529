/* Prints what a program can find out about itself. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char text[4096], name[64] = "";
    struct stat by_link = {0}, by_name = {0};
    int size = readlink("/proc/self/exe", text, sizeof text - 1), open_ones = 0, i;
    text[size > 0 ? size : 0] = 0;
    printf("%s\n", text);
    stat("/proc/self/exe", &by_link);
    stat(text, &by_name);
    printf("same %d %d\n", by_link.st_ino == by_name.st_ino, by_link.st_size == by_name.st_size);
    i = open("/proc/self/exe", O_RDONLY);
    size = read(i, name, 4);
    printf("%.3s %d\n", name + 1, size);
    close(i);
    i = open("/proc/self/comm", O_RDONLY);
    printf("%.*s", (int)read(i, name, sizeof name), name);
    close(i);
    printf("%s %s %d\n", argv[0], strrchr((char *)getauxval(AT_EXECFN), '/'), argc);
    for (i = 3; i < 2000; i++)
        open_ones += fcntl(i, F_GETFD) >= 0;
    printf("open %d, uid %d %d\n", open_ones, getuid(), geteuid());
    return 3;
}
