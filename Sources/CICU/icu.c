#include "CICU.h"

#include <unicode/ucnv.h>
#include <unicode/ucsdet.h>
#include <unicode/uidna.h>

IcuConverter *icu_converter_open(const char *name) {
    UErrorCode status = U_ZERO_ERROR;
    UConverter *converter = ucnv_open(name, &status);
    return U_FAILURE(status) ? NULL : (IcuConverter *)converter;
}

void icu_converter_close(IcuConverter *converter) { ucnv_close((UConverter *)converter); }

int32_t icu_decode(IcuConverter *converter, uint16_t *units, int32_t capacity, const char *bytes, int32_t length) {
    UErrorCode status = U_ZERO_ERROR;
    int32_t count = ucnv_toUChars((UConverter *)converter, (UChar *)units, capacity, bytes, length, &status);
    return U_FAILURE(status) && status != U_BUFFER_OVERFLOW_ERROR ? -1 : count;
}

int32_t icu_detect(const char *bytes, int32_t length, char *name, int32_t capacity) {
    UErrorCode status = U_ZERO_ERROR;
    UCharsetDetector *detector = ucsdet_open(&status);
    if (U_FAILURE(status)) return 0;
    int32_t found = 0, confidence = 0;
    ucsdet_setText(detector, bytes, length, &status);
    const UCharsetMatch **matches = ucsdet_detectAll(detector, &found, &status);
    for (int32_t index = 0; U_SUCCESS(status) && index < found && confidence == 0; index++) {
        const char *match = ucsdet_getName(matches[index], &status);
        if (U_FAILURE(status) || match[0] == 'U') continue;
        int32_t end = 0;
        for (; match[end] != 0 && end < capacity - 1; end++) name[end] = match[end];
        name[end] = 0;
        confidence = ucsdet_getConfidence(matches[index], &status);
    }
    ucsdet_close(detector);
    return U_SUCCESS(status) ? confidence : 0;
}

int32_t icu_domain(const char *domain, int32_t length, int isToASCII, char *result, int32_t capacity) {
    UErrorCode status = U_ZERO_ERROR;
    UIDNA *idna = uidna_openUTS46(UIDNA_NONTRANSITIONAL_TO_ASCII | UIDNA_NONTRANSITIONAL_TO_UNICODE, &status);
    if (U_FAILURE(status)) return -1;
    UIDNAInfo info = UIDNA_INFO_INITIALIZER;
    int32_t count = isToASCII ? uidna_nameToASCII_UTF8(idna, domain, length, result, capacity, &info, &status)
                              : uidna_nameToUnicodeUTF8(idna, domain, length, result, capacity, &info, &status);
    uidna_close(idna);
    return U_FAILURE(status) || info.errors != 0 ? -1 : count;
}
