/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What the programs and user space both see: map keys, map values and counters. This file is the
 * truth; meshnet/kernel/bpf/abi.py is generated from it (make abi).
 *
 * Allowed: u8 u16 u32 u64, fixed arrays, structs of those, enums, integer #defines. Padding is
 * written out and zero. Names that end in _be are in network byte order, all others in the host's.
 */
#ifndef MESHNET_ABI_H
#define MESHNET_ABI_H

/* The policy tag's bits in skb->mark: the only ones that VXLAN-GBP carries. */
#define TAG_MASK 0xffff
/*
 * skb->mark of a reset that a program has made. Above the tag, and neither bit 19 nor bit 22, which
 * a VXLAN-GBP header can set on arrival (policy-applied, do-not-learn).
 */
#define RESET_MARK 0x01000000
/* The sidecar's ports: admin, outbound, inbound, metrics. */
#define PROXY_PORT_FIRST 15000
#define PROXY_PORT_LAST 15090
/* Slots of the load balancer's table; prime, and large against the number of routers. */
#define LB_SLOTS 251

/* The one entry of map `configs`: written by the cell agent before the first program is attached. */
struct config {
	u32 vip_net_be;
	u32 vip_mask_be;
	u32 overlay_net_be;
	u32 overlay_mask_be;
	u32 lease_host_mask_be; /* host bits of a cell's lease; all zero = the cell's own VTEP */
	u32 gateway_be;
	u32 dns_be;
	u16 proxy_port_be;
	u16 pad;
};

/* How an app's connections to VIPs are carried. */
enum mode {
	MODE_EBPF,     /* connect goes to the sidecar */
	MODE_IPTABLES, /* netfilter in the container goes to the sidecar */
	MODE_KERNEL,   /* connect goes to an instance */
	MODE_OFF,      /* DNS gives instances' addresses; VIPs are refused */
};

/* Value of `redirects`, by the cookie of a container's network namespace. None = MODE_EBPF. */
struct redirect {
	u32 addr_be; /* the container's own */
	u8 mode;
	u8 sockmap; /* splice the connection of app and sidecar */
	u16 pad;
};

struct endpoint {
	u32 addr_be;
	u16 port_be;
	u16 pad;
};

/* Where a socket was meant to go, and the mode that carried it. */
struct meant {
	u32 addr_be;
	u16 port_be;
	u8 mode;
	u8 sockmap;
};

/* A service that `kernel` mode balances. */
struct vip_key {
	u32 addr_be;
	u16 port_be;
	u8 protocol;
	u8 pad;
};

/*
 * Its table in `vip_slots`. A change fills a new table before it is named here, so that no connect
 * ever sees half of one.
 */
struct vip_val {
	u32 table;
	u32 slots; /* 0 = no instance */
};

struct slot_key {
	u32 table;
	u32 slot;
};

/* Value of `containers`, by the ifindex of the container's veth on the cell's side. */
struct container {
	u32 addr_be;
	u16 tag; /* of the app; 0 = not known yet, no policy matches it */
	u8 mac[6];
};

/* A flow as its opener sends it. */
struct flow_key {
	u32 src_be;
	u32 dst_be;
	u16 sport_be;
	u16 dport_be;
	u8 protocol;
	u8 pad[3];
};

struct flow_val {
	u64 seen_ns; /* CLOCK_MONOTONIC */
};

/* A client's end of a redirected connection, in its network namespace (loopback tuples repeat). */
struct connection_key {
	u64 netns_cookie;
	u32 local_be;
	u32 remote_be;
	u16 local_port_be;
	u16 remote_port_be;
	u32 pad;
};

/* Longest-prefix key of `policy_rules`: a port range is a handful of prefixes. 48..64 bits. */
struct policy_key {
	u32 prefix_bits;
	u16 src_tag_be;
	u16 dst_tag_be;
	u8 protocol;
	u8 pad;
	u16 port_be;
};

