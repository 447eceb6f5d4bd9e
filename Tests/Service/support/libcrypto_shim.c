// Replaces functions of libcrypto in a program that is started with LD_PRELOAD. FIELDSEAL_TEST_LIBCRYPTO lists words, such as
// "no-scrypt", that change the results of these functions. All other calls go to libcrypto.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int asked(const char *word) {
    const char *words = getenv("FIELDSEAL_TEST_LIBCRYPTO");
    return words && strstr(words, word);
}

// With "no-scrypt", no provider has scrypt.
EVP_KDF *EVP_KDF_fetch(OSSL_LIB_CTX *context, const char *algorithm, const char *properties) {
    EVP_KDF *(*real)(OSSL_LIB_CTX *, const char *, const char *) = dlsym(RTLD_NEXT, "EVP_KDF_fetch");
    return asked("no-scrypt") && !strcasecmp(algorithm, "SCRYPT") ? NULL : real(context, algorithm, properties);
}

int EVP_PBE_scrypt(const char *pass, size_t passlen, const unsigned char *salt, size_t saltlen, uint64_t n, uint64_t r, uint64_t p,
                   uint64_t maxmem, unsigned char *key, size_t keylen) {
    int (*real)(const char *, size_t, const unsigned char *, size_t, uint64_t, uint64_t, uint64_t, uint64_t, unsigned char *, size_t) =
        dlsym(RTLD_NEXT, "EVP_PBE_scrypt");
    return asked("no-scrypt") ? 0 : real(pass, passlen, salt, saltlen, n, r, p, maxmem, key, keylen);
}

// With "fips-loaded", libcrypto reports that the FIPS provider is loaded.
int OSSL_PROVIDER_available(OSSL_LIB_CTX *context, const char *name) {
    int (*real)(OSSL_LIB_CTX *, const char *) = dlsym(RTLD_NEXT, "OSSL_PROVIDER_available");
    return asked("fips-loaded") && !strcmp(name, "fips") ? 1 : real(context, name);
}

int EVP_default_properties_is_fips_enabled(OSSL_LIB_CTX *context) {
    int (*real)(OSSL_LIB_CTX *) = dlsym(RTLD_NEXT, "EVP_default_properties_is_fips_enabled");
    return asked("fips-asked-for") ? 1 : real(context);
}

// With "wrong-pbkdf2", "wrong-sha" or "wrong-aes", one bit of a result is wrong.
int PKCS5_PBKDF2_HMAC(const char *pass, int passlen, const unsigned char *salt, int saltlen, int iterations, const EVP_MD *digest,
                      int keylen, unsigned char *key) {
    int (*real)(const char *, int, const unsigned char *, int, int, const EVP_MD *, int, unsigned char *) =
        dlsym(RTLD_NEXT, "PKCS5_PBKDF2_HMAC");
    int done = real(pass, passlen, salt, saltlen, iterations, digest, keylen, key);
    if (asked("wrong-pbkdf2")) key[0] ^= 1;
    return done;
}

int EVP_Digest(const void *data, size_t count, unsigned char *digest, unsigned int *length, const EVP_MD *type, ENGINE *engine) {
    int (*real)(const void *, size_t, unsigned char *, unsigned int *, const EVP_MD *, ENGINE *) = dlsym(RTLD_NEXT, "EVP_Digest");
    int done = real(data, count, digest, length, type, engine);
    if (asked("wrong-sha")) digest[0] ^= 1;
    return done;
}

int EVP_EncryptUpdate(EVP_CIPHER_CTX *context, unsigned char *out, int *count, const unsigned char *in, int length) {
    int (*real)(EVP_CIPHER_CTX *, unsigned char *, int *, const unsigned char *, int) = dlsym(RTLD_NEXT, "EVP_EncryptUpdate");
    int done = real(context, out, count, in, length);
    if (asked("wrong-aes") && *count > 0) out[0] ^= 1;
    return done;
}

// With "wrong-random", the generator returns the same bytes each time.
int RAND_bytes(unsigned char *bytes, int count) {
    int (*real)(unsigned char *, int) = dlsym(RTLD_NEXT, "RAND_bytes");
    if (!asked("wrong-random")) return real(bytes, count);
    memset(bytes, 7, count);
    return 1;
}
