/*
 * config_file.h - a configuration file into options.
 */
#ifndef CONFIG_CONFIG_FILE_H
#define CONFIG_CONFIG_FILE_H

#include "lib/base/buf.h"
#include "server/config/options.h"

#include <stdbool.h>

struct conf_tree;

/* The tree of a parsed file into options; pure. False with "file:line:col: text" in err; options
 * may then be partly changed. */
bool config_file_apply(const struct conf_tree *tree, struct options *options, struct buf *err);
/* Reads, parses and applies the file; blocking. Fails like config_file_apply. */
bool config_file_load(const char *path, struct options *options, struct buf *err);

#endif
