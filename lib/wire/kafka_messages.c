/* kafka_messages.c - the tables behind kafka_messages.h: a constant one per struct, inside of the
 * function that returns it, so that a row can name its struct. */
#include "lib/wire/kafka_messages.h"

#include "lib/base/assert.h"

#define UP KAFKA_UP
#define NEVER KAFKA_NEVER
#define UNTAGGED KAFKA_UNTAGGED
#define NIL INT64_MAX

#define ROW(what, array, member, from, to, null, number, default_value, sub)                       \
    {.name = #member,                                                                              \
     .type = KAFKA_##what,                                                                         \
     .is_array = array,                                                                            \
     .nil = (default_value) == NIL,                                                                \
     .tag = number,                                                                                \
     .since = from,                                                                                \
     .until = to,                                                                                  \
     .null_since = null,                                                                           \
     .offset = offsetof(struct_of_rows, member),                                                   \
     .value = (default_value) == NIL ? 0 : (default_value),                                        \
     .of = sub},

#define STRUCT(name)                                                                               \
    const struct kafka_struct *kafka_struct_##name(void)                                           \
    {                                                                                              \
        typedef struct kafka_##name struct_of_rows;                                                \
        static const struct kafka_field rows[] = {
#define END(of_name)                                                                               \
    }                                                                                              \
    ;                                                                                              \
    static const struct kafka_struct table = {                                                     \
        .name = #of_name, .fields = rows, .n = ARRAY_LEN(rows), .size = sizeof(struct_of_rows)};   \
    return &table;                                                                                 \
    }
#define FIELD(type, name, since, until, null, tag, value)                                          \
    ROW(type, false, name, since, until, null, tag, value, NULL)
#define LIST(type, name, since, until, null, tag)                                                  \
    ROW(type, true, name, since, until, null, tag, 0, NULL)
#define ARRAY(of, name, since, until, null, tag)                                                   \
    ROW(NESTED, true, name, since, until, null, tag, 0, kafka_struct_##of)
#define NESTED(of, name, since, until, null, tag)                                                  \
    ROW(NESTED, false, name, since, until, null, tag, 0, kafka_struct_##of)
#include "lib/wire/kafka_messages.def"
#undef API

static const struct kafka_api apis[] = {
#define API(NAME, number, text, from, to, flex)                                                    \
    {.name = #text,                                                                                \
     .key = number,                                                                                \
     .first = from,                                                                                \
     .last = to,                                                                                   \
     .flexible = flex,                                                                             \
     .request = kafka_struct_##text##_request,                                                     \
     .response = kafka_struct_##text##_response},
#include "lib/wire/kafka_apis.def"
#undef API
};

const struct kafka_api *kafka_api_of(int key)
{
    static const int8_t at[KAFKA_KEYS] = {
#define API(NAME, number, text, from, to, flex) [number] = 1,
#include "lib/wire/kafka_apis.def"
#undef API
    };

    if (key < 0 || key >= KAFKA_KEYS || at[key] == 0)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(apis); i++)
        if (apis[i].key == key)
            return &apis[i];
    return NULL;
}
