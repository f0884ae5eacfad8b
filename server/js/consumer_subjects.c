/*
 * consumer_subjects.c - where acknowledgements and answers to flow control go: the prefixes that a
 * consumer puts before numbers, in one of two forms.
 *
 *     $JS.ACK.<stream>.<consumer>.          $JS.ACK.<domain or _>.<account>.<stream>.<consumer>.
 *     $JS.FC.<stream>.<consumer>.           $JS.FC.<domain or _>.<account>.<stream>.<consumer>.
 *
 * The second one is sent with the feature flag js_ack_fc_v2, and taken always. <account> is
 * nats-server's hash of its name (source_hash).
 */
#include "lib/base/mem.h"
#include "lib/wire/ack_subject.h"
#include "server/js/consumer_int.h"
#include "server/js/source_config.h"

#include <stdio.h>
#include <string.h>

static void second_form(struct consumer *c)
{
    const struct options *o = c->js->env->options;
    char hash[SOURCE_HASH_LEN + 1];
    struct ack_subject names = {
        .domain = o->domain != NULL ? str_of(o->domain) : STR_NONE,
        .account_hash = str_from(hash, SOURCE_HASH_LEN),
        .stream = str_of(c->stream->config.name),
        .consumer = str_of(c->name),
    };

    source_hash(str_of(c->js->account->name), hash);
    c->ack_prefix = mem_alloc(
        ack_prefix_v2_len(names.domain.n, SOURCE_HASH_LEN, names.stream.n, names.consumer.n));
    c->ack_prefix_len = ack_prefix_v2_write(c->ack_prefix, &names);
}

void consumer_subjects_init(struct consumer *c)
{
    struct str stream = str_of(c->stream->config.name), name = str_of(c->name);
    size_t n;

    if (c->js->env->options->flags[FLAG_JS_ACK_FC_V2]) {
        second_form(c);
    } else {
        c->ack_prefix = mem_alloc(ack_prefix_len(stream.n, name.n));
        c->ack_prefix_len = ack_prefix_write(c->ack_prefix, stream, name);
    }
    /* The same behind "$JS.ACK." and "$JS.FC.". */
    n = c->ack_prefix_len + 1;
    c->fc_prefix = mem_alloc(n);
    snprintf(c->fc_prefix, n, "$JS.FC.%.*s", (int) (c->ack_prefix_len - 8), c->ack_prefix + 8);
}

void consumer_subjects_free(struct consumer *c)
{
    mem_free(c->ack_prefix);
    mem_free(c->fc_prefix);
}

/* tail: what follows "$JS.FC.", three tokens or five. Returns it from the stream on. */
struct str consumer_flow_tail(struct str tail)
{
    if (subject_count_tokens(tail) == 5) {
        str_cut(tail, '.', &tail);
        str_cut(tail, '.', &tail);
    }
    return tail;
}
