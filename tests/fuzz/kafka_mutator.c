/*
 * kafka_mutator.c - for libFuzzer: a target called fuzz_kafka_<api> makes requests of that kind
 * alone, of versions that there are.
 */
#include "lib/wire/kafka_bytes.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/kafka_seeds.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

static const struct kafka_api *only;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc;
    only = kafka_api_of_target((*argv)[0]);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    unsigned version;

    (void) seed;
    size = LLVMFuzzerMutate(data, size, max);
    if (only == NULL || size < 4)
        return size;
    kafka_put_u16(data, (uint16_t) only->key);
    version = kafka_get_u16(data + 2);
    /* Requests of unknown versions are all alike. */
    if (version > (unsigned) only->last + 1)
        kafka_put_u16(data + 2, (uint16_t) (version % ((unsigned) only->last + 1)));
    return size;
}
