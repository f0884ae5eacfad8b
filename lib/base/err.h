/*
 * err.h - the one enumeration of errors that pure code returns; 0 (ERR_OK) is success.
 *
 * I/O completions carry negative errno values instead (lib/io/io.h); err_from_errno folds those
 * that pure code can act on into this enumeration. Texts for protocols live with the drivers.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define ERR(name, text) ERR_##name,
enum err {
#include "lib/base/err.def"
    ERR_COUNT
};
#undef ERR

/* A constant text, for logs. */
const char *err_text(enum err e);
/* Takes errno or its negative: ENOSPC and EDQUOT -> NO_SPACE, ECANCELED -> CANCELED, ..., else IO.
 */
enum err err_from_errno(int errno_value);

#endif
