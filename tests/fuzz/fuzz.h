/*
 * fuzz.h - the one entry point of a fuzz target; called by libFuzzer or by replay.c.
 *
 * Must return 0 for every input and keep nothing between calls. Any crash, sanitizer report or
 * ASSERT is a finding.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A target may have this: it calls each with inputs that are made, beside the files of its corpus.
 * replay.c alone asks for them. */
void fuzz_made_inputs(void (*each)(const char *name, const uint8_t *data, size_t size))
    __attribute__((weak));

#endif
