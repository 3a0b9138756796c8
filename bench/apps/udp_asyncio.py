"""UDP echo on asyncio, as its documentation has it. Usage: udp_asyncio.py PORT"""

import asyncio
import sys


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


async def main():
    loop = asyncio.get_running_loop()
    address = "127.0.0.1", int(sys.argv[1])
    await loop.create_datagram_endpoint(Echo, local_addr=address)
    await asyncio.Event().wait()


asyncio.run(main())
