/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* connect() of an app's IPv4 sockets: the VIP range is carried as the mode says, and fails closed. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include "maps_vip.h"

int cgroup_connect4(struct bpf_sock_addr *ctx)
{
	struct endpoint to = {.addr_be = ctx->user_ip4, .port_be = ctx->user_port};

	if (decide_connect(bpf_get_socket_cookie(ctx), bpf_get_netns_cookie(ctx), ctx->protocol,
			   &to) == REFUSE)
		return REFUSE;
	ctx->user_ip4 = to.addr_be;
	ctx->user_port = to.port_be;
	return ALLOW;
}
