// A reverse proxy of http.request and pipe. Usage: node_proxy.js PORT ORIGIN [CERTIFICATE KEY]
const fs = require('fs');
const http = require('http');
const [port, origin, certificate, key] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true });

function relay(request, response) {
  const upstream = http.request({
    agent, host: '127.0.0.1', port: Number(origin),
    method: request.method, path: request.url, headers: request.headers,
  }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  upstream.on('error', () => response.destroy());
  request.pipe(upstream);
}

const server = certificate
  ? require('https').createServer(
    { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) }, relay)
  : http.createServer(relay);
server.keepAliveTimeout = 600000;
server.listen(Number(port), '127.0.0.1', 4096);
