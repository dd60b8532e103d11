"""The multiplexer without I/O: no os, socket, time, random, asyncio, anyio or logging in this folder."""
