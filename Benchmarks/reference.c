// The reference of cell/seal-open: only the libcrypto calls that sealing and opening a cell need, in a loop. Prints the
// nanoseconds for sealing and opening a 32-byte value once.
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { iv_length = 16, stock = 64, associated_length = 53, value_length = 32 };

static EVP_MAC_CTX *mac;

static void tag(const unsigned char *associated, const unsigned char *iv, const unsigned char *text, size_t length,
                unsigned char out[64]) {
    static const unsigned char bits[8] = {0, 0, 0, 0, 0, 0, 1, 168};
    size_t written;
    if (!EVP_MAC_init(mac, NULL, 0, NULL) || !EVP_MAC_update(mac, associated, associated_length)
        || !EVP_MAC_update(mac, iv, iv_length) || !EVP_MAC_update(mac, text, length) || !EVP_MAC_update(mac, bits, sizeof bits)
        || !EVP_MAC_final(mac, out, &written, 64))
        abort();
}

int main(int count, char **arguments) {
    long rounds = count > 1 ? atol(arguments[1]) : 1000000;
    unsigned char key[64], associated[associated_length] = {1}, value[value_length] = "an ordinary mailbox password 32b";
    unsigned char random[stock * iv_length], cell[128], plain[64], computed[64];
    RAND_bytes(key, sizeof key);
    EVP_CIPHER *aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    mac = EVP_MAC_CTX_new(hmac);
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA512", 0), OSSL_PARAM_construct_end()};
    if (!EVP_MAC_init(mac, key, 32, parameters)) abort();
    EVP_CIPHER_CTX *encryption = EVP_CIPHER_CTX_new(), *decryption = EVP_CIPHER_CTX_new();
    EVP_EncryptInit_ex2(encryption, aes, key + 32, NULL, NULL);
    EVP_DecryptInit_ex2(decryption, aes, key + 32, NULL, NULL);
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (long round = 0; round < rounds; round++) {
        unsigned char *iv = random + round % stock * iv_length;
        int written, last;
        if (round % stock == 0 && RAND_bytes(random, sizeof random) != 1) abort();
        if (!EVP_EncryptInit_ex2(encryption, NULL, NULL, iv, NULL) || !EVP_EncryptUpdate(encryption, cell, &written, value, value_length)
            || !EVP_EncryptFinal_ex(encryption, cell + written, &last))
            abort();
        int length = written + last;
        tag(associated, iv, cell, length, computed);
        memcpy(cell + length, computed, 32);

        tag(associated, iv, cell, length, computed);
        if (CRYPTO_memcmp(computed, cell + length, 32) != 0) abort();
        if (!EVP_DecryptInit_ex2(decryption, NULL, NULL, iv, NULL) || !EVP_DecryptUpdate(decryption, plain, &written, cell, length)
            || !EVP_DecryptFinal_ex(decryption, plain + written, &last) || written + last != value_length)
            abort();
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.1f\n", ((end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec)) / rounds);
}
