/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What a container sends: tcx ingress of its veth on the cell's side.
 *
 * Checks that the source is the container's own, puts the app's policy tag into skb->mark (from where
 * it reaches the destination's verdict, over VXLAN-GBP too) and lets out what may leave at all. Who
 * may talk to whom is decided at the destination.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include <uapi/linux/pkt_cls.h>
#include "maps_flow.h"

/* Back into the container, through the egress of the same veth. */
#define TO_CONTAINER 0

static __always_inline int own_source(struct __sk_buff *skb, const struct container *container)
{
	u16 mac[3], own[3];

	__builtin_memcpy(own, container->mac, sizeof(own));
	return !bpf_skb_load_bytes(skb, ETH_SOURCE, mac, sizeof(mac)) && mac[0] == own[0] &&
	       mac[1] == own[1] && mac[2] == own[2];
}

/* Why a new flow to this destination passes (a FROM_PASSED_ counter), or FROM_DENIED_DESTINATION. */
static __always_inline int judge_destination(const struct config *config,
					     const struct flow_key *flow)
{
	/* The resolver: always, for a cell's apps could not start without it. */
	if (flow->dst_be == config->dns_be && flow->dport_be == bpf_htons(53))
		return FROM_PASSED_DNS;
	/* Other containers. The first address of each lease is a cell's VTEP, and so a cell. */
	if ((flow->dst_be & config->overlay_mask_be) == config->overlay_net_be &&
	    (flow->dst_be & config->lease_host_mask_be))
		return FROM_PASSED_OVERLAY;
	/* The cell itself, routers, the underlay and the world. */
	return FROM_DENIED_DESTINATION;
}

static __always_inline int judge(struct __sk_buff *skb, struct packet *packet,
				 const struct container *container)
{
	struct flow_key reverse = reversed(&packet->flow);
	struct flow_val now = {.seen_ns = bpf_ktime_get_ns()};
	int zero = 0, reason;
	struct config *config = configs.lookup(&zero);

	if (!config)
		return drop(FROM_DENIED_DESTINATION);
	/* A SYN is never an answer, or an old entry would let a server call its clients. */
	if (!is_opening(packet)) {
		if (in_alive(&reverse))
			return pass(FROM_PASSED_REPLY);
		if (out_alive(&packet->flow))
			return pass(FROM_PASSED_FLOW);
		/* A connection whose opening was not seen here, or was cut by a changed policy. */
		if (is_tcp(packet)) {
			tell_verdict(packet, container->addr_be, FROM_DENIED_NO_FLOW,
				     container->tag, 0);
			return deny(skb, packet, FROM_DENIED_NO_FLOW, TO_CONTAINER);
		}
	}
	reason = packet->flow.protocol == IPPROTO_ICMP ?
			 FROM_DROPPED_PROTOCOL :
			 judge_destination(config, &packet->flow);
	tell_verdict(packet, container->addr_be, reason, container->tag, 0);
	if (reason == FROM_DROPPED_PROTOCOL)
		return drop(reason);
	if (reason == FROM_DENIED_DESTINATION)
		return deny(skb, packet, reason, TO_CONTAINER);
	ct_out.update(&packet->flow, &now);
	return pass(reason);
}

int tc_from_container(struct __sk_buff *skb)
{
	struct packet packet = {};
	u32 ifindex = skb->ifindex;
	struct container *container = containers.lookup(&ifindex);
	int parsed;

	if (!container)
		return drop(FROM_DROPPED_UNKNOWN_VETH);
	parsed = parse(skb, &packet);
	if (parsed == PARSE_NOT_IPV4)
		return drop(FROM_DROPPED_NOT_IPV4);
	if (parsed == PARSE_FRAGMENT)
		return drop(FROM_DROPPED_FRAGMENT);
	if (!own_source(skb, container))
		return drop(FROM_DROPPED_SPOOFED_MAC);
	if (parsed == PARSE_MALFORMED)
		return drop(FROM_DROPPED_MALFORMED);
	if (packet.flow.src_be != container->addr_be) {
		tell_verdict(&packet, container->addr_be, FROM_DROPPED_SPOOFED_ADDRESS,
			     container->tag, 0);
		return drop(FROM_DROPPED_SPOOFED_ADDRESS);
	}
	if (parsed == PARSE_PROTOCOL)
		return drop(FROM_DROPPED_PROTOCOL);
	/* Made by tc_to_container. No container can set this mark: leaving its namespace clears it. */
	if (skb->mark == RESET_MARK) {
		skb->mark = container->tag;
		return pass(FROM_PASSED_RESET);
	}
	skb->mark = container->tag;
	return judge(skb, &packet, container);
}
