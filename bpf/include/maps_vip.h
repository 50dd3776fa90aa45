/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The redirection of an app's connections to its sidecar: maps and what the hooks share. */
#ifndef MESHNET_MAPS_VIP_H
#define MESHNET_MAPS_VIP_H

#include "map_tables.h"
#include "maps_config.h"
#include "ports.h"

/*
 * sock_dsts: socket cookie -> where the app meant to connect. Written by connect, read by sockops
 * and getpeername for as long as the socket lives; cookies are never used twice, so an entry left
 * behind is only room, which LRU gives back.
 */
LRU_MAP(sock_dsts, u64, struct endpoint, 65536);

/*
 * orig_dsts: a redirected connection as its two ends see it -> where the app meant to connect.
 * Written by sockops before the SYN leaves, read when the sidecar asks right after accept.
 */
LRU_MAP(orig_dsts, struct connection_key, struct endpoint, 65536);

#define LOOPBACK_BE bpf_htonl(0x7f000001)
#define MAPPED_PREFIX_BE bpf_htonl(0xffff)

/* Return values of the cgroup hooks; a refusal is EPERM in the app. */
#define REFUSE 0
#define ALLOW 1

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

/*
 * Decide a connect to an IPv4 destination.
 *
 * Returns the port (big endian) to go to on loopback instead, 0 to leave it, -1 to refuse.
 */
static __always_inline int decide_connect(u64 cookie, u32 addr_be, u16 port_be, u32 protocol)
{
	struct endpoint meant = {.addr_be = addr_be, .port_be = port_be};
	int zero = 0;
	struct config *config = configs.lookup(&zero);

	if (!config)
		return -1;
	if (!is_vip(config, addr_be)) {
		/* The socket may have been redirected before (a failed connect, or AF_UNSPEC). */
		sock_dsts.delete(&cookie);
		if (is_proxy_port(port_be) && is_near(config, addr_be)) {
			count(PROXY_PORT_REFUSED_CONNECT);
			return -1;
		}
		return 0;
	}
	/* A pass would reach whatever listens in the app's own namespace: VIPs are in 127/8. */
	if (protocol != IPPROTO_TCP) {
		count(VIP_REFUSED_PROTOCOL);
		return -1;
	}
	/* Without the entry the sidecar could not tell one VIP from another. */
	if (sock_dsts.update(&cookie, &meant)) {
		count(VIP_REFUSED_NO_STATE);
		return -1;
	}
	count(VIP_TO_PROXY);
	return config->proxy_port_be;
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

/* Where the app meant to connect, if this socket's peer is the sidecar; else NULL. */
static __always_inline struct endpoint *meant_peer(u64 cookie, u32 addr_be, u16 port_be)
{
	int zero = 0;
	struct config *config = configs.lookup(&zero);

	if (!config || addr_be != LOOPBACK_BE || port_be != config->proxy_port_be)
		return NULL;
	return sock_dsts.lookup(&cookie);
}

#endif
