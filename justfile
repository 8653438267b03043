# The daily commands. `just` lists them; `just NAME` runs one.

_list:
    @{{ just_executable() }} --justfile {{ justfile() }} --list --unsorted

# Type check and clippy, as strict as CI.
check:
    cargo clippy --locked --all-targets -- -D warnings
    cargo clippy --locked -p tinyhost-capi --all-targets -- -D warnings

# The tests of one file of tests/, or with no name all tests.
test name="" *filter:
    cargo test --locked {{ if name == "" { "" } else { "--test " + name } }} {{ filter }}

# Unit tests by their path, such as vfs::mem.
unit path="":
    cargo test --locked --lib {{ path }}

# Formats the workspace and the guests.
fmt:
    cargo fmt --all
    cargo fmt --manifest-path guest/rust/Cargo.toml

# The program, as it is shipped.
release:
    cargo build --locked --release

# The C interface: its header, examples and tests, under valgrind if that is there.
capi:
    .ci/capi

# Writes capi/include/tinyhost.h from the Rust sources.
header:
    UPDATE_HEADER=1 cargo test --locked -p tinyhost-capi --test header

# Builds the guests again, or those named, into fixtures/.
guests *names:
    guest/build {{ names }}

# What the smallest builds weigh, with their limits.
sizes:
    benches/sizes --quick

# Instructions of the hot paths, with their limits (needs valgrind).
callgrind:
    .ci/callgrind

# Everything that must hold before a change lands.
ci:
    .ci/run
