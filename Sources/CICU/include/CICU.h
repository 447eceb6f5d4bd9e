// The functions of ICU that the parsing of mail needs. Swift must not import ICU's own headers, because Foundation has a copy of them
// in another version.
#pragma once

#include <stdint.h>

#pragma clang assume_nonnull begin

typedef struct IcuConverter IcuConverter;

IcuConverter *_Nullable icu_converter_open(const char *name);
void icu_converter_close(IcuConverter *converter);

// Converts bytes to UTF-16, and returns the number of units. The number is above `capacity` if the units did not fit, and negative after
// an error.
int32_t icu_decode(IcuConverter *converter, uint16_t *units, int32_t capacity, const char *bytes, int32_t length);

// Writes the name of the likeliest charset to `name`, and returns ICU's confidence in it (0 to 100). Never chooses UTF-8, UTF-16 or
// UTF-32.
int32_t icu_detect(const char *bytes, int32_t length, char *name, int32_t capacity);

// Converts a domain to A-labels if `isToASCII` is 1, or to U-labels if it is 0 (UTS 46). Returns the number of bytes; a negative number
// for an invalid domain.
int32_t icu_domain(const char *domain, int32_t length, int isToASCII, char *result, int32_t capacity);

#pragma clang assume_nonnull end
