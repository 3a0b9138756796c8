// A forward proxy: tunnels (CONNECT) and requests in absolute form, for who has the password.
// Usage: tunnel.js USER:PASSWORD [CERTIFICATE KEY]; prints the port that it took. With a certificate
// it speaks TLS itself.
'use strict';
const fs = require('fs');
const http = require('http');
const https = require('https');
const net = require('net');

const WANTED = `Basic ${Buffer.from(process.argv[2]).toString('base64')}`;
const FILES = process.argv.slice(3).map((file) => fs.readFileSync(file));
const REFUSAL = 'HTTP/1.1 407 Proxy Authentication Required\r\n'
  + 'Proxy-Authenticate: Basic realm="tunnel"\r\nContent-Length: 0\r\n\r\n';

function forward(request, response) {
  if (request.headers['proxy-authorization'] !== WANTED) {
    response.writeHead(407, { 'Proxy-Authenticate': 'Basic realm="tunnel"', 'Content-Length': 0 });
    response.end();
    return;
  }
  const fields = { ...request.headers, via: '1.1 tunnel' };
  delete fields['proxy-authorization'];
  const out = http.request(request.url, { method: request.method, headers: fields }, (found) => {
    response.writeHead(found.statusCode, found.rawHeaders);
    found.pipe(response);
  });
  request.pipe(out);
}

function tunnel(request, near, head) {
  near.on('error', () => near.destroy());
  if (request.headers['proxy-authorization'] !== WANTED) {
    near.end(REFUSAL);
    return;
  }
  const at = request.url.lastIndexOf(':');
  const far = net.connect(Number(request.url.slice(at + 1)), '127.0.0.1', () => {
    near.write('HTTP/1.1 200 Connection established\r\nProxy-Agent: tunnel\r\n\r\n');
    far.write(head);
    near.pipe(far).pipe(near);
  });
  far.on('error', () => near.destroy());
}

const server = FILES.length === 0
  ? http.createServer(forward)
  : https.createServer({ cert: FILES[0], key: FILES[1] }, forward);
server.on('connect', tunnel);
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
