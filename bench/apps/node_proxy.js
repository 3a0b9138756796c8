// A reverse proxy of http.request and pipe. Usage: node_proxy.js PORT ORIGIN
const http = require('http');
const agent = new http.Agent({ keepAlive: true });
const server = http.createServer((request, response) => {
  const upstream = http.request({
    agent, host: '127.0.0.1', port: Number(process.argv[3]),
    method: request.method, path: request.url, headers: request.headers,
  }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  upstream.on('error', () => response.destroy());
  request.pipe(upstream);
});
server.keepAliveTimeout = 600000;
server.listen(Number(process.argv[2]), '127.0.0.1', 4096);
