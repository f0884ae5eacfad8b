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

#endif
