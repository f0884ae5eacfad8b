/* kafka_error.h - the error codes of the protocol, by name: KAFKA_<NAME>. */
#ifndef KAFKA_KAFKA_ERROR_H
#define KAFKA_KAFKA_ERROR_H

enum kafka_error {
#define KAFKA_ERROR(name, code) KAFKA_##name = (code),
#include "server/kafka/kafka_error.def"
#undef KAFKA_ERROR
};

#endif
