/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* connect() of an app's IPv4 sockets: the VIP range belongs to the sidecar and fails closed. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include "maps_vip.h"

int cgroup_connect4(struct bpf_sock_addr *ctx)
{
	int port_be = decide_connect(bpf_get_socket_cookie(ctx), ctx->user_ip4, ctx->user_port,
				     ctx->protocol);

	if (port_be < 0)
		return REFUSE;
	if (port_be > 0) {
		ctx->user_ip4 = LOOPBACK_BE;
		ctx->user_port = port_be;
	}
	return ALLOW;
}
