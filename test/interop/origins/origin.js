// An origin with many ways to answer. Usage: origin.js NAME [CERTIFICATE KEY [CLIENT_CA]]; prints the
// port that it took. With a certificate it speaks https, with a CA it wants one of the client, too.
//
//   /echo            what was asked, as JSON, with the digest of the body
//   /hello           a fixed text; a GET of it is what wrk asks for
//   /item/N?size=S   a body made of N, with Content-Length; &chunked=1 without
//   /big?size=S      S bytes of the endless pattern (see interop_data.py), as fast as they are taken
//   /sink            compares the body with that pattern
//   /gzip            a body with Content-Encoding
//   /early           a 103 before the answer
//   /trailers        a trailer behind a chunked body
//   /refuse          a 403, whatever is sent
//   /status/N        an empty answer with that status
//   /close-idle      closes the idle connections once it has answered
//   /upgrade         a WebSocket that sends back what it gets, after a greeting
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const https = require('https');
const zlib = require('zlib');

const NAME = process.argv[2] || 'origin';
const FILES = process.argv.slice(3).map((file) => fs.readFileSync(file));
const PERIOD = 1000003;

function makePattern() {
  const parts = [];
  for (let i = 0; i * 64 < PERIOD; i += 1) {
    parts.push(crypto.createHash('sha512').update(String(i)).digest());
  }
  return Buffer.concat(parts).subarray(0, PERIOD);
}

const PATTERN = makePattern();

function item(name, size) {
  return Buffer.alloc(size, `<${name}>`, 'latin1');
}

function sendPattern(response, size) {
  let left = size;
  const more = () => {
    while (left > 0) {
      const piece = PATTERN.subarray(0, Math.min(left, PERIOD));
      left -= piece.length;
      if (!response.write(piece)) {
        response.once('drain', more);
        return;
      }
    }
    response.end();
  };
  more();
}

function comparePattern(request, done) {
  let total = 0;
  let exact = true;
  request.on('data', (data) => {
    for (let at = 0; at < data.length;) {
      const from = total % PERIOD;
      const size = Math.min(data.length - at, PERIOD - from);
      exact = exact && data.subarray(at, at + size).equals(PATTERN.subarray(from, from + size));
      at += size;
      total += size;
    }
  });
  request.on('end', () => done({ size: total, exact }));
}

function digestOf(request, done) {
  const digest = crypto.createHash('sha256');
  let size = 0;
  request.on('data', (data) => { digest.update(data); size += data.length; });
  request.on('end', () => done(size, digest.digest('hex')));
}

function sendJson(response, value) {
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': body.length });
  response.end(body);
}

const routes = {
  hello(request, response) {
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 13 });
    response.end('Hello, world!');
  },
  echo(request, response) {
    digestOf(request, (size, sha256) => sendJson(response, {
      method: request.method,
      target: request.url,
      version: request.httpVersion,
      fields: request.rawHeaders,
      trailers: request.rawTrailers,
      expected: request.expected === true,
      connection: request.socket.number,
      tls: FILES.length === 0 ? null : request.socket.getProtocol(),
      resumed: FILES.length !== 0 && request.socket.isSessionReused(),
      servername: request.socket.servername,
      alpn: request.socket.alpnProtocol,
      size,
      sha256,
    }));
  },
  item(request, response, url) {
    const body = item(url.pathname.split('/')[2], Number(url.searchParams.get('size') || 100));
    const fields = url.searchParams.get('chunked') ? {} : { 'Content-Length': body.length };
    response.writeHead(200, fields);
    const middle = body.length >> 1;
    response.write(body.subarray(0, middle));
    response.end(body.subarray(middle));
  },
  big(request, response, url) {
    const size = Number(url.searchParams.get('size'));
    response.writeHead(200, url.searchParams.get('chunked') ? {} : { 'Content-Length': size });
    sendPattern(response, size);
  },
  sink(request, response) {
    comparePattern(request, (found) => sendJson(response, found));
  },
  gzip(request, response) {
    const body = zlib.gzipSync(item('gzip', 100000));
    response.writeHead(200, { 'Content-Encoding': 'gzip', 'Content-Length': body.length });
    response.end(body);
  },
  early(request, response) {
    response.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' });
    routes.hello(request, response);
  },
  trailers(request, response) {
    response.writeHead(200, { Trailer: 'X-Digest' });
    response.write('body');
    response.addTrailers({ 'X-Digest': 'abc' });
    response.end();
  },
  refuse(request, response) {
    response.writeHead(403, { 'Content-Length': 3 });
    response.end('no\n');
  },
  status(request, response, url) {
    response.writeHead(Number(url.pathname.split('/')[2]), { ETag: '"a"' });
    response.end();
  },
  'close-idle': (request, response) => {
    response.on('finish', () => setImmediate(() => server.closeIdleConnections()));
    routes.hello(request, response);
  },
};

