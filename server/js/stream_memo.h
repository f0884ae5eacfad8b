/*
 * stream_memo.h - a small durable record beside a stream's messages, for who follows it: what a
 * start reads from the messages, and could not if some of them were removed.
 *
 * A store object below the stream: a whole record and additions behind it, which are read as one
 * text. An addition that is made before a removal is durable before it, because both go into the
 * same log. Streams in memory, and those of level async, keep none: there it could be ahead of the
 * messages. On the stream's worker.
 */
#ifndef JS_STREAM_MEMO_H
#define JS_STREAM_MEMO_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdint.h>

struct account;
struct env;
struct stream;

/* All of it as a start found it. Empty: there is none, or somebody owns it. */
struct str stream_memo_text(const struct stream *s);
/* From now on render says it whole when the store asks, with what is durable up to that sequence;
 * the text is not kept any more. NULL: the owner goes, and what it says now becomes the text. */
typedef void (*stream_memo_fn)(void *ctx, uint64_t durable, struct buf *out);
void stream_memo_own(struct stream *s, stream_memo_fn render, void *ctx);
/* By its owner, who says it from now on, too. Rides with the next commit. */
void stream_memo_add(struct stream *s, struct str text);

#endif
