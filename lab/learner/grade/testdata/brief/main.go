// Brief answers every request with 21 bytes and closes the connection, as a first server often does.
package main

import (
	"fmt"
	"net"
	"os"
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
			fmt.Fprint(conn, "HTTP/1.0 200 OK\r\n\r\nok")
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
