// Always400 refuses every request with a well-formed 400, and closes the connection.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	l, err := net.Listen("tcp", ":"+port())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = conn.Close() }()
			if _, err := conn.Read(make([]byte, 64<<10)); err != nil {
				return
			}
			fmt.Fprintf(conn, "HTTP/1.1 400 Bad Request\r\nDate: %s\r\nConnection: close\r\n"+
				"Content-Type: text/plain\r\nContent-Length: 3\r\n\r\nno\n", time.Now().UTC().Format(http.TimeFormat))
		}()
	}
}

// port returns the value of -p.
func port() string {
	for i, arg := range os.Args {
		if arg == "-p" && i+1 < len(os.Args) {
			return os.Args[i+1]
		}
	}
	return "8080"
}
