/*
 * lane_item.h - the head of what travels through a lane (lib/io/lane.h) from one worker to another.
 *
 * It lies in base so that the router can build runs without seeing lib/io.
 */
#ifndef BASE_LANE_ITEM_H
#define BASE_LANE_ITEM_H

#include <stdint.h>

/* Embed as the first member of what travels. */
struct lane_item {
    struct lane_item *next;
    uint32_t bytes; /* for the mark and the memory budget */
    uint16_t kind;  /* the users' */
};

#endif
