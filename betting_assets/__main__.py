"""`python -m betting_assets`: the command `betting`, for processes that start it by module."""

from betting_assets.cli import main

main()
