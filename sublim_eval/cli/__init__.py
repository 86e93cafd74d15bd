"""What each verb of `sublim` does: a function (arguments, console) -> plain data for --json."""
