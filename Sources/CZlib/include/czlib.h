#include <stddef.h>

/* The maximum size in bytes of `length` bytes of data after compression. */
size_t fieldseal_gzip_bound(size_t length);

/* Compresses data in the gzip format (RFC 1952), at zlib's fastest level. Returns the compressed length; 0 after an error. */
size_t fieldseal_gzip(const unsigned char *source, size_t length, unsigned char *destination, size_t capacity);
