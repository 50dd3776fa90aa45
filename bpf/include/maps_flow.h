/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Containers and their flows. Two tables, for revocation to work: with one, the answers of a server
 * would keep admitting the client whose policy is gone.
 */
#ifndef MESHNET_MAPS_FLOW_H
#define MESHNET_MAPS_FLOW_H

#include "map_tables.h"
#include "maps_config.h"
#include "maps_events.h"
#include "parse.h"
#include "reset.h"

/* containers: ifindex of the veth on the cell's side -> whose it is. Written by the cell agent. */
HASH_MAP(containers, u32, struct container, 4096);

/* ct_out: flows that a container of this cell opened. What returns on them is admitted. */
LRU_MAP(ct_out, struct flow_key, struct flow_val, 65536);

/* ct_in: flows admitted to a container of this cell. What it sends on them is an answer. */
LRU_MAP(ct_in, struct flow_key, struct flow_val, 65536);

#define PASS TC_ACT_OK
#define DROP TC_ACT_SHOT
/* As netfilter's conntrack holds a UDP flow that was answered. */
#define UDP_IDLE_NS (120ULL * 1000000000)
/* A flow's entry is written at most this often, so that packets on two CPUs do not fight for it. */
#define REFRESH_NS (1ULL * 1000000000)

static __always_inline int is_alive(struct flow_val *flow, const struct flow_key *key)
{
	u64 now = bpf_ktime_get_ns();

	if (!flow)
		return 0;
	/* TCP flows end by reset, by purge or by LRU: an idle connection is not a dead one. */
	if (key->protocol != IPPROTO_TCP && now - flow->seen_ns > UDP_IDLE_NS)
		return 0;
	if (now - flow->seen_ns > REFRESH_NS)
		flow->seen_ns = now;
	return 1;
}

static __always_inline int in_alive(struct flow_key *key)
{
	return is_alive(ct_in.lookup(key), key);
}

static __always_inline int out_alive(struct flow_key *key)
{
	return is_alive(ct_out.lookup(key), key);
}

static __always_inline int pass(int reason)
{
	count(reason);
	return PASS;
}

static __always_inline int drop(int reason)
{
	count(reason);
	return DROP;
}

/* Tell of a verdict on a packet that was parsed. */
static __always_inline void tell_verdict(const struct packet *packet, u32 container_be, int reason,
					 u16 src_tag, u16 dst_tag)
{
	struct flow_event event = {
		.kind = EVENT_VERDICT,
		.container_be = container_be,
		.src_be = packet->flow.src_be,
		.dst_be = packet->flow.dst_be,
		.sport_be = packet->flow.sport_be,
		.dport_be = packet->flow.dport_be,
		.src_tag = src_tag,
		.dst_tag = dst_tag,
		.protocol = packet->flow.protocol,
		.reason = reason,
	};

	tell(&event);
}

/* A denied segment comes back as a reset where `redirect_flags` says; all else is dropped. */
static __always_inline int deny(struct __sk_buff *skb, struct packet *packet, int reason,
				u64 redirect_flags)
{
	count(reason);
	if (!is_tcp(packet) || is_reset(packet))
		return DROP;
	if (make_reset(skb, packet)) {
		count(RESETS_FAILED);
		return DROP;
	}
	count(RESETS_MADE);
	return bpf_redirect(skb->ifindex, redirect_flags);
}

#endif
