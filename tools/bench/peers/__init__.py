"""The servers that others wrote: installed, started, given the same stubs, and measured beside ours."""
