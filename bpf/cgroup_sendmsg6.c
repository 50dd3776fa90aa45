/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* sendto() on an app's unconnected IPv6 datagram sockets: as cgroup_sendmsg4 for v4-mapped ones. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include "maps_vip.h"

int cgroup_sendmsg6(struct bpf_sock_addr *ctx)
{
	if (!is_mapped(ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2]))
		return ALLOW;
	return decide_sendmsg(ctx->user_ip6[3]);
}
