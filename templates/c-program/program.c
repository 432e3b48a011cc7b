// Greets everybody its arguments name, and counts the lines of its standard input.

#include <stdio.h>
#include <stdlib.h>

// The host makes a component of this module, and what it adds for that takes its memory from here.
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  (void)old_size;
  if (size == 0) return (void *)align;
  void *memory = realloc(old, size);
  if (memory == NULL) abort();
  return memory;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fputs("name somebody to greet\n", stderr);
    return 1;
  }
  for (int i = 1; i < argc; i++) printf("hello, %s\n", argv[i]);
  long lines = 0;
  for (int c; (c = getchar()) != EOF;) lines += c == '\n';
  printf("%ld lines\n", lines);
  return 0;
}
