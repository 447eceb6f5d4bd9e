"""An HTTP proxy that connects each CONNECT request to one port of this machine, whichever host is requested."""

import http.server
import select
import socket
import threading


class RedirectingProxy:
    """`address` is the proxy's address, and `hosts` lists the requested hosts. All connections go to `port`."""

    def __init__(self, port):
        self.hosts = []
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_CONNECT(self):
                proxy.hosts.append(self.path)
                with socket.create_connection(("127.0.0.1", port)) as server:
                    self.send_response(200)
                    self.end_headers()
                    self.pass_on(server)

            def pass_on(self, server):
                other = {self.connection: server, server: self.connection}
                while True:
                    for source in select.select(list(other), [], [])[0]:
                        data = source.recv(1 << 16)
                        if not data:
                            return
                        other[source].sendall(data)

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
