# Names for the commands; none of them is needed.

# Start everything on this machine
up *flags:
    cargo run --release -- up {{flags}}

# Run all tests
test:
    cargo test --workspace

# What must hold before a change lands
ci:
    .ci/run

# Format code and contract
fmt:
    cargo fmt --all
    buf format --write --exclude-path proto/google --exclude-path proto/buf

# Lint code and contract
lint:
    cargo clippy --workspace --all-targets -- -D warnings
    buf lint

# Rewrite the files that tests compare, such as the matrix of roles
update:
    MUSTER_UPDATE=1 cargo test --workspace
