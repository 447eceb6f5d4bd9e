"""A proxy (HTTP CONNECT) that connects every request to one server, as a company's network may do for programs with a fixed address in their code."""

import http.server
import select
import socket
import threading


class RedirectingProxy:
    """The proxy's address, the hosts that were requested, and the port to which all of them are connected."""

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
