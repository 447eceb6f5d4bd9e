#include <stddef.h>

/* Bytes that compressed data of this length takes at most, in the format of gzip. */
size_t fieldseal_gzip_bound(size_t length);

/* Compresses in the format of gzip (RFC 1952), quickly rather than well. Returns the length, or 0 when it failed. */
size_t fieldseal_gzip(const unsigned char *source, size_t length, unsigned char *destination, size_t capacity);
