// Node's own HTTP server. Usage: node_server.js PORT
const http = require('http');
const headers = { 'Content-Type': 'text/plain', 'Content-Length': 13 };
const server = http.createServer((request, response) => {
  response.writeHead(200, headers);
  response.end('Hello, world!');
});
server.keepAliveTimeout = 600000;
server.listen(Number(process.argv[2]), '127.0.0.1', 4096);
