/*
 * dn.h - distinguished names as text (RFC 4514), compared as certificates' subjects are with names
 * of users: "CN=joe,OU=a+L=b,O=x". Parts are compared in order, or in any; the attributes of one
 * part in any; types without case, values exactly.
 *
 * Types are CN, SERIALNUMBER, C, L, ST, STREET, O, OU, POSTALCODE, DC: a name with another one, or
 * with a BER value ("#..."), is none. At most 32 parts of 8 attributes.
 */
#ifndef AUTH_DN_H
#define AUTH_DN_H

#include "lib/base/buf.h"

#include <stdbool.h>

#define DN_PARTS_MAX 32u
#define DN_ATTRIBUTES_MAX 8u

struct dn_attribute {
    struct buf type, value;
};

struct dn_part {
    struct dn_attribute list[DN_ATTRIBUTES_MAX];
    size_t n;
};

struct dn {
    struct dn_part parts[DN_PARTS_MAX];
    size_t n;
};

/* False, and empty, when the text is no such name. */
bool dn_parse(struct str text, struct dn *out);
void dn_free(struct dn *d);
/* in_order: each part at its place; else the same parts anywhere. */
bool dn_same(const struct dn *a, const struct dn *b, bool in_order);

#endif
