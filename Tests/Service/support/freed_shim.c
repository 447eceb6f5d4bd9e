// Replaces free() in a program that is started with LD_PRELOAD. FIELDSEAL_TEST_TEXT names a file with a secret text. If a freed block
// contains a part of this text, the function writes a line to the file that FIELDSEAL_TEST_FREED names.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { part = 12, largest = 1 << 16 };
static char text[256];
static ssize_t length;
static int file = -1;
static void (*real)(void *);

static void look(void *block) {
    size_t size = malloc_usable_size(block);
    for (ssize_t start = 0; start + part <= length; start += part) {
        if (size <= largest && memmem(block, size, text + start, part)) {
            if (write(file, "found\n", 6) < 0) abort();
            return;
        }
    }
}

__attribute__((constructor)) static void begin(void) {
    real = dlsym(RTLD_NEXT, "free");
    const char *from = getenv("FIELDSEAL_TEST_TEXT"), *to = getenv("FIELDSEAL_TEST_FREED");
    int source = from ? open(from, O_RDONLY | O_CLOEXEC) : -1;
    if (source < 0 || !to) return;
    length = read(source, text, sizeof text);
    close(source);
    file = open(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (write(file, "watching\n", 9) < 0) abort();
}

void free(void *block) {
    if (!real) real = dlsym(RTLD_NEXT, "free");
    if (block && file >= 0) look(block);
    real(block);
}
