"""eBPF: compile once per machine, load by bpf(2), attach by pinned links, read and write maps."""
