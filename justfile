# Shorthands; the chores themselves are in xtask/.

check:
    cargo xtask check

test *args:
    cargo xtask test {{args}}

demo:
    cargo xtask demo
