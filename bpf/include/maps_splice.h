/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Splicing of the connection between an app and its sidecar, where the app asks for it. */
#ifndef MESHNET_MAPS_SPLICE_H
#define MESHNET_MAPS_SPLICE_H

#include "map_tables.h"

/* spliced: an end of a connection, as that end sees it -> its socket. Written by sockops. */
BPF_SOCKHASH(spliced, struct connection_key, 65536);

static __always_inline struct connection_key key_of(struct bpf_sock_ops *ctx)
{
	struct connection_key key = {
		.netns_cookie = bpf_get_netns_cookie(ctx),
		/* A v4-mapped IPv6 socket has its IPv4 addresses in the same fields. */
		.local_be = ctx->local_ip4,
		.remote_be = ctx->remote_ip4,
		/* One port in host order, the other in the upper half of a big-endian word. */
		.local_port_be = bpf_htons(ctx->local_port),
		.remote_port_be = bpf_htons(bpf_ntohl(ctx->remote_port)),
	};

	return key;
}

static __always_inline struct connection_key other_end(const struct connection_key *key)
{
	struct connection_key other = {
		.netns_cookie = key->netns_cookie,
		.local_be = key->remote_be,
		.remote_be = key->local_be,
		.local_port_be = key->remote_port_be,
		.remote_port_be = key->local_port_be,
	};

	return other;
}

#endif
