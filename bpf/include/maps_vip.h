/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The redirection of an app's connections to its sidecar: maps and what the hooks share. */
#ifndef MESHNET_MAPS_VIP_H
#define MESHNET_MAPS_VIP_H

#include "map_tables.h"
#include "maps_config.h"
#include "maps_events.h"
#include "maps_service.h"
#include "ports.h"

/* redirects: cookie of a network namespace -> mode of its app. Written by the cell agent. */
HASH_MAP(redirects, u64, struct redirect, 4096);

/*
 * sock_dsts: socket cookie -> where the app meant to connect. Written by connect, read by sockops
 * and getpeername for as long as the socket lives; cookies are never used twice, so an entry left
 * behind is only room, which LRU gives back.
 */
LRU_MAP(sock_dsts, u64, struct meant, 65536);

/*
 * orig_dsts: a redirected connection as its two ends see it -> where the app meant to connect.
 * Written by sockops before the SYN leaves, read when the sidecar asks right after accept.
 */
LRU_MAP(orig_dsts, struct connection_key, struct meant, 65536);

#define LOOPBACK_BE bpf_htonl(0x7f000001)
#define MAPPED_PREFIX_BE bpf_htonl(0xffff)

/* Return values of the cgroup hooks; a refusal is EPERM in the app. */
#define REFUSE 0
#define ALLOW 1
#define ECONNREFUSED 111

static __always_inline int is_vip(const struct config *config, u32 addr_be)
{
	return (addr_be & config->vip_mask_be) == config->vip_net_be;
}

/* 0.0.0.0 counts: the kernel takes it for loopback when a socket connects. */
static __always_inline int is_near(const struct config *config, u32 addr_be)
{
	return !addr_be || (addr_be & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) ||
	       (addr_be & config->overlay_mask_be) == config->overlay_net_be;
}

/* An IPv4 address in an IPv6 socket: ::ffff:a.b.c.d, what a JVM's sockets use by default. */
static __always_inline int is_mapped(u32 word0, u32 word1, u32 word2)
{
	return !word0 && !word1 && word2 == MAPPED_PREFIX_BE;
}

/* :: and ::1 */
static __always_inline int is_loopback6(u32 word0, u32 word1, u32 word2, u32 word3)
{
	return !word0 && !word1 && !word2 && (!word3 || word3 == bpf_htonl(1));
}

static __always_inline int refuse(const struct flow_event *event, int reason)
{
	struct flow_event told = *event;

	count(reason);
	told.reason = reason;
	tell(&told);
	return REFUSE;
}

/*
 * An instance of a service, by chance: its weight is the number of its slots.
 *
 * Returns NULL where the service is unknown or has no instance.
 */
static __always_inline struct endpoint *choose_instance(const struct endpoint *vip)
{
	struct vip_key key = {
		.addr_be = vip->addr_be,
		.port_be = vip->port_be,
		.protocol = IPPROTO_TCP,
	};
	struct vip_val *service = vip_services.lookup(&key);
	struct slot_key slot = {};

	if (!service || !service->slots)
		return NULL;
	slot.table = service->table;
	slot.slot = bpf_get_prandom_u32() % service->slots;
	return vip_slots.lookup(&slot);
}

/* Carry a TCP connect to a VIP as the app's mode says; `to` becomes where it goes. */
static __always_inline int carry(u64 cookie, const struct config *config,
				 const struct redirect *redirect, struct endpoint *to,
				 const struct flow_event *event)
{
	struct meant meant = {.addr_be = to->addr_be, .port_be = to->port_be};
	struct endpoint *instance;
	int reason = VIP_TO_PROXY;

	if (redirect) {
		meant.mode = redirect->mode;
		meant.sockmap = redirect->sockmap;
	}
	if (meant.mode == MODE_OFF) {
		bpf_set_retval(-ECONNREFUSED);
		return refuse(event, VIP_REFUSED_MODE_OFF);
	}
	if (meant.mode == MODE_KERNEL) {
		instance = choose_instance(to);
		if (!instance) {
			bpf_set_retval(-ECONNREFUSED);
			return refuse(event, VIP_REFUSED_NO_INSTANCE);
		}
		*to = *instance;
		reason = VIP_TO_INSTANCE;
	} else if (meant.mode == MODE_IPTABLES) {
		reason = VIP_TO_NETFILTER;
	} else {
		to->addr_be = LOOPBACK_BE;
		to->port_be = config->proxy_port_be;
	}
	/* Without the entry the sidecar could not tell one VIP from another. */
	if (sock_dsts.update(&cookie, &meant))
		return refuse(event, VIP_REFUSED_NO_STATE);
	count(reason);
	return ALLOW;
}

/* Decide a connect to an IPv4 destination: ALLOW, to what is then in `to`, or REFUSE. */
static __always_inline int decide_connect(u64 cookie, u64 netns_cookie, u32 protocol,
					  struct endpoint *to)
{
	int zero = 0;
	struct config *config = configs.lookup(&zero);
	struct redirect *redirect = redirects.lookup(&netns_cookie);
	struct flow_event event = {
		.kind = EVENT_REFUSED,
		.netns_cookie = netns_cookie,
		.dst_be = to->addr_be,
		.dport_be = to->port_be,
		.protocol = protocol,
	};

	if (!config)
		return REFUSE;
	if (redirect) {
		event.container_be = event.src_be = redirect->addr_be;
		event.mode = redirect->mode;
	}
	if (!is_vip(config, to->addr_be)) {
		/* The socket may have been redirected before (a failed connect, or AF_UNSPEC). */
		sock_dsts.delete(&cookie);
		if (is_proxy_port(to->port_be) && is_near(config, to->addr_be))
			return refuse(&event, PROXY_PORT_REFUSED_CONNECT);
		return ALLOW;
	}
	/* A pass would reach whatever listens in the app's own namespace: VIPs are in 127/8. */
	if (protocol != IPPROTO_TCP)
		return refuse(&event, VIP_REFUSED_PROTOCOL);
	return carry(cookie, config, redirect, to, &event);
}

/* Whether a datagram may be sent to an IPv4 destination. */
static __always_inline int decide_sendmsg(u32 addr_be)
{
	int zero = 0;
	struct config *config = configs.lookup(&zero);

	if (config && !is_vip(config, addr_be))
		return ALLOW;
	count(VIP_REFUSED_PROTOCOL);
	return REFUSE;
}

/* An app that could bind a sidecar's port would be its own proxy once the sidecar is dead. */
static __always_inline int decide_bind(u16 port_be)
{
	if (!is_proxy_port(port_be))
		return ALLOW;
	count(PROXY_PORT_REFUSED_BIND);
	return REFUSE;
}

#endif
