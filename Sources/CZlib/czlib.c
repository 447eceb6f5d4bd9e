#include "czlib.h"

#include <limits.h>
#include <zlib.h>

/* A window of 15 bits. The number 16 makes zlib write the gzip format. */
enum { WINDOW_BITS = 15 + 16, MEMORY_LEVEL = 8 };

size_t fieldseal_gzip_bound(size_t length) {
    return compressBound(length) + 18;
}

size_t fieldseal_gzip(const unsigned char *source, size_t length, unsigned char *destination, size_t capacity) {
    if (length > UINT_MAX || capacity > UINT_MAX) return 0;
    z_stream stream = {0};
    if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) return 0;
    stream.next_in = (unsigned char *)source;
    stream.avail_in = (unsigned)length;
    stream.next_out = destination;
    stream.avail_out = (unsigned)capacity;
    int result = deflate(&stream, Z_FINISH);
    size_t written = stream.total_out;
    deflateEnd(&stream);
    return result == Z_STREAM_END ? written : 0;
}
