/*
 * config_file.h - a configuration file (feature map C2, C3) into options.
 */
#ifndef CONFIG_CONFIG_FILE_H
#define CONFIG_CONFIG_FILE_H

#include "lib/base/buf.h"
#include "server/config/options.h"

#include <stdbool.h>

/* Reads, parses and applies the file; blocking. False with "file:line:col: text" in err; options
 * may then be partly changed. */
bool config_file_load(const char *path, struct options *options, struct buf *err);

#endif
