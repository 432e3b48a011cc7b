"""asyncio without sockets: an event loop that has no self-pipe.

The standard loop opens a pair of sockets in order to be woken by other threads and by signals. A component has neither
threads nor signals nor sockets; all else of the loop (timers, tasks, futures) works as it is.
"""

import asyncio
import asyncio.unix_events


class EventLoop(asyncio.SelectorEventLoop):
    """The selector event loop of the standard library, minus the self-pipe."""

    def _make_self_pipe(self) -> None:
        self._internal_fds = 0

    def _close_self_pipe(self) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _run_once(self) -> None:
        # Nothing outside can wake the loop: without this it would sleep until a limit ends it.
        if not (self._ready or self._scheduled or self._stopping or self._selector.get_map()):
            raise RuntimeError("it waits for what nothing can bring about any more")
        super()._run_once()


def install() -> None:
    """Makes `EventLoop` the loop that `asyncio.run` and `asyncio.new_event_loop` make."""
    asyncio.unix_events._UnixDefaultEventLoopPolicy._loop_factory = EventLoop
    for module in (asyncio, asyncio.unix_events):
        module.SelectorEventLoop = EventLoop
        module.EventLoop = EventLoop
