// An origin that keeps a ledger of the requests that it sees. Usage: witness.js LEDGER; prints the
// port that it took. Each line is [method, target, Via, X-Front], written when a head has been read,
// before anything is answered. The answer says in X-Seen what was asked for.
'use strict';
const fs = require('fs');
const http = require('http');

const ledger = fs.openSync(process.argv[2], 'a');

function answer(request, response) {
  const { via = '', 'x-front': front = '' } = request.headers;
  fs.writeSync(ledger, `${JSON.stringify([request.method, request.url, via, front])}\n`);
  request.resume();
  request.on('end', () => {
    response.writeHead(200, { 'X-Seen': request.url, 'Content-Length': 5 });
    response.end('seen\n');
  });
}

const server = http.createServer({ requestTimeout: 0 }, answer);
server.keepAliveTimeout = 600000;
server.on('checkContinue', (request, response) => {
  response.writeContinue();
  answer(request, response);
});
server.listen(0, '127.0.0.1', 1024, () => console.log(server.address().port));
