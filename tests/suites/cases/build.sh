# A C project of 50 files: gcc and make, four at a time; libraries, and programs executed where they were built.
# needs: gcc make ar
# seconds: 120

make_project() {
  python3 -c '
import sys
count = int(sys.argv[1])
with open("all.h", "w") as header:
    header.write("#include <stdio.h>\n#include <string.h>\n#include <stdlib.h>\n" + "".join(f"int part{n}(int);\n" for n in range(count)))
for n in range(count):
    with open(f"part{n}.c", "w") as file:
        file.write("#include \"all.h\"\n" + "".join(f"static int step{n}_{k}(int x) {{ char b[32]; snprintf(b, sizeof b, \"%d\", x + {k}); return atoi(b) % 97; }}\n" for k in range(20)))
        file.write(f"int part{n}(int x) {{ return " + " + ".join(f"step{n}_{k}(x)" for k in range(20)) + "; }\n")
with open("main.c", "w") as file:
    file.write("#include \"all.h\"\nint main(void) { long sum = 0;\n" + "".join(f"sum += part{n}({n});\n" for n in range(count)) + "printf(\"%ld\\n\", sum); return 0; }\n")' "$1"
  cat > Makefile <<'M'
OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))
program: $(OBJECTS)
	@gcc -o $@ $^
%.o: %.c
	@gcc -O1 -MMD -c $< -o $@
-include $(OBJECTS:.o=.d)
clean:
	rm -f *.o *.d program
.PHONY: clean
M
}

case_make_j4() {
  make_project 50 && make -s -j4 && ./program && ls | wc -l && make -j4 && touch part7.c && make -n | sort && make -s -j4 && ./program && touch all.h && make -n | wc -l
  make -s clean; ls *.o 2>/dev/null | wc -l
}
case_out_of_tree() {
  make_project 6; mkdir ../out; for f in *.c; do gcc -O0 -g -c "$f" -o ../out/"${f%.c}.o" & done; wait; cd ../out && gcc *.o -o prog && ./prog && size -A prog | wc -l && rm -r ../out
}
case_libraries() {
  make_project 8; gcc -fPIC -c part*.c && ar rcs libparts.a part*.o && ar t libparts.a | wc -l && gcc main.c -L. -l:libparts.a -o static_parts && ./static_parts
  gcc -shared -o libparts.so part*.o && gcc main.c -L. -lparts -Wl,-rpath,'$ORIGIN' -o shared_parts && ./shared_parts && LD_LIBRARY_PATH=$PWD ldd shared_parts | grep -c "$PWD" && nm -D libparts.so | grep -c ' T part'
  gcc -static main.c part*.c -o all_static && ./all_static && strip all_static && ./all_static && objcopy --strip-all shared_parts s && ./s && readelf -h s | grep Type
}
case_pipes_and_temporaries() {
  make_project 4; gcc -pipe -c part1.c && gcc -save-temps -c part2.c && ls part2.* && gcc -E main.c | grep -c part && gcc -S part3.c -o - | grep -c call && echo 'int main(void){return 5;}' | gcc -x c - -o five; ./five; echo $?
  gcc -c missing.c; echo 'int x' > bad.c; gcc -c bad.c; ls bad.o; true
}
case_headers_and_symlinks() {
  mkdir -p inc/sub real; echo '#define A 3' > real/a.h; ln -s ../../real/a.h inc/sub/a.h; printf '#include <sub/a.h>\n#include <stdio.h>\nint main(void){printf("%%d %%s\\n",A,__FILE__);}\n' > m.c; ln -s m.c n.c
  gcc -Iinc -M n.c | tr -s ' \\\n' '\n' | grep -v ^/usr; gcc -Iinc n.c -o n && ./n; (cd inc && gcc -I. ../n.c -o ../o) && ./o
}
case_lto_and_profile() {
  make_project 5; gcc -O2 -flto -flto-partition=none *.c -o lto && ./lto; gcc --coverage -O0 *.c -o cov && ./cov && ls *.gcda | wc -l && gcov -n cov-main.gcda 2>/dev/null | head -2 | tail -1
  gcc -O0 -fprofile-generate *.c -o gen && ./gen && gcc -fprofile-use *.c -o use && ./use
}
case_self_replacing() {
  printf 'int main(int c, char **v) { return 3; }\n' > a.c; gcc a.c -o p; ./p; echo $?; cp p q; mv q p; ./p; echo $?; printf '#include <unistd.h>\nint main(void) { sleep(20); }\n' > s.c; gcc s.c -o s; ./s & sleep 0.2
  { : > s; } 2>&1 | sed 's/.*: //'; rm s; kill $!; wait $! 2>/dev/null; ls
}
