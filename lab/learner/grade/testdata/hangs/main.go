// Hangs accepts every connection and never answers.
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
	var open []net.Conn // the garbage collector closes what is not reachable
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		open = append(open, conn)
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
