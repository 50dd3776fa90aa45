/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* sendto() on an app's unconnected IPv4 datagram sockets: sidecars take TCP only. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include "maps_vip.h"

int cgroup_sendmsg4(struct bpf_sock_addr *ctx)
{
	return decide_sendmsg(ctx->user_ip4);
}
