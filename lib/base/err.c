#include "lib/base/err.h"

#include <errno.h>
#include <stddef.h>

const char *err_text(enum err e)
{
    static const char *const texts[] = {
#define ERR(name, text) [ERR_##name] = text,
#include "lib/base/err.def"
#undef ERR
    };

    return (unsigned) e < ERR_COUNT ? texts[e] : "unknown error";
}

enum err err_from_errno(int errno_value)
{
    switch (errno_value < 0 ? -errno_value : errno_value) {
    case 0:
        return ERR_OK;
    case ENOMEM:
    case ENOBUFS:
        return ERR_NO_MEMORY;
    case EINVAL:
        return ERR_INVALID;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EAGAIN:
        return ERR_AGAIN;
    case EMFILE:
    case ENFILE:
        return ERR_LIMIT;
    case EFBIG:
    case EMSGSIZE:
        return ERR_TOO_LARGE;
    case ECANCELED:
        return ERR_CANCELED;
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN:
    case ESHUTDOWN:
        return ERR_CLOSED;
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case EBUSY:
    case EADDRINUSE:
        return ERR_BUSY;
    case EOPNOTSUPP:
    case ENOSYS:
        return ERR_UNSUPPORTED;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    default:
        return ERR_IO;
    }
}
