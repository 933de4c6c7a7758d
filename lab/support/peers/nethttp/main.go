// Nethttp is a server on net/http, for comparison with the stages. It has the flags -p and -R of docs/spec.md, serves the
// folder, and answers GET /api/login with {} as JSON.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

func main() {
	port := flag.Int("p", 8080, "the TCP `port` on 127.0.0.1; 0 lets the system choose")
	root := flag.String("R", ".", "the `folder` to serve")
	flag.Parse()
	if err := serve(*port, *root); err != nil {
		fmt.Fprintln(os.Stderr, "nethttp:", err)
		os.Exit(1)
	}
}

func serve(port int, root string) error {
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServer(http.Dir(root)))
	mux.HandleFunc("GET /api/login", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{}"))
	})
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	fmt.Printf("nethttp: http://%v/\n", l.Addr())
	server := http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	return server.Serve(l)
}
