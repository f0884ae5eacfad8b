/*
 * txn_word.h - what the coordinator says to partitions after a start: which transactions were open.
 *
 * Every worker asks for the word of an account's coordinator once, when somebody wants to know for
 * the first time what is decided in a partition there. The coordinator answers when it has read its
 * records, and has sent a reminder to each partition that takes part in a transaction that is not
 * over. Tasks between two workers go in order: so who has the answer has the reminders. Without an
 * offsets stream there is no transaction that could have been open.
 */
#ifndef KAFKA_TXN_WORD_H
#define KAFKA_TXN_WORD_H

#include <stdbool.h>

struct coordinator;
struct partition;
struct txn;

/* True: the word is there. Else partition_txns_heard is called, later. */
bool txn_word_heard(struct partition *p);

/* ---- on the coordinator's worker */
/* All partitions of this one. */
void txn_word_remind(const struct txn *t);
/* Who has asked is answered: it has read its records, or goes. */
void txn_word_answer(struct coordinator *c);

#endif
