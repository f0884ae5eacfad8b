/* metadata.c - metadata objects are never changed in place: configurations share them. */
#include "server/js/metadata.h"

#include "lib/base/assert.h"
#include "lib/base/str.h"

#include <stdio.h>

#define REQUIRED "_nats.req.level"
#define VERSION "_nats.ver"
#define LEVEL "_nats.level"

static void set(json_t *m, const char *key, const char *text)
{
    if (json_object_set_new(m, key, json_string(text)) != 0)
        FATAL("no memory for metadata");
}

bool metadata_valid(json_t *metadata)
{
    const char *key;
    json_t *value;

    if (metadata == NULL)
        return true;
    if (!json_is_object(metadata))
        return false;
    json_object_foreach(metadata, key, value)
    {
        if (json_is_null(value))
            set(metadata, key, "");
        else if (!json_is_string(value))
            return false;
    }
    return true;
}

static json_t *copy(json_t *metadata)
{
    json_t *m = metadata != NULL ? json_copy(metadata) : json_object();

    if (m == NULL)
        FATAL("no memory for metadata");
    return m;
}

static void set_number(json_t *m, const char *key, unsigned n)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", n);
    set(m, key, text);
}

void metadata_set_required(json_t **metadata, unsigned level)
{
    json_t *m = copy(*metadata);

    json_object_del(m, VERSION);
    json_object_del(m, LEVEL);
    set_number(m, REQUIRED, level);
    json_decref(*metadata);
    *metadata = m;
}

json_t *metadata_for_answer(json_t *metadata, const char *version)
{
    json_t *m = copy(metadata);

    set(m, VERSION, version);
    set_number(m, LEVEL, JS_API_LEVEL);
    return m;
}

unsigned metadata_required(const json_t *metadata)
{
    const char *text = metadata != NULL ? json_string_value(json_object_get(metadata, REQUIRED))
                                        : NULL;
    uint64_t level;

    if (text == NULL)
        return 0;
    return str_to_u64(str_of(text), &level) && level < UINT32_MAX ? (unsigned) level : UINT32_MAX;
}
