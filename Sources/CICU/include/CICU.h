// The few functions of ICU that mail needs. ICU's own headers are not seen by Swift: its Foundation has a copy of them, of another version.
#pragma once

#include <stdint.h>

#pragma clang assume_nonnull begin

typedef struct IcuConverter IcuConverter;

IcuConverter *_Nullable icu_converter_open(const char *name);
void icu_converter_close(IcuConverter *converter);

// The number of UTF-16 units; more than `capacity` when they did not fit, negative for an error.
int32_t icu_decode(IcuConverter *converter, uint16_t *units, int32_t capacity, const char *bytes, int32_t length);

// Writes the name of the likeliest charset but UTF-16 and UTF-32, and returns ICU's confidence in it (0 to 100).
int32_t icu_detect(const char *bytes, int32_t length, char *name, int32_t capacity);

// A domain in its other form (UTS 46): with A-labels, or with U-labels. Returns the number of bytes, negative for none.
int32_t icu_domain(const char *domain, int32_t length, int isToASCII, char *result, int32_t capacity);

#pragma clang assume_nonnull end