function answer(request, response) {
  const target = request.url === '*' ? '/echo' : request.url;
  const url = new URL(target, 'http://origin');
  const route = routes[target.split(/[/?]/)[1]];
  response.setHeader('X-Origin', NAME);
  if (route === undefined) {
    response.writeHead(404, { 'Content-Length': 0 });
    response.end();
  } else {
    route(request, response, url);
  }
}

// -- WebSocket (RFC 6455): sends back each message, answers pings, completes the close ----------

function frame(opcode, payload) {
  let head;
  if (payload.length < 126) {
    head = Buffer.from([0x80 | opcode, payload.length]);
  } else if (payload.length < 65536) {
    head = Buffer.from([0x80 | opcode, 126, 0, 0]);
    head.writeUInt16BE(payload.length, 2);
  } else {
    head = Buffer.from([0x80 | opcode, 127, 0, 0, 0, 0, 0, 0, 0, 0]);
    head.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  return Buffer.concat([head, payload]);
}

// Returns [opcode, payload, length on the wire], or null while the frame is incomplete.
function parseFrame(data) {
  if (data.length < 2) return null;
  let at = 2;
  let size = data[1] & 0x7f;
  if (size === 126 && data.length >= 4) { size = data.readUInt16BE(2); at = 4; }
  else if (size === 127 && data.length >= 10) { size = Number(data.readBigUInt64BE(2)); at = 10; }
  else if (size > 125) return null;
  if (data.length < at + 4 + size) return null;
  const mask = data.subarray(at, at + 4);
  const payload = Buffer.from(data.subarray(at + 4, at + 4 + size));
  for (let i = 0; i < size; i += 1) payload[i] ^= mask[i & 3];
  return [data[0] & 0x0f, payload, at + 4 + size];
}

function upgrade(request, socket, head) {
  const key = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
  const accept = crypto.createHash('sha1').update(key).digest('base64');
  socket.write(Buffer.concat([
    Buffer.from('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
      + `Sec-WebSocket-Accept: ${accept}\r\n\r\n`),
    frame(1, Buffer.from(`hello from ${NAME}`)),
  ]));
  let rest = head;
  const take = (data) => {
    rest = Buffer.concat([rest, data]);
    for (let found = parseFrame(rest); found !== null; found = parseFrame(rest)) {
      const [opcode, payload, size] = found;
      rest = rest.subarray(size);
      socket.write(frame(opcode === 9 ? 10 : opcode, payload));
      if (opcode === 8) socket.end();
    }
  };
  take(Buffer.alloc(0));
  socket.on('data', take);
  socket.on('end', () => socket.end());
  socket.on('error', () => socket.destroy());
}

let connections = 0;
const server = FILES.length === 0
  ? http.createServer({ requestTimeout: 0 }, answer)
  : https.createServer({
    requestTimeout: 0,
    cert: FILES[0],
    key: FILES[1],
    ca: FILES[2],
    requestCert: FILES.length > 2,
  }, answer);
server.keepAliveTimeout = 600000;
server.on('checkContinue', (request, response) => {
  request.expected = true;
  if (request.url !== '/refuse') response.writeContinue();
  answer(request, response);
});
server.on(FILES.length === 0 ? 'connection' : 'secureConnection', (socket) => { connections += 1; socket.number = connections; });
server.on('upgrade', upgrade);
server.listen(0, '127.0.0.1', 1024, () => console.log(server.address().port));
