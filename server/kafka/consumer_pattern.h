/*
 * consumer_pattern.h - a regular expression over names of topics: what a member of a consumer group
 * wants to read instead of a list. A name matches as a whole. Pure.
 *
 * What there is: characters, `.`, classes ([a-z0-9_], [^.]), \d \w \s \D \W \S, a backslash before
 * punctuation, groups (( ) and (?: )), |, * + ? {n} {n,} {n,m} (a ? behind them changes nothing),
 * ^ $ \A \z. Anything else is refused. Matching takes time by the length of the name times that of
 * the program, whatever the expression.
 */
#ifndef KAFKA_CONSUMER_PATTERN_H
#define KAFKA_CONSUMER_PATTERN_H

#include "lib/base/str.h"

#include <stdbool.h>

/* Longest expression; most steps of its program; deepest groups. */
#define PATTERN_TEXT_MAX 1024u
#define PATTERN_STEPS_MAX 512
#define PATTERN_DEPTH_MAX 32

struct pattern;

/* NULL: not one, or too large. */
struct pattern *pattern_compile(struct str text);
void pattern_free(struct pattern *p);
bool pattern_matches(const struct pattern *p, struct str name);

#endif
