/* group_int.h - what the files of the group machine share: group_core.c, group_member.c,
 * group_join.c. */
#ifndef KAFKA_GROUP_INT_H
#define KAFKA_GROUP_INT_H

#include "server/kafka/group_core.h"

#define NEVER_NS UINT64_MAX

struct group_pending {
    struct list link;
    struct str id;
    uint64_t deadline;
};

/* ---- group_member.c */

struct str group_own(struct str s);
void group_disown(struct str *s);

struct group_pending *group_find_pending(const struct group *g, struct str id);
void group_add_pending(struct group *g, struct str id, uint64_t deadline);
void group_drop_pending(struct group *g, struct group_pending *p);

struct group_member *group_find_instance(const struct group *g, struct str instance);
/* A new id: the instance's or the client's name, and 32 random digits; owned by the caller. */
struct str group_make_id(struct group *g, const struct group_join *q);
struct group_member *group_add(struct group *g, const struct group_join *q, struct str id);
/* Out of the lists, freed; nobody waits for an answer. */
void group_free_member(struct group *g, struct group_member *m);
void group_rename(struct group *g, struct group_member *m, struct str id);
/* Timeouts and protocols are those of q from now on. */
void group_update(struct group *g, struct group_member *m, const struct group_join *q);
bool group_same_protocols(const struct group_member *m, const struct group_join *q);
void group_assign(struct group *g, struct group_member *m, struct str assignment);
/* Would a member with these protocols have one with all others but `self` in common? */
bool group_supports(const struct group *g, const struct group_member *self,
                    const struct group_join *q);
/* What most members like best of what all can. */
struct str group_vote(const struct group *g);
size_t group_protocol_bytes(const struct group_protocol *p, uint32_t n);
/* Is there room in what all groups hold (rules->held) for a member that says this, or for these
 * assignments? */
bool group_may_hold_join(const struct group *g, const struct group_join *q);
bool group_may_hold_sync(const struct group *g, const struct group_sync *q);

/* ---- group_core.c */

/* The member was heard of. A newcomer has all the time of one. */
void group_touch(struct group *g, struct group_member *m, uint64_t now);
void group_set_deadline(struct group *g, uint64_t *deadline, uint64_t at);
/* 0, or why it is not a member by that name. */
int16_t group_check_member(const struct group *g, struct str id, struct str instance,
                           struct group_member **out);
/* PREPARING, if it is not so already. */
void group_begin_joining(struct group *g, uint64_t now);
/* Something about the members has changed: begins a rebalance, or goes on with it. */
void group_rebalance(struct group *g, uint64_t now);
void group_answer_join(struct group *g, struct group_member *m, uint64_t now);
void group_answer_sync(struct group_member *m, int16_t error, const struct group *g);
/* The member goes; who waits for it is told. */
void group_remove(struct group *g, struct group_member *m, int16_t error, uint64_t now);
void group_refuse_join(const struct group *g, void *who, struct str member_id, int16_t error);
void group_refuse_sync(const struct group *g, void *who, int16_t error);

#endif
