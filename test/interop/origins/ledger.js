// An origin that keeps a ledger: each request that it has whole is a line of the file LEDGER before
// it is answered, so that the file tells what was done even after a SIGKILL.
// Usage: ledger.js NAME LEDGER [STALL_AFTER]; prints the port that it took.
//
// GET /N?size=S answers with a body made of N (odd N: chunked); other methods with the digest of
// what they brought. After STALL_AFTER requests no answer is complete any more: a GET of an odd N,
// and of the even ones every other, gets half of it, all else not a byte; a line on stdout tells of
// each such request.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');

const [NAME, LEDGER, STALL_AFTER] = process.argv.slice(2);
const stallAfter = Number(STALL_AFTER || Infinity);
const ledger = fs.openSync(LEDGER, 'a');
const PIECE = 16384;
let whole = 0;
let halves = false;

// The body goes out a piece at a time, a turn of the event loop for each, so that a SIGKILL may
// come anywhere in it.
function send(response, body, at = 0) {
  if (at + PIECE >= body.length) {
    response.end(body.subarray(at));
  } else {
    response.write(body.subarray(at, at + PIECE));
    setImmediate(send, response, body, at + PIECE);
  }
}

function bodyFor(request, number, size, sha256) {
  if (request.method === 'GET') return Buffer.alloc(size, `<${number}>`, 'latin1');
  return Buffer.from(`${number} ${sha256}\n`);
}

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://origin');
  const number = Number(url.pathname.slice(1));
  const digest = crypto.createHash('sha256');
  request.on('data', (data) => digest.update(data));
  request.on('end', () => {
    fs.writeSync(ledger, `${number} ${request.method}\n`);
    whole += 1;
    const body = bodyFor(request, number, Number(url.searchParams.get('size')), digest.digest('hex'));
    response.setHeader('X-Origin', NAME);
    if (number % 2 === 0) response.setHeader('Content-Length', body.length);
    if (whole <= stallAfter) {
      send(response, body);
      return;
    }
    if (request.method === 'GET' && (number % 2 === 1 || (halves = !halves))) {
      response.write(body.subarray(0, body.length >> 1));
      console.log(`${number} half`);
    } else {
      console.log(`${number} nothing`);
    }
  });
});
server.keepAliveTimeout = 600000;
server.listen(0, '127.0.0.1', 1024, () => console.log(server.address().port));
