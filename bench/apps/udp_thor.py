"""UDP echo on the documented API. Usage: udp_thor.py PORT"""

import sys

import thor

endpoint = thor.UdpEndpoint()
endpoint.on("datagram", endpoint.send)
endpoint.bind("127.0.0.1", int(sys.argv[1]))
endpoint.pause(False)
thor.run()
