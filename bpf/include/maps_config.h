/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
#ifndef MESHNET_MAPS_CONFIG_H
#define MESHNET_MAPS_CONFIG_H

#include "map_tables.h"

/* configs: one entry, written by the cell agent before it attaches anything. */
ARRAY_MAP(configs, struct config, 1);

#endif
