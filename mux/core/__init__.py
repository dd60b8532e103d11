"""The multiplexer without I/O: no os, socket, time, random, asyncio or logging in this folder."""
