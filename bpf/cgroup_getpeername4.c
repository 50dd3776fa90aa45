/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* getpeername() of an app's IPv4 sockets: the VIP it connected to, not its sidecar. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include "maps_vip.h"

int cgroup_getpeername4(struct bpf_sock_addr *ctx)
{
	struct endpoint *meant =
		meant_peer(bpf_get_socket_cookie(ctx), ctx->user_ip4, ctx->user_port);

	if (meant) {
		ctx->user_ip4 = meant->addr_be;
		ctx->user_port = meant->port_be;
	}
	return ALLOW;
}
