// The console's templates, messages, style and script, as they were when the program was built.
#pragma once

#include <stddef.h>

struct console_file {
    const char *name;           // such as "Templates/layout.mustache"
    const unsigned char *bytes;
    size_t length;
};

// All files, and how many there are.
const struct console_file *console_files(size_t *count);
