/* consumer_int.h - what the files of a consumer group share: consumer_group.c, consumer_topics.c,
 * consumer_assign.c, consumer_reconcile.c. */
#ifndef KAFKA_CONSUMER_INT_H
#define KAFKA_CONSUMER_INT_H

#include "server/kafka/consumer_group.h"

/* ---- consumer_topics.c */

/* The topic that the name means now; NULL: none that anybody reads. */
struct consumer_topic *consumer_topic_named(const struct consumer_group *g, struct str name);
struct consumer_topic *consumer_topic_with_id(const struct consumer_group *g,
                                              const struct kafka_uuid *id);
/* The member's regular expression is this one from now on (empty: none). False: the group's members
 * have too many different ones. */
bool consumer_pattern_set(struct consumer_group *g, struct consumer_member *m, struct str text);
/* Looks up what members want to read; true: something is other than it was. */
bool consumer_topics_look(struct consumer_group *g);
/* Topics that nobody wants and nobody owns a part of go. */
void consumer_topics_sweep(struct consumer_group *g);
void consumer_topics_free(struct consumer_group *g);
/* Its owner from now on; NULL: nobody. */
void consumer_own(struct consumer_group *g, uint64_t part, struct consumer_member *m);
struct consumer_member *consumer_owner(const struct consumer_group *g, uint64_t part);

/* ---- consumer_assign.c */

/* The target of every member, by what they want and what there is; as near to the last one as it
 * can be. */
void consumer_assign(struct consumer_group *g, enum consumer_assignor how);

/* ---- consumer_reconcile.c */

/* As far towards its target as it can go now. owned: what the member says that it owns; NULL: it
 * does not say. */
void consumer_reconcile(struct consumer_group *g, struct consumer_member *m,
                        const struct parts *owned, uint64_t now);
/* All that it has is nobody's. */
void consumer_release(struct consumer_group *g, struct consumer_member *m);

#endif
