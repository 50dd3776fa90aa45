/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * getsockopt(SOL_IP, SO_ORIGINAL_DST) of a sidecar: where the app meant to connect. Connections that
 * netfilter redirected have no entry here, and keep the kernel's own answer.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include "maps_vip.h"

#define AF_INET 2
#define SOL_IP 0
#define SO_ORIGINAL_DST 80
/* The kernel hands a program no more than a page of an option's value. */
#define VISIBLE_BYTES 4096

struct sockaddr_ipv4 {
	u16 family;
	u16 port_be;
	u32 addr_be;
	u8 zero[8];
};

int cgroup_getsockopt(struct bpf_sockopt *ctx)
{
	struct connection_key key = {};
	struct bpf_sock *sk = ctx->sk;
	struct sockaddr_ipv4 *out = ctx->optval;
	struct meant *meant;

	if (ctx->level != SOL_IP || ctx->optname != SO_ORIGINAL_DST) {
		/* 0 says "the kernel's own value"; else a long one would turn into EFAULT. */
		if (ctx->optlen > VISIBLE_BYTES)
			ctx->optlen = 0;
		return ALLOW;
	}
	if (!sk || (void *)(out + 1) > ctx->optval_end)
		return ALLOW;
	key.netns_cookie = bpf_get_netns_cookie(ctx);
	key.local_be = sk->dst_ip4;
	key.remote_be = sk->src_ip4;
	key.local_port_be = sk->dst_port;
	key.remote_port_be = bpf_htons(sk->src_port);
	meant = orig_dsts.lookup(&key);
	if (!meant) {
		count(ORIGINAL_DST_UNKNOWN);
		return ALLOW;
	}
	out->family = AF_INET;
	out->port_be = meant->port_be;
	out->addr_be = meant->addr_be;
	__builtin_memset(out->zero, 0, sizeof(out->zero));
	/* Volatile and apart: clang would merge both into one store that the verifier refuses. */
	*(volatile s32 *)&ctx->optlen = sizeof(*out);
	asm volatile("" ::: "memory");
	*(volatile s32 *)&ctx->retval = 0;
	count(ORIGINAL_DST_ANSWERED);
	return ALLOW;
}
