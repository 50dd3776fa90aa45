/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What a container is sent: tcx egress of its veth on the cell's side. Denied unless it answers the
 * container, comes from the cell or a router, or a policy says so; the policy is asked for every
 * packet, so that taking it away cuts what is established.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include <uapi/linux/pkt_cls.h>
#include "maps_flow.h"
#include "ports.h"

/* routers: underlay address -> 1. Written by the cell agent. */
HASH_MAP(routers, u32, u8, 1024);

/* policy_rules: (source tag, destination tag, protocol, port prefix). Written by the policy agent. */
TRIE_MAP(policy_rules, struct policy_key, u32, 262144);

/* Into the cell's stack, as if the container had sent it: routed and un-NATed to the sender. */
#define TO_SENDER BPF_F_INGRESS

static __always_inline int admit(struct packet *packet, int reason, u16 src_tag,
				 const struct container *container)
{
	struct flow_val now = {.seen_ns = bpf_ktime_get_ns()};

	if (!is_reset(packet) && !in_alive(&packet->flow)) {
		ct_in.update(&packet->flow, &now);
		tell_verdict(packet, container->addr_be, reason, src_tag, container->tag);
	}
	return pass(reason);
}

static __always_inline int refuse(struct __sk_buff *skb, struct packet *packet, int reason,
				  u16 src_tag, const struct container *container)
{
	tell_verdict(packet, container->addr_be, reason, src_tag, container->tag);
	return deny(skb, packet, reason, TO_SENDER);
}

static __always_inline int policy_allows(u16 src_tag, u16 dst_tag, const struct flow_key *flow)
{
	struct policy_key key = {
		.prefix_bits = 64,
		.src_tag_be = bpf_htons(src_tag),
		.dst_tag_be = bpf_htons(dst_tag),
		.protocol = flow->protocol,
		.port_be = flow->dport_be,
	};

	return policy_rules.lookup(&key) != NULL;
}

/* From the cell's own stack: its addresses on a packet that came in somewhere are forged. */
static __always_inline int judge_cell(struct __sk_buff *skb, struct packet *packet,
				      const struct container *container)
{
	if (skb->ingress_ifindex)
		return drop(TO_DROPPED_SPOOFED_GATEWAY);
	if (packet->flow.protocol != IPPROTO_ICMP)
		return admit(packet, TO_PASSED_CELL, 0, container);
	/* Path MTU discovery and "nobody listens there". */
	if (packet->icmp_type == ICMP_UNREACHABLE || packet->icmp_type == ICMP_TIME_EXCEEDED)
		return pass(TO_PASSED_ICMP_ERROR);
	return drop(TO_DROPPED_PROTOCOL);
}

static __always_inline int judge(struct __sk_buff *skb, struct packet *packet,
				 const struct container *container)
{
	u16 src_tag = skb->mark & TAG_MASK;

	/* Metrics are the cell's business, admin and both proxy ports nobody's. */
	if (is_proxy_port(packet->flow.dport_be))
		return refuse(skb, packet, TO_DENIED_PROXY_PORT, src_tag, container);
	if (!src_tag) {
		/* Only containers are tagged: on a tagged packet a router's address is forged. */
		if (routers.lookup(&packet->flow.src_be))
			return admit(packet, TO_PASSED_ROUTER, src_tag, container);
		return refuse(skb, packet, TO_DENIED_NO_TAG, src_tag, container);
	}
	if (policy_allows(src_tag, container->tag, &packet->flow))
		return admit(packet, TO_PASSED_POLICY, src_tag, container);
	ct_in.delete(&packet->flow);
	return refuse(skb, packet, TO_DENIED_POLICY, src_tag, container);
}

int tc_to_container(struct __sk_buff *skb)
{
	struct packet packet = {};
	struct flow_key reverse;
	u32 ifindex = skb->ifindex;
	struct container *container;
	int zero = 0, parsed;
	struct config *config = configs.lookup(&zero);

	/* Made by tc_from_container; VXLAN sets other bits, and nobody else sets any. */
	if (skb->mark == RESET_MARK)
		return pass(TO_PASSED_RESET);
	container = containers.lookup(&ifindex);
	if (!container || !config)
		return drop(TO_DROPPED_UNKNOWN_VETH);
	parsed = parse(skb, &packet);
	if (parsed == PARSE_NOT_IPV4)
		return drop(TO_DROPPED_NOT_IPV4);
	if (parsed == PARSE_FRAGMENT)
		return drop(TO_DROPPED_FRAGMENT);
	if (parsed == PARSE_MALFORMED)
		return drop(TO_DROPPED_MALFORMED);
	if (packet.flow.dst_be != container->addr_be)
		return drop(TO_DROPPED_MISROUTED);
	if (parsed == PARSE_PROTOCOL)
		return drop(TO_DROPPED_PROTOCOL);
	reverse = reversed(&packet.flow);
	/* A SYN is never an answer, see tc_from_container. */
	if (!is_opening(&packet) && out_alive(&reverse))
		return pass(TO_PASSED_REPLY);
	if (packet.flow.src_be == config->gateway_be || packet.flow.src_be == config->dns_be)
		return judge_cell(skb, &packet, container);
	if (packet.flow.protocol == IPPROTO_ICMP)
		return drop(TO_DROPPED_PROTOCOL);
	return judge(skb, &packet, container);
}
