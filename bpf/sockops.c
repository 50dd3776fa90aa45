/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * An app's TCP sockets as they connect: note the redirected connection under the addresses its
 * sidecar will see. Before the SYN leaves, so that the sidecar can never ask too early; once more
 * when established, in case many others have pushed the entry out of the map meanwhile.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include "maps_vip.h"

int sockops(struct bpf_sock_ops *ctx)
{
	struct connection_key key = {};
	struct endpoint *meant;
	u64 cookie;

	if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB &&
	    ctx->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		return 1;
	cookie = bpf_get_socket_cookie(ctx);
	meant = sock_dsts.lookup(&cookie);
	if (!meant)
		return 1;
	key.netns_cookie = bpf_get_netns_cookie(ctx);
	/* A v4-mapped IPv6 socket has its IPv4 addresses in the same fields. */
	key.local_be = ctx->local_ip4;
	key.remote_be = ctx->remote_ip4;
	/* The one field in host order, the other a port in the upper half of a big-endian word. */
	key.local_port_be = bpf_htons(ctx->local_port);
	key.remote_port_be = bpf_htons(bpf_ntohl(ctx->remote_port));
	orig_dsts.update(&key, meant);
	return 1;
}
