// Package live shows the four stages side by side on a page while the reader adds clients: which system call each thread
// is in, for which client, where each connection waits, and how long a new client waits at this moment. It reads
// all of this from /proc and sock_diag(7); the servers do not know that they are watched.
package live

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"fourways.example/common/servertest/variants"
)

// Command is `lab live`.
type Command struct {
	Port     int           `short:"p" default:"8090" help:"The port of the page on 127.0.0.1; 0 picks a free one."`
	Patience time.Duration `default:"3s" help:"How long an experiment lets a new client wait for its answer."`
	Timeout  time.Duration `default:"5m" help:"All time-outs of the servers. The defaults of the stages, from 5 s on, leave no time to look."`
}

// Run starts the servers and the page, and stops them when ctx ends.
func (c *Command) Run(ctx context.Context) error {
	repo, err := variants.FindRepo(".")
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)))
	if err != nil {
		return fmt.Errorf("%w; choose another port for the page with --port, or --port 0", err)
	}
	defer l.Close()
	fmt.Fprintln(os.Stderr, "building and starting the four servers …")
	w, err := open(ctx, repo, c)
	if err != nil {
		return err
	}
	defer w.close()
	fmt.Printf("Open http://%v/ in a browser. Ctrl-C stops the page and the servers.\n", l.Addr())
	return serve(ctx, l, w)
}

// serve serves the page until ctx ends.
func serve(ctx context.Context, l net.Listener, w *world) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan struct{})
	go func() { defer close(watched); w.watch(ctx) }()
	s := &http.Server{Handler: handler(ctx, w, l.Addr().String()), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	stop()
	// The streams of events end with ctx, so the browsers' connections are idle by then.
	patience, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.Shutdown(patience) != nil {
		_ = s.Close()
	}
	<-watched
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}
