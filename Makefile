# sudo make lab    set up what is missing, bring the default lab up, run the demo
# sudo make test   set up what is missing, run every test
PYTHON := .venv/bin/python
MESHNET := .venv/bin/meshnet
.PHONY: lab down test unit lint set-up vm-test lock protos abi

lab: set-up
	$(MESHNET) lab up
	$(MESHNET) lab demo

down:
	$(MESHNET) lab down

test:
	@netns_lab/setup.sh --tests
	@echo "tests/unit run beside tests/kernel and tests/lab; what they said follows at the end"
	@said=$$(mktemp); env --default-signal $(PYTHON) -m pytest tests/unit >$$said 2>&1 & unit=$$!; \
	$(PYTHON) -m pytest tests/kernel tests/lab; rest=$$?; \
	wait $$unit; unit=$$?; cat $$said; rm $$said; exit $$((rest ? rest : unit))

unit:
	$(PYTHON) -m pytest tests/unit

lint:
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

# Build a box and run the lab in it under emulation: about a quarter of an hour.
vm-test: set-up
	vagrant/vm-test.sh

set-up:
	@netns_lab/setup.sh

# The following regenerate files that are checked in.
lock:
	.venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --extra dev --no-emit-index-url --no-header pyproject.toml -o requirements.lock

protos:
	$(PYTHON) -m grpc_tools.protoc -Imeshnet/wire/gen=meshnet/wire/protos --python_out=. --pyi_out=. meshnet/wire/gen/bbs.proto meshnet/wire/gen/istio_networking.proto meshnet/wire/gen/copilot.proto meshnet/wire/gen/mcp.proto meshnet/wire/gen/loggregator.proto meshnet/wire/gen/logcache.proto
	$(PYTHON) -m grpc_tools.protoc -Imeshnet/wire/gen=meshnet/wire/protos --grpc_python_out=. meshnet/wire/gen/copilot.proto meshnet/wire/gen/mcp.proto meshnet/wire/gen/logcache.proto
	$(PYTHON) -m grpc_tools.protoc -Imeshnet/store/gen=meshnet/store/protos --python_out=. --pyi_out=. --grpc_python_out=. meshnet/store/gen/etcd.proto

abi:
	$(PYTHON) -m meshnet.kernel.bpf.gen_abi
