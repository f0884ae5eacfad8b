/*
 * recover_log.h - the parts of reading commit logs at a start: one file's bytes
 * (recover_log_file.c), what its records say (recover_records.c), which files and generation count
 * (recover_log.c). Blocking; start-up only.
 */
#ifndef STORE_RECOVER_LOG_H
#define STORE_RECOVER_LOG_H

#include "store/recover_impl.h"

/* Of the checksums of this file. */
uint32_t rec_log_salt(const struct recovery *r, const struct rec_log_file *f);
/* f->read bytes of it: the whole file, or all up to a clean close, or to where nothing more is in
 * it. They are the recovery's, until another file is read. */
enum err rec_log_bytes(struct recovery *r, struct rec_log_file *f, uint8_t **bytes);
/* It has neither a header page nor a frame of its own. */
bool rec_log_unused(struct recovery *r, struct rec_log_file *f);
/* Fills in whether it is used, where it begins and what it proves. */
enum err rec_log_examine(struct recovery *r, struct rec_log_file *f);

/* A frame of in->f: its records go where they belong. */
void rec_log_apply(struct rec_reading *in, struct log_frame_view *frame);
/* A record before this place is missing: said, and the file counts as damaged. */
void rec_log_missing(struct recovery *r, struct rec_log_file *f, uint64_t offset, uint64_t id);

#endif
