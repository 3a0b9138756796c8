// Node's own HTTP server. Usage: node_server.js PORT [CERTIFICATE KEY]
const fs = require('fs');
const [port, certificate, key] = process.argv.slice(2);
const headers = { 'Content-Type': 'text/plain', 'Content-Length': 13 };
const large = Buffer.alloc(1048576, 'x');
const largeHeaders = { 'Content-Type': 'text/plain', 'Content-Length': large.length };

function answer(request, response) {
  if (request.method === 'POST') {
    request.resume();
    request.on('end', () => hello(response));
  } else if (request.url === '/large') {
    response.writeHead(200, largeHeaders);
    response.end(large);
  } else {
    hello(response);
  }
}

function hello(response) {
  response.writeHead(200, headers);
  response.end('Hello, world!');
}

const server = certificate
  ? require('https').createServer(
    { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) }, answer)
  : require('http').createServer(answer);
server.keepAliveTimeout = 600000;
server.listen(Number(port), '127.0.0.1', 4096);