enum event_kind {
	EVENT_CONNECT, /* a socket connects: what was meant, where it goes */
	EVENT_REFUSED, /* a hook refused a connect */
	EVENT_VERDICT, /* a tc program let a new flow pass, or denied a packet */
	EVENT_CLOSE,   /* a socket that had connected is closed */
};

/* One record of `flow_events`. Addresses and ports are those of the one who opens the flow. */
struct flow_event {
	u64 time_ns; /* CLOCK_MONOTONIC */
	u64 netns_cookie; /* of the socket's namespace; 0 from a tc program */
	u64 sent_bytes; /* EVENT_CLOSE: acknowledged by the peer */
	u64 received_bytes;
	u64 duration_ns;
	u32 container_be; /* whose socket, or at whose veth */
	u32 src_be;
	u32 dst_be;
	u32 meant_be; /* 0 = the destination itself */
	u16 sport_be;
	u16 dport_be;
	u16 meant_port_be;
	u16 src_tag;
	u16 dst_tag;
	u8 kind;
	u8 protocol;
	u8 reason; /* enum counter; COUNTERS = none */
	u8 mode;
	u8 proxy; /* the socket is the sidecar's */
	u8 spliced; /* its data passes TCP by: TCP's counts of bytes are not the connection's */
};

/* Where the load balancer sends a flow. */
struct lb_router {
	u8 mac[6];
	u16 pad;
};

/* The one entry of map `lb_configs`. */
struct lb_config {
	u32 public_be;
};

/* Indexes of `counters`. One per verdict, so that each drop has a reason. */
enum counter {
	/* connect, sendmsg, bind, getsockopt: the app's and the sidecar's sockets */
	VIP_TO_PROXY,
	VIP_TO_NETFILTER,
	VIP_TO_INSTANCE,
	VIP_REFUSED_PROTOCOL,
	VIP_REFUSED_NO_STATE,
	VIP_REFUSED_NO_INSTANCE,
	VIP_REFUSED_MODE_OFF,
	PROXY_PORT_REFUSED_CONNECT,
	PROXY_PORT_REFUSED_BIND,
	ORIGINAL_DST_ANSWERED,
	ORIGINAL_DST_UNKNOWN,
	SPLICED_TO_PEER,
	/* tc_from_container */
	FROM_PASSED_REPLY,
	FROM_PASSED_FLOW,
	FROM_PASSED_OVERLAY,
	FROM_PASSED_DNS,
	FROM_PASSED_RESET,
	FROM_DROPPED_UNKNOWN_VETH,
	FROM_DROPPED_NOT_IPV4,
	FROM_DROPPED_MALFORMED,
	FROM_DROPPED_FRAGMENT,
	FROM_DROPPED_SPOOFED_MAC,
	FROM_DROPPED_SPOOFED_ADDRESS,
	FROM_DROPPED_PROTOCOL,
	FROM_DENIED_DESTINATION,
	FROM_DENIED_NO_FLOW,
	/* tc_to_container */
	TO_PASSED_REPLY,
	TO_PASSED_CELL,
	TO_PASSED_ROUTER,
	TO_PASSED_POLICY,
	TO_PASSED_ICMP_ERROR,
	TO_PASSED_RESET,
	TO_DROPPED_UNKNOWN_VETH,
	TO_DROPPED_NOT_IPV4,
	TO_DROPPED_MALFORMED,
	TO_DROPPED_FRAGMENT,
	TO_DROPPED_MISROUTED,
	TO_DROPPED_SPOOFED_GATEWAY,
	TO_DROPPED_PROTOCOL,
	TO_DENIED_PROXY_PORT,
	TO_DENIED_NO_TAG,
	TO_DENIED_POLICY,
	/* what became of denied packets */
	RESETS_MADE,
	RESETS_FAILED,
	/* tc_lb */
	LB_NEW_FLOW,
	LB_KNOWN_FLOW,
	LB_MOVED_FLOW,
	LB_NO_ROUTER,
	/* flow_events */
	EVENTS_TOLD,
	EVENTS_LOST,
	COUNTERS,
};

#endif
