// The contents of the files under migrations/ at the time at which the program was built.
#pragma once

#include <stddef.h>

struct embedded_file {
    const char *name;           // such as "config/0001_cells.sql"
    const unsigned char *bytes;
    size_t length;
};

// All files, and how many there are.
const struct embedded_file *embedded_migrations(size_t *count);
