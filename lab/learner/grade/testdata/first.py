#!/usr/bin/env python3
"""Answers each client's first request, and nothing else: a first server in 20 lines."""
import socket
import sys

server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", int(sys.argv[sys.argv.index("-p") + 1])))
server.listen()
while True:
    client, _ = server.accept()
    request = client.recv(4096).decode()
    if request.startswith("GET /healthz "):
        status, body = "200 OK", "ok"
    else:
        status, body = "404 Not Found", "not found"
    client.sendall(f"HTTP/1.1 {status}\r\n\r\n{body}".encode())
    client.close()
