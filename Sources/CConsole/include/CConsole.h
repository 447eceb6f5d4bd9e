// The console's templates, style, script and messages, as they were when the program was built.
#pragma once

#include <stddef.h>

struct console_file {
    const char *name;           // such as "Templates/layout.mustache"
    const unsigned char *bytes;
    size_t length;
};

struct console_language {
    const char *name;           // such as "Messages/de.json"
    const char *text;           // JSON, up to its NUL
};

// All files but the messages, and how many there are.
const struct console_file *console_files(size_t *count);
// The messages of each language, and how many languages there are.
const struct console_language *console_languages(size_t *count);
