// Hangs accepts whoever comes, and says nothing.
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
	var open []net.Conn // or they would be closed by the collector
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		open = append(open, conn)
	}
}

// port is what -p says, wherever it stands.
func port() string {
	for i, arg := range os.Args {
		if arg == "-p" && i+1 < len(os.Args) {
			return os.Args[i+1]
		}
	}
	return "8080"
}
