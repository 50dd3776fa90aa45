/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * An app's TCP sockets as they connect: note the redirected connection under the addresses its
 * sidecar will see. Before the SYN leaves, so that the sidecar can never ask too early; once more
 * when established, in case many others have pushed the entry out of the map meanwhile. The sidecar's
 * end removes it (sockops_sidecar), and here a connect that found no sidecar: netfilter may give the
 * same tuple to a connection it redirects.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include "maps_splice.h"
#include "sock_events.h"

int sockops(struct bpf_sock_ops *ctx)
{
	struct connection_key key;
	struct meant *meant;
	u64 cookie;

	tell_life(ctx, 0);
	if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB &&
	    ctx->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB && ctx->op != BPF_SOCK_OPS_STATE_CB)
		return 1;
	cookie = bpf_get_socket_cookie(ctx);
	meant = sock_dsts.lookup(&cookie);
	if (!meant || meant->mode != MODE_EBPF)
		return 1;
	key = key_of(ctx);
	if (ctx->op == BPF_SOCK_OPS_STATE_CB) {
		if (ctx->args[0] == BPF_TCP_SYN_SENT && ctx->args[1] == BPF_TCP_CLOSE)
			orig_dsts.delete(&key);
		return 1;
	}
	orig_dsts.update(&key, meant);
	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
	else if (meant->sockmap)
		spliced.sock_hash_update(ctx, &key, BPF_ANY);
	return 1;
}
