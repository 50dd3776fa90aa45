/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The load balancer: tcx ingress of its underlay interface. A connection to the public address is
 * sent on to a router by rewriting MAC addresses only. Every router has the address on its loopback
 * and answers the client directly, so clients' addresses stay visible and answers do not pass here.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include <uapi/linux/pkt_cls.h>
#include "map_tables.h"
#include "parse.h"

/* lb_configs: one entry, written by the lb daemon before it attaches. */
ARRAY_MAP(lb_configs, struct lb_config, 1);

/* lb_routers: address -> where on the link. Written by the lb daemon, only routers that are well. */
HASH_MAP(lb_routers, u32, struct lb_router, 256);

/* lb_slots: hash of a flow -> router's address, 0 = none. Filled by the lb daemon as in Maglev. */
ARRAY_MAP(lb_slots, u32, LB_SLOTS);

/* lb_flows: connection -> router's address, so that connections stay when routers come and go. */
LRU_MAP(lb_flows, struct flow_key, u32, 262144);

#define PASS TC_ACT_OK

/* Bob Jenkins' one-at-a-time mix, by words: spread is what counts, not strength. */
static __always_inline u32 hash_flow(const struct flow_key *flow)
{
	u32 words[3] = {flow->src_be, flow->dst_be, flow->sport_be << 16 | flow->dport_be};
	u32 hash = 0x9e3779b9;

#pragma unroll
	for (int i = 0; i < 3; i++) {
		hash ^= words[i];
		hash *= 0x85ebca6b;
		hash ^= hash >> 13;
		hash *= 0xc2b2ae35;
		hash ^= hash >> 16;
	}
	return hash;
}

/* The router of a known flow, else of the flow's slot; NULL without any. */
static __always_inline struct lb_router *choose(struct flow_key *flow)
{
	u32 *address = lb_flows.lookup(flow);
	struct lb_router *router;
	int known = address != NULL, slot;

	if (known) {
		router = lb_routers.lookup(address);
		if (router) {
			count(LB_KNOWN_FLOW);
			return router;
		}
	}
	slot = hash_flow(flow) % LB_SLOTS;
	address = lb_slots.lookup(&slot);
	if (!address || !*address)
		return NULL;
	router = lb_routers.lookup(address);
	if (!router)
		return NULL;
	lb_flows.update(flow, address);
	count(known ? LB_MOVED_FLOW : LB_NEW_FLOW);
	return router;
}

int tc_lb(struct __sk_buff *skb)
{
	struct packet packet = {};
	struct lb_router *router;
	u8 macs[12];
	int zero = 0;
	struct lb_config *config = lb_configs.lookup(&zero);

	/* Everything else, ICMP echo and ARP too, is the stack's. Not for us: a flooded frame. */
	if (!config || skb->pkt_type != 0 || parse(skb, &packet) != PARSE_OK || !is_tcp(&packet) ||
	    packet.flow.dst_be != config->public_be)
		return PASS;
	router = choose(&packet.flow);
	if (!router) {
		/* The stack has no listener and resets: clients fail at once. */
		count(LB_NO_ROUTER);
		return PASS;
	}
	if (bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)))
		return PASS;
	__builtin_memcpy(macs + 6, macs, 6);
	__builtin_memcpy(macs, router->mac, 6);
	bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0);
	return bpf_redirect(skb->ifindex, 0);
}
