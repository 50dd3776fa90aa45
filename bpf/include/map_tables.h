/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * How a map is declared, and the counters that every program has. BCC makes its maps when it
 * compiles; those go with the compiling process, and the agent makes (or opens) pinned ones of the
 * same name and shape.
 */
#ifndef MESHNET_MAP_TABLES_H
#define MESHNET_MAP_TABLES_H

#include "abi.h"

#define ARRAY_MAP(name, value, size) BPF_TABLE("array", int, value, name, size)
#define HASH_MAP(name, key, value, size) BPF_TABLE("hash", key, value, name, size)
#define LRU_MAP(name, key, value, size) BPF_TABLE("lru_hash", key, value, name, size)
/* The kernel takes tries only without preallocation. */
#define TRIE_MAP(name, key, value, size)                                                           \
	BPF_F_TABLE("lpm_trie", key, value, name, size, BPF_F_NO_PREALLOC)

/* counters: bumped by every program, read by whoever shows them. Per CPU: every packet bumps one. */
BPF_TABLE("percpu_array", int, u64, counters, COUNTERS);

static __always_inline void count(int index)
{
	u64 *counter = counters.lookup(&index);

	if (counter)
		*counter += 1;
}

#endif
