/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * A sidecar's TCP sockets: what it accepts from its app may be spliced, and is forgotten at its end;
 * what it opens is told.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include "maps_splice.h"
#include "sock_events.h"

int sockops_sidecar(struct bpf_sock_ops *ctx)
{
	struct connection_key key, peer;
	struct redirect *redirect;
	int zero = 0;
	struct config *config;

	tell_life(ctx, 1);
	if (ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB && ctx->op != BPF_SOCK_OPS_STATE_CB)
		return 1;
	config = configs.lookup(&zero);
	if (!config || bpf_htons(ctx->local_port) != config->proxy_port_be)
		return 1;
	key = key_of(ctx);
	if (ctx->op == BPF_SOCK_OPS_STATE_CB) {
		if (ctx->args[1] == BPF_TCP_CLOSE) {
			peer = other_end(&key);
			orig_dsts.delete(&peer);
		}
		return 1;
	}
	bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
	redirect = redirects.lookup(&key.netns_cookie);
	if (redirect && redirect->sockmap)
		spliced.sock_hash_update(ctx, &key, BPF_ANY);
	return 1;
}
