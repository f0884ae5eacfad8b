/*
 * wiring.h - the accounts of the options as objects that messages can follow: config/accounts.h on
 * one side, core/account_wiring.h on the other. Main thread.
 */
#ifndef SERVER_WIRING_H
#define SERVER_WIRING_H

#include <stdbool.h>

struct account;
struct account_set;
struct accounts;
struct options;
struct log;
struct wiring;

/* False, with a text in why, when a mapping or an import can not be made a transform of, or the
 * system account is none. */
bool wiring_check(const struct options *o, char why[256]);
/* The same without the system account. */
bool wiring_try(const struct options *o, char why[256]);
/* Makes the accounts that are new, and gives all of them the links, mappings and limits of the
 * options, which were checked. Returns what was there before: free it when every worker has been in
 * its loop once. Accounts that the options do not know any more keep their place, alone. */
struct wiring *wiring_apply(struct account_set *set, const struct options *o);
void wiring_free(struct wiring *w);
/* Operator mode: gives one account what `all` says about it (nothing when it is not there), adding
 * what was before to `before`, a list that wiring_new made. An import that can not be made is left
 * out, with a line in the log. */
struct wiring *wiring_new(void);
void wiring_apply_one(struct account_set *set, const struct options *o, const struct accounts *all,
                      struct account *a, struct wiring *before, struct log *log);

#endif
