// Fasthttp is a server on github.com/valyala/fasthttp, for comparison with the stages. It has the flags -p and -R of
// docs/spec.md, serves the folder, and answers GET /api/login with {} as JSON.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

func main() {
	port := flag.Int("p", 8080, "the TCP `port` on 127.0.0.1; 0 lets the system choose")
	root := flag.String("R", ".", "the `folder` to serve")
	flag.Parse()
	if err := serve(*port, *root); err != nil {
		fmt.Fprintln(os.Stderr, "fasthttp:", err)
		os.Exit(1)
	}
}

func serve(port int, root string) error {
	fs := &fasthttp.FS{Root: root, AcceptByteRange: true}
	files := fs.NewRequestHandler()
	handler := func(ctx *fasthttp.RequestCtx) {
		if string(ctx.Path()) == "/api/login" {
			ctx.SetContentType("application/json")
			ctx.SetBodyString("{}")
			return
		}
		files(ctx)
	}
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	fmt.Printf("fasthttp: http://%v/\n", l.Addr())
	server := fasthttp.Server{Handler: handler, IdleTimeout: time.Minute, ReadBufferSize: 16 << 10, Concurrency: 1 << 20}
	return server.Serve(l)
}
