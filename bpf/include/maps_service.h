/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Services as `kernel` mode balances them. Written by the cell's Pilot, read by connect. */
#ifndef MESHNET_MAPS_SERVICE_H
#define MESHNET_MAPS_SERVICE_H

#include "map_tables.h"

/* vip_services: VIP and port -> its table of instances. */
HASH_MAP(vip_services, struct vip_key, struct vip_val, 16384);

/* vip_slots: (table, slot) -> instance. Not preallocated: a service has 1 to some hundred slots. */
BPF_F_TABLE("hash", struct slot_key, struct endpoint, vip_slots, 1048576, BPF_F_NO_PREALLOC);

#endif
